"""All comparisons of one day and symbol: what is put beside what, and why something is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.book.stage import read_chunks, read_state
from pipeline.book.state import BookState
from pipeline.book.venues import rule_of
from pipeline.catalog import Commit, LakeCatalog
from pipeline.ingest.columns import table_name
from pipeline.stage import Partition, Stored
from pipeline.verify import rows
from pipeline.verify.align import Aligner, Excuse, Tally
from pipeline.verify.bars import BAR_KEY, BAR_VALUES, STEPS, Bars, vendor_bars
from pipeline.verify.coverage import Coverage, Sources
from pipeline.verify.rebuild import Rebuild, level_names
from pipeline.verify.rules import RuleCheck

DEPTHS: Final = {"mbp-10": 10, "mbp-1": 1, "tbbo": 1, "trades": 0}
"""Schemas that hold rows of a book or of prints, and their levels."""
SCHEMAS: Final = (*DEPTHS, *STEPS)
"""Everything of the vendor's that is compared."""
TABLES: Final = {table_name(schema): schema for schema in SCHEMAS}

NO_MBO: Final = "no MBO for this time"
NO_VENDOR: Final = "outside the time that the vendor's file covers"
NOT_KNOWN: Final = "the book is not known to be complete"
SNAPSHOT: Final = "end of a snapshot that the vendor does not repeat"
PART_OF_BAR: Final = "the prints cover only a part of the bar"
UNFINISHED: Final = "its event has not ended: the next day's table has it"


@dataclass
class Comparison:
    """The result of one comparison of one day and symbol."""

    partition: Partition
    what: str
    """The schema or table that was compared."""
    against: str
    own: bool
    """Our stored table against our rebuild: no row of the vendor's is in it."""
    tally: Tally = field(default_factory=Tally)

    @property
    def simulated(self) -> bool:
        """The rows are those of the built-in sample market."""
        return self.partition["dataset"].startswith("SIM.")


class _Running(Protocol):
    """A comparison on its way: rebuilt (or the vendor's) rows in, a tally out."""

    def feed(self, frame: pl.DataFrame) -> None: ...
    def finish(self) -> Tally: ...


@dataclass
class Day:
    """What there is of one day and symbol, and how much to keep of its differences."""

    catalog: LakeCatalog
    sources: Sources
    partition: Partition
    keep: int
    vendor: Mapping[str, Stored]
    """The vendor's rows by schema."""

    def coverage(self, schema: str) -> Coverage:
        keys = self.partition
        return self.sources.coverage(keys["dataset"], schema, keys["date"], keys["symbol"])

    @property
    def mbo(self) -> Stored | None:
        return self.catalog.get("mbo", self.partition)

    @property
    def book(self) -> Commit | None:
        """The task that wrote the stored book."""
        return self.catalog.producer("book_state", self.partition)

    @property
    def side_named(self) -> bool:
        return self.partition["dataset"] in rows.SIDE_NAMED


def verify_day(day: Day, progress: Callable[[int, int], None]) -> list[Comparison]:
    """Compare everything there is.

    Raises
    ------
    InputError
        If a file of the lake cannot be read for what it should be.
    """
    if day.mbo is not None:
        return _against_mbo(day, day.mbo, progress)
    return _among_themselves(day)


# --- where there is MBO ------------------------------------------------------------------------


def _against_mbo(day: Day, mbo: Stored, progress: Callable[[int, int], None]) -> list[Comparison]:
    stored_depth = _stored_depth(day)
    levels = [DEPTHS[schema] for schema in day.vendor if schema in DEPTHS]
    rebuild = Rebuild(
        int(day.partition["date"].replace("-", "")),
        max([1, stored_depth, *levels]),
        rule_of(day.partition["dataset"]).bits,
        _carried(day, mbo),
    )
    running: list[tuple[Comparison, _Running]] = []

    def add(what: str, against: str, comparison: _Running, *, own: bool = False) -> None:
        running.append((Comparison(day.partition, what, against, own), comparison))

    for schema, stored in day.vendor.items():
        if schema in DEPTHS:
            add(schema, "book rebuilt from mbo", _Rows(day, schema, stored, rebuild))
        else:
            bars = _BarComparison(day, schema, stored, "mbo")
            add(schema, "prints of mbo", bars)
    if stored_depth:
        against = f"rebuilt, {stored_depth} level{'s' if stored_depth > 1 else ''}"
        add("stored book", against, _StoredBook(day, rebuild, stored_depth), own=True)
    if day.catalog.get("trades", day.partition) is not None:
        add("stored trades", "rebuilt", _StoredTrades(day, rebuild), own=True)
    for frame in rebuild.frames(read_chunks(mbo)):
        for _, comparison in running:
            comparison.feed(frame)
        progress(rebuild.records, mbo.rows)
    for result, comparison in running:
        result.tally = comparison.finish()
    return [result for result, _ in running]


def _carried(day: Day, mbo: Stored) -> BookState | None:
    """The state the stored book starts from, as the stage chose it."""
    if day.book is None or mbo.notes.get("opens_with") in {"snapshot", "clear"}:
        return None
    states = [item for item in day.book.record["inputs"] if item.get("table") == "book_state"]
    dates = {Partition.parse(item["partition"])["date"] for item in states}
    for earlier in sorted(dates, reverse=True):
        stored = day.catalog.get("book_state", day.partition.replace(date=earlier))
        if stored is not None:
            return read_state(stored)
    return None


def _stored_depth(day: Day) -> int:
    """Levels of the stored book; 0 where it has no row an event."""
    if day.book is None or day.catalog.get("book", day.partition) is None:
        return 0
    params = day.book.record["params"]
    return int(params["depth"]) if params["materialise"] in ("full", "touch") else 0


class _Rows:
    """MBP, TBBO or trades rows against the rebuilt book."""

    def __init__(self, day: Day, schema: str, stored: Stored, rebuild: Rebuild) -> None:
        self._depth = depth = DEPTHS[schema]
        self._trades_only = schema in ("tbbo", "trades")
        self._clock: int | None = None
        vendor, mbo = day.coverage(schema), day.coverage("mbo")

        def unknown(frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
            keys = (frame[name].to_numpy() for name in (*rows.BOOK_KEY, "ts_recv"))
            unsure: npt.NDArray[np.bool_] = ~rebuild.valid_at(*keys)
            unsure &= frame["trade"].to_numpy() == 0
            return unsure

        self._aligner = Aligner(
            rows.ROW_KEY,
            _row_values(depth),
            rows.vendor_rows(stored, depth),
            keep=day.keep,
            ours_excuses={
                SNAPSHOT: lambda frame: frame["snapshot"].to_numpy() != 0,
                NO_VENDOR: _outside(vendor, "ts_recv"),
                **({NOT_KNOWN: unknown} if depth else {}),
            },
            theirs_excuses={
                NO_MBO: _outside(mbo, "ts_recv"),
                **({NOT_KNOWN: unknown} if depth else {}),
            },
            pair_excuses={NOT_KNOWN: _not_valid} if depth else {},
            admit={} if day.side_named else {"side": rows.N_SIDE},
        )

    def feed(self, frame: pl.DataFrame) -> None:
        expected = rows.expected_rows(frame, self._depth, trades_only=self._trades_only)
        if expected.is_empty():
            return
        expected = rows.with_clock(expected, "ts_recv", self._clock)
        self._clock = int(expected["clock"][-1])
        self._aligner.feed(expected)

    def finish(self) -> Tally:
        return self._aligner.finish()


def _row_values(depth: int) -> list[str]:
    return [*rows.RECORD_VALUES, *(["depth"] if depth else []), *level_names(depth)]


def _not_valid(frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
    invalid: npt.NDArray[np.bool_] = frame["valid"].to_numpy() == 0
    return invalid


def _outside(coverage: Coverage, name: str, length: int = 1) -> Excuse:
    def outside(frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
        return ~coverage.holds(frame[name].to_numpy(), length)

    return outside


class _StoredBook:
    """The lake's `book` against the rebuilt one."""

    def __init__(self, day: Day, rebuild: Rebuild, depth: int) -> None:
        stored = day.catalog.get("book", day.partition)
        assert stored is not None
        assert day.book is not None
        self._depth = depth
        opening = rebuild.opening()
        values = ["ts_recv", "ts_event", "sequence", "state", *level_names(depth)]
        if not day.book.record["params"]["assume_valid_after"]:
            values.append("valid")
        self._aligner = Aligner(
            ("event", *rows.BOOK_KEY),
            values,
            rows.stored_book(stored, depth, opening),
            keep=day.keep,
        )

    def feed(self, frame: pl.DataFrame) -> None:
        self._aligner.feed(rows.expected_book(frame, self._depth))

    def finish(self) -> Tally:
        return self._aligner.finish()


class _StoredTrades:
    """The lake's `trades` against the T records and the rebuilt touch before them."""

    def __init__(self, day: Day, rebuild: Rebuild) -> None:
        stored = day.catalog.get("trades", day.partition)
        assert stored is not None

        def unfinished(frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
            return rebuild.unfinished(*(frame[name].to_numpy() for name in (*rows.BOOK_KEY, "row")))

        self._aligner = Aligner(
            (*rows.BOOK_KEY, "record", "ts_recv"),
            rows.TRADE_VALUES,
            rows.stored_trades(stored),
            keep=day.keep,
            ours_excuses={UNFINISHED: unfinished},
        )

    def feed(self, frame: pl.DataFrame) -> None:
        self._aligner.feed(rows.expected_trades(frame))

    def finish(self) -> Tally:
        return self._aligner.finish()


class _BarComparison:
    """The vendor's bars against bars of prints."""

    def __init__(self, day: Day, schema: str, stored: Stored, prints: str) -> None:
        step = STEPS[schema]
        self._bars = Bars(step)
        partly = _outside(day.coverage(prints), "ts_event", step)
        self._aligner = Aligner(
            BAR_KEY,
            BAR_VALUES,
            vendor_bars(stored),
            keep=day.keep,
            ours_excuses={
                NO_VENDOR: _outside(day.coverage(schema), "ts_event"),
                PART_OF_BAR: partly,
            },
            theirs_excuses={PART_OF_BAR: partly},
            pair_excuses={PART_OF_BAR: partly},
        )

    def feed(self, frame: pl.DataFrame) -> None:
        prints = frame.filter(pl.col("trade") != 0)
        if "carried" in prints.columns:
            prints = prints.filter(~pl.col("carried"))
        self._bars.feed(prints)

    def finish(self) -> Tally:
        self._aligner.feed(self._bars.bars())
        return self._aligner.finish()


# --- where there is none -----------------------------------------------------------------------


def _among_themselves(day: Day) -> list[Comparison]:
    """The vendor's own schemas against each other, and against the rules of emission."""
    results: list[Comparison] = []
    prints = next((s for s in ("trades", "mbp-1", "tbbo", "mbp-10") if s in day.vendor), None)
    for schema in ("mbp-10", "mbp-1", "tbbo"):
        if schema not in day.vendor:
            continue
        check = RuleCheck(DEPTHS[schema], side_named=day.side_named, keep=day.keep)
        feeds: list[_Running] = []
        if schema != "tbbo":
            results.append(Comparison(day.partition, schema, "the rules of its rows", own=False))
            results[-1].tally = check.tally
        if "trades" in day.vendor:
            feeds.append(_Prints(day, schema))
        for frame in rows.vendor_rows(day.vendor[schema], DEPTHS[schema]):
            if schema != "tbbo":
                check.feed(frame)
            for running in feeds:
                running.feed(frame)
        for running in feeds:
            tally = running.finish()
            results.append(
                Comparison(day.partition, f"trades of {schema}", "trades", own=False, tally=tally)
            )
    for schema in STEPS:
        if schema in day.vendor and prints is not None:
            bars = _BarComparison(day, schema, day.vendor[schema], prints)
            for frame in rows.vendor_rows(day.vendor[prints], DEPTHS[prints]):
                bars.feed(frame)
            against = "trades" if prints == "trades" else f"trades of {prints}"
            results.append(Comparison(day.partition, schema, against, own=False))
            results[-1].tally = bars.finish()
    return results


class _Prints:
    """T rows of one schema against the vendor's trades."""

    def __init__(self, day: Day, schema: str) -> None:
        self._aligner = Aligner(
            rows.ROW_KEY,
            rows.RECORD_VALUES,
            rows.vendor_rows(day.vendor["trades"], 0),
            keep=day.keep,
            ours_excuses={NO_VENDOR: _outside(day.coverage("trades"), "ts_recv")},
            theirs_excuses={NO_VENDOR: _outside(day.coverage(schema), "ts_recv")},
        )
        self._clock: int | None = None

    def feed(self, frame: pl.DataFrame) -> None:
        prints = frame.filter(pl.col("trade") != 0)
        if len(prints):
            prints = rows.with_clock(prints, "ts_recv", self._clock)
            self._clock = int(prints["clock"][-1])
            self._aligner.feed(prints)

    def finish(self) -> Tally:
        return self._aligner.finish()
