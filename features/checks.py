"""What must hold of any feature, on any rows: it knows no future, and stays in its range.

A recording holds some rows of a session as features read them.  Cut after a row, or with another
future behind it, it must give the same values up to there, to the bit; cut into other chunks the
same values everywhere.  Labels fail, as they must.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from features.clocks import make_clock
from features.columns import BOOK_KEYS, TOUCH
from features.engine import KEYS, compute
from features.registry import Column
from features.source import Context, Publication, Source
from pipeline.errors import MboError
from pipeline.units import NS_PER_MS, NS_PER_S, PRICE_SCALE

CUTS = 6
"""Futures cut off and replaced, half of them in the middle of a tie where there is one."""

GROUP = 48
"""Columns computed at once."""

_FIXED = ("event", "ts_recv", "publisher_id")
"""Columns that say which row it is, not what it shows."""


@dataclass(frozen=True)
class Recording:
    """Rows of a session in memory, as a source of features."""

    context: Context
    frame: pl.DataFrame
    chunk: int = 65_536
    peers: Mapping[str, Recording] = field(default_factory=dict)

    def rows(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """See :class:`features.events.Source`."""
        names = list(dict.fromkeys([*BOOK_KEYS, *TOUCH, *columns]))
        for start in range(0, self.frame.height, self.chunk):
            yield self.frame[start : start + self.chunk, names]

    def cut(self, rows: int) -> Recording:
        """The session as it was after its first rows, and its peers as they were before that."""
        peers = {name: peer.cut(self._before(peer, rows)) for name, peer in self.peers.items()}
        context = self._published(rows, lambda known, _: known)
        return replace(self, context=context, frame=self.frame.head(rows), peers=peers)

    def _published(
        self, rows: int, change: Callable[[Publication, Publication], Publication]
    ) -> Context:
        """The context, with another future of what is published; ``change`` gets what was known
        before the last of the first rows, and all.
        """
        latest = self.frame["ts_recv"].cast(pl.Int64).head(rows).max()
        end = latest if isinstance(latest, int) else 0
        published = {
            name: change(whole.cut(end), whole) for name, whole in self.context.published.items()
        }
        return replace(self.context, published=published)

    def _before(self, peer: Recording, rows: int) -> int:
        """How many rows of a peer come strictly before the last of our first rows."""
        if not peer.frame.height or not rows:
            return 0
        latest = self.frame["ts_recv"].cast(pl.Int64).head(rows).max()
        known = peer.frame["ts_recv"].cast(pl.Int64).cum_max() < pl.Series([latest])
        return int(known.sum())

    def other_future(self, rows: int, seed: int) -> Recording:
        """The same first rows, then what came later in another order and at other times."""
        rng = np.random.default_rng(seed)
        head, tail = self.frame.head(rows), self.frame.tail(self.frame.height - rows)
        order = rng.permutation(tail.height)
        changed = tail.select(pl.exclude(_FIXED))[order]
        later = np.sort(rng.integers(0, 1000 * NS_PER_MS, tail.height))
        times = tail["ts_recv"] + pl.Series(later).cast(pl.Duration("ns"))
        fixed = tail.select("event", "publisher_id").with_columns(times.alias("ts_recv"))
        whole = pl.concat([fixed, changed], how="horizontal")
        peers = {
            name: peer.other_future(self._before(peer, rows), seed + 1)
            for name, peer in self.peers.items()
            if peer.frame.height
        }

        def otherwise(known: Publication, whole: Publication) -> Publication:
            later = whole.values[len(known.values) :]
            values = [None if value is None else value + PRICE_SCALE for value in later]
            return Publication(whole.ts, (*known.values, *values))

        frame = pl.concat([head, whole.select(head.columns)])
        return replace(self, context=self._published(rows, otherwise), frame=frame, peers=peers)

    def cuts(self, count: int, seed: int) -> list[int]:
        """Where to cut: every other one within a tie, where there are any, else anywhere."""
        rng = np.random.default_rng(seed)
        times = self.frame["ts_recv"].cast(pl.Int64).to_numpy()
        low = max(1, times.size // 4)
        ties = np.flatnonzero(times[1:] == times[:-1]) + 1
        ties = ties[ties >= low]
        found = []
        for number in range(count):
            places = ties if number % 2 and ties.size else np.arange(low, max(times.size, low + 1))
            found.append(int(rng.choice(places)))
        return found


def record(source: Source, columns: Sequence[Column], rows: int, clock: str = "event") -> Recording:
    """The first rows of a source from the session's open on, with what columns and clock read,
    and those of its peers up to the last of them.  Only as many are read.
    """
    names = {name for column in columns for name in column.roots} | set(TOUCH)
    names |= set(make_clock(clock).columns)
    opened = source.context.segments[0][0]
    parts: list[pl.DataFrame] = []
    held = 0
    for chunk in source.rows(sorted(names)):
        inside = chunk.filter(pl.col("ts_recv").cast(pl.Int64) >= opened)
        parts.append(inside.head(rows - held))
        held += parts[-1].height
        if held >= rows:
            break
    frame = pl.concat(parts) if parts else pl.DataFrame()
    until = frame["ts_recv"].cast(pl.Int64).max() if frame.height else None
    peers = (
        {}
        if until is None
        else {
            name: Recording(peer.context, _until(peer, sorted(names), until))
            for name, peer in source.peers.items()
        }
    )
    return Recording(source.context, frame, peers=peers)


def _until(source: Source, names: Sequence[str], until: Any) -> pl.DataFrame:
    """The rows of a source up to a time."""
    parts = []
    for chunk in source.rows(names):
        parts.append(chunk.filter(pl.col("ts_recv").cast(pl.Int64) <= until))
        if parts[-1].height < chunk.height:
            break
    return pl.concat(parts) if parts else pl.DataFrame()


@dataclass
class Finding:
    """What a check found out about one column."""

    column: Column
    problems: list[str] = field(default_factory=list)
    causal: bool = True
    rows: int = 0
    null_share: float | None = None
    low: float | None = None
    high: float | None = None
    first_value_s: float | None = None
    """Seconds from the first row to the first value."""
    ns_per_value: float | None = None

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def silent(self) -> bool:
        """Null in every row: nothing contradicts it, and nothing speaks for it."""
        return self.null_share == 1 and not self.problems


def check_columns(
    recording: Recording, columns: Sequence[Column], clock: str = "event", *, seed: int = 1
) -> list[Finding]:
    """Check columns on a recording: one finding each, in their order."""
    found: dict[str, Finding] = {}
    for kind in ("feature", "label"):
        chosen = [column for column in columns if column.family.kind == kind]
        for start in range(0, len(chosen), GROUP):
            for finding in _check_group(recording, chosen[start : start + GROUP], clock, seed):
                found[finding.column.name] = finding
    return [found[column.name] for column in columns]


def _check_group(
    recording: Recording, columns: Sequence[Column], clock: str, seed: int
) -> list[Finding]:
    findings = [Finding(column) for column in columns]
    try:
        whole = values(recording, columns, clock)
        for rows in recording.cuts(CUTS, seed):
            known = values(recording.cut(rows), columns, clock)
            _compare(findings, whole, known, "is {} with the rows after it, {} without")
            other = values(recording.other_future(rows, seed + rows), columns, clock)
            _compare(
                findings, whole, other.head(known.height), "is {} with one future, {} with another"
            )
        pieces = values(
            replace(recording, chunk=max(1, recording.frame.height // 7)), columns, clock
        )
        _compare(
            findings,
            whole,
            pieces,
            "is {} or {}, as the rows are cut into chunks: history goes through features.windows",
        )
    except Exception as error:
        if len(columns) > 1:  # one of them is at fault: which?
            return [one for c in columns for one in _check_group(recording, [c], clock, seed)]
        findings[0].causal = False
        findings[0].problems.append(_one_line(error))
        return findings
    for finding in findings:
        _look_at(finding, whole)
    return findings


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return text if isinstance(error, MboError) else f"{type(error).__name__}: {text}"


def values(source: Source, columns: Sequence[Column], clock: str = "event") -> pl.DataFrame:
    """All columns at all decision points, in one frame; without any, the keys."""
    frames = list(compute(source, columns, clock))
    if frames:
        return pl.concat(frames)
    names = [key.meta.output_name() for key in KEYS] + [column.name for column in columns]
    return pl.DataFrame({name: [] for name in names})


def _compare(findings: list[Finding], whole: pl.DataFrame, part: pl.DataFrame, what: str) -> None:
    """Note what differs in the rows both have."""
    if not part.height:
        return
    for finding in findings:
        if finding.problems:
            continue
        name = finding.column.name
        ours, theirs = whole[name].head(part.height), part[name]
        if ours.equals(theirs):
            continue
        at = int(ours.ne_missing(theirs).arg_max() or 0)
        event = whole["event"][at]
        difference = what.format(_shown(ours[at]), _shown(theirs[at]))
        finding.problems.append(f"{name} at event {event} {difference}")
        finding.causal = False


def _shown(value: object) -> str:
    return "null" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)


def _look_at(finding: Finding, whole: pl.DataFrame) -> None:
    """Range, nulls, warm-up."""
    family, series = finding.column.family, whole[finding.column.name]
    present = series.drop_nulls().cast(pl.Float64)
    finding.rows = series.len()
    if not series.len():
        return
    finding.null_share = series.null_count() / series.len()
    if not present.len():
        return
    finding.low, finding.high = float(present.min()), float(present.max())  # type: ignore[arg-type]
    first = int(series.is_not_null().arg_max() or 0)
    times = whole["ts"].cast(pl.Int64)
    finding.first_value_s = (times[first] - times[0]) / NS_PER_S
    if not present.is_finite().all():
        finding.problems.append(f"{finding.column.name} has infinite values")
    below = family.low is not None and finding.low < family.low
    above = family.high is not None and finding.high > family.high
    if below or above:
        bounds = f"{_shown(family.low)} to {_shown(family.high)}"
        finding.problems.append(
            f"{finding.column.name} runs from {_shown(finding.low)} to {_shown(finding.high)}, "
            f"declared is {bounds.replace('null', 'any')}"
        )


def measure_cost(recording: Recording, findings: Sequence[Finding], clock: str = "event") -> None:
    """CPU time each column adds to a run of the keys alone, in ns a value; best of two.

    Of the whole process: polars computes in threads of its own.
    """

    def seconds(columns: Sequence[Column]) -> float:
        best = float("inf")
        for _ in range(2):
            started = time.process_time()
            for _frame in compute(recording, columns, clock):
                pass
            best = min(best, time.process_time() - started)
        return best

    bare = min(seconds([]) for _ in range(2))
    for finding in findings:
        if finding.rows:
            extra = max(0.0, seconds([finding.column]) - bare)
            finding.ns_per_value = extra / finding.rows * 1e9
