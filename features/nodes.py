"""What stands behind a combinator: nodes, their keys, and what can be reached from expressions.

A node is a running state and a way to read it; ``pl.col(key)`` stands for it in an expression.
Windows are parsed here, too, because nodes are asked for with them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from pipeline.units import NS_PER_S, parse_duration

MARK = "~"
"""First character of a node's key: no column of a table begins so."""


SAMPLE = "x:"
"""Beginning of the column that holds the samples of a grid."""


WARM_HALF_LIVES = 5
"""Half-lives after which an exponential window counts as warm (the catalogue's 0.2)."""


LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Window:
    """A window by time (``1s``), by rows (``n50``) or by exponential half-life (``h10s``)."""

    kind: Literal["time", "rows", "half_life"]
    size: int
    """Nanoseconds, or rows."""
    text: str

    @property
    def seconds(self) -> float:
        """Length of a time window or half-life in seconds."""
        return self.size / NS_PER_S


_DURATION = r"[1-9][0-9]*(?:ns|us|ms|s|m|h)"


WINDOW_PATTERN = rf"(?:n[1-9][0-9]*|h?{_DURATION})"


DURATION_PATTERN = _DURATION


def window(text: str | Window) -> Window:
    """Parse ``1s``, ``n50`` or ``h10s``.

    Raises
    ------
    ValueError
        If the text is none of these.
    """
    if isinstance(text, Window):
        return text
    if not re.fullmatch(WINDOW_PATTERN, text):
        raise ValueError(f"{text!r} is no window; write 1s, n50 (rows) or h10s (half-life)")
    if text.startswith("n"):
        return Window("rows", int(text[1:]), text)
    if text.startswith("h"):
        return Window("half_life", parse_duration(text[1:]), text)
    return Window("time", parse_duration(text), text)


@dataclass(frozen=True)
class Node:
    """What stands behind a key: a running state, and how it is read at a decision point."""

    key: str
    state: str
    """Kind of the running state, see ``features.states``."""
    inputs: tuple[pl.Expr, ...]
    """What the state is fed with at every event."""
    settings: tuple[int | str, ...]
    """Parameters of the state itself; nodes of equal state, inputs and settings share it."""
    method: str
    args: tuple[int, ...] = ()
    state_key: str = ""
    inner: pl.Expr | None = None
    """Grid nodes: the expression over the samples."""
    asked: tuple[pl.Expr, ...] = ()
    """What a decision asks with: evaluated there when the node is read."""
    input_keys: tuple[str, ...] = ()
    """Digests of the inputs: equal ones are evaluated once."""


NODES: dict[str, Node] = {}
"""All nodes asked for in this process, by key.  A key is a digest of its content."""


def digest(*parts: object) -> str:
    """A name for expressions and settings: equal for equal ones, in any process."""
    hashed = hashlib.blake2b(digest_size=10)
    for part in parts:
        blob = part.meta.serialize() if isinstance(part, pl.Expr) else repr(part).encode()
        hashed.update(len(blob).to_bytes(4, "little") + blob)
    return hashed.hexdigest()


def make_node(
    state: str,
    inputs: tuple[pl.Expr, ...],
    settings: tuple[int | str, ...] = (),
    method: str = "at",
    args: tuple[int, ...] = (),
    inner: pl.Expr | None = None,
    asked: tuple[pl.Expr, ...] = (),
) -> pl.Expr:
    """The column of a node: a state fed with ``inputs``, read by ``method`` with ``args``.

    Nodes of equal state, inputs and settings share the state; equal nodes are one.
    """
    state_key = f"{state}:{digest(settings, *inputs)}"
    tail = () if inner is None else (inner,)
    key = f"{MARK}{state}.{method}:{digest(state_key, args, *tail, *asked)}"
    if key not in NODES:
        fed = tuple(digest(x) for x in inputs)
        NODES[key] = Node(key, state, inputs, settings, method, args, state_key, inner, asked, fed)
    return pl.col(key)


def node_keys(expr: pl.Expr) -> list[str]:
    """Keys of the nodes an expression reads directly."""
    return [name for name in expr.meta.root_names() if name.startswith(MARK)]


def nanoseconds(text: str | Window) -> int:
    """Length of a window in time, or half-life; ValueError for a number of rows."""
    parsed = window(text)
    if parsed.kind == "rows":
        raise ValueError(f"{parsed.text!r} is a number of rows; a duration is needed here")
    return parsed.size


def peers_behind(exprs: Iterable[pl.Expr]) -> set[str]:
    """Names of the peers that the expressions read."""
    return {str(n.settings[0]) for n in reachable(exprs) if n.state == "peer"}


def looks_ahead(expr: pl.Expr) -> bool:
    """True if anything behind the expression looks forward in time."""
    return any(node.state == "future" for node in reachable([expr]))


def reachable(exprs: Iterable[pl.Expr], *, inside_grids: bool = True) -> list[Node]:
    """All nodes behind the expressions, those that others depend on first.

    With ``inside_grids`` false, nodes that live on the samples of a grid are left out.
    """
    seen: dict[str, Node] = {}

    def visit(expr: pl.Expr) -> None:
        for key in node_keys(expr):
            if key in seen:
                continue
            node = NODES[key]
            for part in (*node.inputs, *node.asked):
                visit(part)
            if inside_grids and node.inner is not None:
                visit(node.inner)
            seen[key] = node

    for expr in exprs:
        visit(expr)
    return list(seen.values())


def root_columns(exprs: Iterable[pl.Expr]) -> set[str]:
    """Columns of events that the expressions read, directly or through nodes."""
    parts = list(exprs)
    for node in reachable(parts):
        parts += (*node.inputs, *node.asked)
        if node.inner is not None:
            parts.append(node.inner)
    names = {name for part in parts for name in part.meta.root_names()}
    return {name for name in names if not name.startswith((MARK, SAMPLE))}
