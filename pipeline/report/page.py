"""The page: gathered data, tables and the files of ``static/`` in one HTML file.

It loads nothing: its own content security policy forbids it.  Data are JSON in a script element
that is no script; they reach the document as text only, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.backtest.tables import MARKOUT_HORIZONS, MIN_SESSIONS, SPLITS
from pipeline.errors import RequestError
from pipeline.report import curves, fills
from pipeline.report.depth import REACH, depth_maps
from pipeline.report.figures import (
    SPLIT_TITLES,
    compare_table,
    currencies,
    figures_tables,
    origin_section,
    part_label,
    run_label,
    settings_tables,
    skipped_lines,
    split_table,
)
from pipeline.report.markup import as_float, esc
from pipeline.report.origin import origin_of
from pipeline.stage import Selection
from pipeline.storage import readable_os_errors

if TYPE_CHECKING:
    from pipeline.report.choose import Choice
    from pipeline.sweep.results import SweepResult

STATIC: Final = Path(__file__).with_name("static")
SCRIPTS: Final = ("base.js", "chart.js", "curves.js", "bars.js", "fills.js", "depth.js", "page.js")
_DRAWN_SPLITS: Final = ("session", "hour", "symbol", "direction")


_READINGS: Final = (
    "The readings are independent simulations: optimistic as if nothing were ahead of us in the "
    "queue, exact with the very orders ahead, pessimistic filled only by trades at a worse price. "
    "A result that lives in the optimistic reading alone is a result of the assumption."
)


@dataclass(frozen=True)
class Options:
    """What a reader may choose."""

    depths: int = 48
    """Fills whose book is shown, of all runs together."""
    wanted: tuple[int, ...] = ()
    """Numbers of fills whose book is shown in any case, of each symbol and run."""
    window: int = 5 * 10**9
    """How much of the book before and after such a fill, ns."""
    selection: Selection = field(default_factory=Selection)
    """Symbols and sessions whose fills, prices and positions are drawn."""


def page_of(choice: Choice, options: Options) -> str:
    """The page of one or several runs, as HTML.

    Raises
    ------
    RequestError
        If a run was stored before its figures had parts (``breakdowns``).
    """
    drawn = [curves.Drawn(run, options.selection) for run in choice.runs]
    data = {
        "horizons": [name.removeprefix("markout_") for name in MARKOUT_HORIZONS],
        "reasons": fills.REASONS,
        "reach": REACH,
        "minSessions": MIN_SESSIONS,
    }
    axis = curves.axis_of(drawn)
    data["sessions"] = axis.as_json()
    buckets = curves.buckets_for(2 * sum(len(one.rows) for one in drawn))
    finer = curves.buckets_for(sum(len(one.readings) * len(one.shown) for one in drawn))
    finest = curves.buckets_for(sum(len(one.shown) for one in drawn), 1600)
    most = fills.markers_for(sum(len(one.readings) for one in drawn))
    shown = []
    for one in drawn:
        chosen = fills.choose_fills(one, options.depths // len(drawn), options.wanted)
        shown.append(
            {
                "id": one.run.run_id,
                "label": run_label(one),
                "primary": one.primary,
                "readings": one.readings,
                "symbols": curves.symbols_json(one),
                "curves": curves.equity_curves(one, axis, buckets),
                "positions": curves.positions(one, axis, finer),
                "prices": curves.prices(one, axis, finest),
                "fills": fills.markers(one, chosen, most),
                "depth": depth_maps(one, chosen, options.window),
                "figures": [_figures(row) for row in one.rows],
                "splits": {split: _split(one, split) for split in _DRAWN_SPLITS},
            }
        )
    data["runs"] = shown
    return _page(drawn, choice.sweeps, data, options)


def write_page(path: Path, page: str) -> int:
    """Write a page whole or not at all; returns its size in bytes."""
    with readable_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(page, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path.stat().st_size


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    """Figures that are drawn, not only written."""
    names = ["net", "gross", "fees", "max_drawdown", "sharpe", "hit_rate", "fills", "trades"]
    names += [
        f"{role}{name}" for role in ("", "maker_", "taker_") for name in MARKOUT_HORIZONS
    ]  # fmt: skip
    keys = {"reading": row["reading"], "currency": row["currency"]}
    return {**keys, **{name: as_float(row.get(name)) for name in names}}


def _split(drawn: curves.Drawn, split: str) -> list[dict[str, Any]]:
    rows = _by(drawn, split)
    zone = len({row["zone"] for row in rows}) > 1
    return [
        {
            "reading": row["reading"],
            "currency": row["currency"],
            "part": part_label(split, row, zone=zone),
            **{name: as_float(row[name]) for name in ("net", "gross", "fees")},
        }
        for row in rows
    ]


def _by(drawn: curves.Drawn, split: str) -> list[dict[str, Any]]:
    try:
        return drawn.run.by(split).to_dicts()
    except RequestError:
        raise RequestError(
            f"run {drawn.run.run_id} was stored by an earlier version and has no breakdowns; "
            "run the same `mbo backtest` again (nothing is simulated anew)"
        ) from None


def _page(
    drawn: Sequence[curves.Drawn],
    sweeps: Sequence[SweepResult],
    data: dict[str, Any],
    options: Options,
) -> str:
    script = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in SCRIPTS)
    style = (STATIC / "page.css").read_text(encoding="utf-8")
    slots = {
        "policy": f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{_digest(script)}'",
        "title": esc(_title(drawn)),
        "style": style,
        "sweep_link": '<a href="#sweep">Sweep</a>' if sweeps else "",
        "sweeps": _sweeps(sweeps),
        "header": _header(drawn),
        "compare": compare_table(drawn) if len(drawn) > 1 else "",
        "notes": _notes(drawn, options),
        "figures": figures_tables(drawn),
        "splits": _splits(drawn),
        "settings": settings_tables(drawn),
        "origin": "".join(origin_section(one, origin_of(one)) for one in drawn),
        # "<" is all that could end the element or begin a comment in it.
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        .replace("<", "\\u003c"),
        "script": script,
    }  # fmt: skip
    # One pass: a text that itself looks like a slot stays as it is.
    pieces = (STATIC / "page.html").read_text(encoding="utf-8").split("%%")
    pieces[1::2] = [slots[name] for name in pieces[1::2]]
    return "".join(pieces)


def _sweeps(sweeps: Sequence[SweepResult]) -> str:
    if not sweeps:
        return ""
    from pipeline.report.sweeps import sweep_section

    sections = "".join(map(sweep_section, sweeps))
    return f'<section id="sweep"><h2>Sweep</h2>{sections}</section>'


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _title(drawn: Sequence[curves.Drawn]) -> str:
    names = list(dict.fromkeys(run_label(one) for one in drawn))
    return names[0] if len(names) == 1 else f"{len(names)} runs compared"


def _header(drawn: Sequence[curves.Drawn]) -> str:
    rows = [one.rows[0] for one in drawn]
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    symbols = list(dict.fromkeys(s for row in rows for s in row["symbols"].split(",")))
    first = [row["first_session"] for row in rows if row["first_session"]]
    last = [row["last_session"] for row in rows if row["last_session"]]
    sessions = max(row["sessions"] for row in rows)
    simulated = any(row["simulated"] for row in rows)
    approx = any(row["queue_model"] != "exact" for row in rows)
    facts = [
        ", ".join(dict.fromkeys(row["dataset"] for row in rows)),
        ", ".join(symbols[:8]) + (f" and {len(symbols) - 8} more" if len(symbols) > 8 else ""),
        f"{sessions:,} session{'' if sessions == 1 else 's'}"
        + (f", {min(first)} to {max(last)}" if first else ""),
        f"run {drawn[0].run.run_id}" if len(drawn) == 1 else f"{len(drawn)} runs compared",
    ]
    banners = ""
    if simulated:
        banners += (
            "<p class=banner><b>SIMULATED</b> market: the built-in sample, "
            "not real trading data.</p>"
        )
    if approx:
        banners += (
            "<p class=banner><b>APPROXIMATE</b> queue: a match algorithm is not known to be first "
            "in first out, so queue positions are a guess.</p>"
        )
    return (
        f"{banners}<h1>{esc(', '.join(strategies))}</h1>"
        f"<p class=facts>{''.join(f'<span>{esc(fact)}</span>' for fact in facts)}</p>"
    )


def _notes(drawn: Sequence[curves.Drawn], options: Options) -> str:
    """What one has to know to read the figures right."""
    lines = [
        "The rest of the market does not react to our orders.",
        _READINGS,
    ]
    fewest = min(row["sessions"] for one in drawn for row in one.rows)
    if fewest < MIN_SESSIONS:
        say = "says" if fewest == 1 else "say"
        lines.append(
            f"Sharpe, Sortino and Calmar need {MIN_SESSIONS} sessions; {fewest} {say} little, "
            "whatever the profit."
        )
    if any(json.loads(one.rows[0]["settings"]).get("partial") == "true" for one in drawn):
        lines.append("Incomplete sessions are traded, too (--partial).")
    if len(currencies(drawn)) > 1:
        lines.append("Money of different currencies is never added up: each has its own figures.")
    if not any(row["fills"] for one in drawn for row in one.rows):
        lines.append(
            "No order was filled: the signal never asked for a position, or nobody met us."
        )
    skipped = [skipped_lines(one.rows[0]) for one in drawn]
    same = all(own == skipped[0] for own in skipped)
    lines += skipped[0] if same else []
    for one, own in zip(drawn, skipped, strict=True):
        name = f"{run_label(one)}: " if len(drawn) > 1 else ""
        lines += [] if same else [f"{name}{line}" for line in own]
        if len(one.shown) < len(one.symbols):
            lines.append(
                f"{name}position, price and fills are drawn of {len(one.shown)} of "
                f"{len(one.symbols)} symbols; figures and equity are of all."
            )
    if options.selection.start or options.selection.end:
        span = f"{options.selection.start or '…'} to {options.selection.end or '…'}"
        lines.append(f"Fills are drawn of sessions {span} only; figures and equity are of all.")
    return f"<ul class=notes>{''.join(f'<li>{esc(line)}</li>' for line in lines)}</ul>"


def _splits(drawn: Sequence[curves.Drawn]) -> str:
    parts = []
    for one in drawn:
        tables = "".join(
            f"<details{' open' if split == 'hour' and len(drawn) == 1 else ''}>"
            f"<summary>{esc(SPLIT_TITLES[split])}</summary>"
            f"{split_table(one, split, _by(one, split))}</details>"
            for split in SPLITS
        )
        head = f"<h3>{esc(run_label(one))}</h3>" if len(drawn) > 1 else ""
        parts.append(head + tables)
    return "".join(parts)
