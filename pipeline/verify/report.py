"""What came out of `mbo verify`, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from pipeline.book.tape import NULL
from pipeline.errors import BAD_REQUEST, DIFFERENCES, OK
from pipeline.stage import Partition, Stored
from pipeline.units import NS_PER_S, PRICE_SCALE
from pipeline.verify.align import Difference
from pipeline.verify.partition import Comparison
from pipeline.verify.rows import batches

AROUND: Final = 3
"""MBO records shown before and after a difference."""
_PRICES: Final = ("price", "open", "high", "low", "close")
_TIMES: Final = ("ts_recv", "ts_event")
_RECORD: Final = (
    "record", "ts_recv", "ts_event", "action", "side", "price", "size", "order_id", "flags",
    "sequence",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A difference as it is shown: both sides, and the MBO records around it."""

    comparison: Comparison
    difference: Difference
    file: str | None
    """Name of the MBO file the records are from."""
    around: tuple[dict[str, Any], ...]

    @property
    def kind(self) -> str:
        if self.difference.ours is None:
            return f"only {self._their_name}"
        return "different" if self.difference.theirs else f"only {self._our_name}"

    @property
    def _our_name(self) -> str:
        return "rebuilt" if "rebuilt" in self.comparison.against else self.comparison.against

    @property
    def _their_name(self) -> str:
        return "stored" if self.comparison.own else "vendor"

    def columns(self, row: dict[str, Any]) -> list[str]:
        """What to show of a row: what differs, and enough to know the record by; or all."""
        differ = self.difference.columns
        known_by = [name for name in ("action", "price") if name in row]
        return list(dict.fromkeys([*known_by, *differ])) if differ else []

    def sides(self) -> list[tuple[str, dict[str, Any] | None]]:
        """(name, row) of both sides, values as people write them."""
        found, expected = self.difference.theirs, self.difference.ours
        return [(self._their_name, _plain(found)), (self._our_name, _plain(expected))]


@dataclass
class Report:
    """All comparisons, their first differences, and what had nothing to be compared with."""

    comparisons: list[Comparison] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    alone: Counter[str] = field(default_factory=Counter)
    """Days and symbols without a counterpart, by reason."""
    failed: list[tuple[Partition, str]] = field(default_factory=list)
    holds: str = ""
    """What the lake has of mbo and of the vendor's, for a selection that matches nothing."""

    def count(self, what: str, *, own: bool = False, simulated: bool | None = None) -> int:
        """Sum of a figure of the tallies (``compared``, ``equal``, ``differences``)."""
        return sum(
            int(getattr(one.tally, what))
            for one in self.comparisons
            if one.own == own and simulated in (None, one.simulated)
        )

    @property
    def exit_code(self) -> int:
        """3 where anything differs, 2 where no row of the vendor's could be compared."""
        if self.count("differences") or self.count("differences", own=True):
            return DIFFERENCES
        return OK if self.count("compared") else BAD_REQUEST

    # --- JSON ---------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """Prices are decimal text, times ISO 8601 text, undefined values null."""
        return {
            "comparisons": [
                {
                    **dict(one.partition.keys),
                    "rows_of": one.what,
                    "against": one.against,
                    "evidence": _evidence(one),
                    "compared": one.tally.compared,
                    "equal": one.tally.equal,
                    "different": one.tally.different,
                    "only_rebuilt": one.tally.only_ours,
                    "only_theirs": one.tally.only_theirs,
                    "equal_though": dict(sorted(one.tally.uncertain.items())),
                    "left_out": dict(sorted(one.tally.left_out.items())),
                }
                for one in self.comparisons
            ],
            "differences": [
                {
                    **dict(one.comparison.partition.keys),
                    "rows_of": one.comparison.what,
                    "kind": one.kind,
                    "columns": list(one.difference.columns),
                    **dict(one.sides()),
                    "file": one.file,
                    "records": [_plain(row) for row in one.around],
                }
                for one in self.shown
            ],
            "without_counterpart": dict(sorted(self.alone.items())),
            "failed": [{"partition": str(p), "message": text} for p, text in self.failed],
            "summary": self.summary(),
        }

    # --- text ---------------------------------------------------------------------------------

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and rows of the closing table."""
        header = ["dataset", "date", "symbol", "rows of", "against", "compared", "equal",
                  "different", "only ours", "only theirs", "left out"]  # fmt: skip
        body = []
        for one in self.comparisons:
            tally, keys = one.tally, one.partition
            body.append(
                [keys["dataset"], keys["date"], keys["symbol"], one.what, one.against,
                 tally.compared, tally.equal, tally.different, tally.only_ours,
                 tally.only_theirs, tally.left_out.total()]
            )  # fmt: skip
        return header, body

    def reasons(self) -> list[str]:
        """What could not be compared, and why."""
        left_out, uncertain = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for one in self.comparisons:
            left_out.update({(why, one.what): n for why, n in one.tally.left_out.items()})
            uncertain.update({(why, one.what): n for why, n in one.tally.uncertain.items()})
        lines = [
            f"not compared: {count:,} of {what} ({reason})"
            for (reason, what), count in sorted(left_out.items())
        ]
        lines += [
            f"equal all the same: {count:,} of {what} ({reason})"
            for (reason, what), count in sorted(uncertain.items())
        ]
        lines += [f"not compared: {text} ({n:,})" for text, n in sorted(self.alone.items())]
        return lines

    def summary(self) -> str:
        """One paragraph: how much was compared, and of what kind the evidence is."""
        compared = self.count("compared")
        if not compared:
            return "nothing of the vendor's could be compared"
        real = self.count("compared", simulated=False)
        against_mbo = sum(
            one.tally.compared
            for one in self.comparisons
            if not one.own and not one.simulated and "mbo" in one.against
        )
        text = (
            f"{compared:,} rows of the vendor's compared: {self.count('equal'):,} equal, "
            f"{self.count('differences'):,} not.  "
        )
        if real:
            text += (
                f"Evidence from real data: {real:,} rows, {against_mbo:,} of them against MBO, "
                f"{real - against_mbo:,} among the vendor's own schemas.  "
            )
        else:
            text += "Evidence from real data: none.  "
        if compared > real:
            text += (
                f"SIMULATED market: {compared - real:,} rows, written by the simulator's own "
                "matching engine.  "
            )
        if stored := self.count("compared", own=True):
            bad = self.count("differences", own=True)
            text += (
                f"Stored book and trades: {stored:,} rows beside the rebuilt ones, {bad:,} differ."
            )
        return text.rstrip()

    def nothing(self) -> str:
        """Why no row of the vendor's could be compared, in one line."""
        reasons = "; ".join(self.reasons())
        if not reasons and self.holds:
            reasons = f"the selection matches none of {self.holds}"
        elif not reasons:
            reasons = "there are no MBP, TBBO, trades or OHLCV rows; `mbo ingest` takes them in"
        return f"{self.summary()}: {reasons}"

    def difference_lines(self) -> list[str]:
        """The first differences with both sides and the records around them."""
        lines: list[str] = []
        for one in self.shown:
            row = one.difference.theirs or one.difference.ours or {}
            where = f"{one.comparison.partition} {one.comparison.what}"
            lines.append(f"\n{where}: {one.kind} at {_time(row.get('ts_recv', row.get('clock')))}")
            for side, values in one.sides():
                if values is not None:
                    lines.append(f"  {side:<8} {_cells(values, one.columns(values))}")
            if one.around:
                lines.append(f"  records of {one.file or 'mbo'}:")
                lines += [f"    {_cells(_plain(r) or {}, _RECORD)}" for r in one.around]
        return lines


def _evidence(one: Comparison) -> str:
    if one.own:
        return "own tables"
    return "simulated" if one.simulated else "real"


def explain(
    comparisons: Sequence[Comparison], mbo: Stored | None, names: dict[str, str], keep: int
) -> list[Shown]:
    """The first differences of a day and symbol with the MBO records around them."""
    pairs = [(one, difference) for one in comparisons for difference in one.tally.first[:keep]]
    if mbo is None or not pairs:
        return [Shown(one, difference, None, ()) for one, difference in pairs]
    places = _places(mbo, [difference for _, difference in pairs])
    wanted = sorted({row for place in places for row in _window(place, mbo.rows)})
    found = _records(mbo, wanted)
    shown = []
    for (one, difference), place in zip(pairs, places, strict=True):
        around = [found[row] for row in _window(place, mbo.rows)]
        file = names.get(str(found[place]["source"])) if place in found else None
        shown.append(Shown(one, difference, file, tuple(around)))
    return shown


def _window(place: int, rows: int) -> range:
    return range(max(0, place - AROUND), min(rows, place + AROUND + 1))


def _places(mbo: Stored, differences: Sequence[Difference]) -> list[int]:
    """Where in the partition the differences are: at the record, or by time where there is none."""
    times = [
        None if d.ours and "row" in d.ours else int((d.theirs or d.ours or {}).get("ts_recv", 0))
        for d in differences
    ]
    before = [0] * len(times)
    if any(time is not None for time in times):
        for batch in batches(mbo, ["ts_recv"]):
            recv = pl.Series(batch.column(0)).cast(pl.Int64)
            for i, time in enumerate(times):
                if time is not None:
                    before[i] += int((recv <= time).sum())
    return [
        max(0, before[i] - 1) if times[i] is not None else max(0, int((d.ours or {})["row"]))
        for i, d in enumerate(differences)
    ]


def _records(mbo: Stored, wanted: Sequence[int]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    start = 0
    for batch in batches(mbo, [*_RECORD, "source"]):
        stop = start + batch.num_rows
        mine = [row for row in wanted if start <= row < stop]
        if mine:
            frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(
                pl.col(_TIMES).cast(pl.Int64), pl.col("price").fill_null(NULL)
            )
            for row in mine:
                found[row] = frame.row(row - start, named=True)
        start = stop
    return found


# --- values ------------------------------------------------------------------------------------


def _plain(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """Values as people write them: decimal prices, ISO times, letters, null."""
    if row is None:
        return None
    return {name: _value(name, value) for name, value in row.items() if name != "clock"}


def _value(name: str, value: Any) -> Any:
    if value is None or (value == NULL and (name in (*_PRICES, *_TIMES) or "_px" in name)):
        return None
    if name in _TIMES:
        return _time(value)
    if name in _PRICES or "_px" in name:
        return _price(value)
    if name in ("action", "side") and isinstance(value, int):
        return chr(value) if value else None
    return value


def _time(ns: int | None) -> str:
    if ns is None:
        return "-"
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _price(value: int) -> str:
    sign, value = ("-" if value < 0 else ""), abs(value)
    whole, rest = divmod(value, PRICE_SCALE)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")


def _cells(values: dict[str, Any], names: Sequence[str]) -> str:
    """``name=value`` of the given columns, or of the first few that say something."""
    if not names:
        first = ["record", *_TIMES, "action", "side", "price", "size", "flags", "sequence", "depth"]
        first += [f"{s}_{w}_00" for w in ("px", "sz", "ct") for s in ("bid", "ask")]
        first += ["bid_px", "ask_px", "bid_sz", "ask_sz", *_PRICES[1:], "volume"]
        names = [name for name in first if name in values]
    return " ".join(f"{name}={'-' if values[name] is None else values[name]}" for name in names)
