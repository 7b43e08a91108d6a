"""Quality gates: which days of which symbols the settings refuse, and why.  Decided here only.

A refused day keeps its tables: nothing is deleted, and `quality`, `book` and SQL show it as it
is.  The stages behind the book leave out the trading sessions that touch it, and say so.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Final

from pipeline.config import QualityLimits, QualitySettings, Settings
from pipeline.reading import read_table
from pipeline.stage import Catalog, Partition, Selection, Stored
from pipeline.units import NS_PER_S, parse_duration

UNKNOWN: Final = "unknown"
"""``quality.start`` of a book nobody knows the beginning of."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Refusal:
    """A day of a symbol that the settings refuse."""

    dataset: str
    date: str
    symbol: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.dataset} {self.date} {self.symbol}: {'; '.join(self.reasons)}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def limits_of(settings: QualitySettings, dataset: str, symbol: str) -> QualityLimits:
    """The limits for a symbol: those of ``[quality]``, or of the first pattern that fits."""
    base = QualityLimits(
        **{name: getattr(settings, name) for name in QualityLimits.__dataclass_fields__}
    )
    for pattern, table in settings.symbols.items():
        if table.get("dataset", dataset) == dataset and fnmatch.fnmatchcase(symbol, pattern):
            return replace(base, **{k: v for k, v in table.items() if k != "dataset"})
    return base


def judge(row: Row, limits: QualityLimits) -> list[str]:
    """Why a row of `quality` is refused: each reason with its numbers and the limit.

    Orphans of a day with an unknown start are not judged: they tell of orders that rested before
    the data begins, not of data that is wrong.  ``allow_unknown_start`` decides on such days.
    """
    return [
        *_shares(row, limits),
        *_counts(row, limits),
        *_crossed(row, limits),
        *_words(row, limits),
    ]


def _shares(row: Row, limits: QualityLimits) -> Iterator[str]:
    orders = row["adds"] + row["cancels"] + row["modifies"]
    known = row["start"] != UNKNOWN
    for name, key, whole, of, judged in (
        ("orphan_cancels", "max_orphan_cancel_share", row["cancels"], "cancels", known),
        ("orphan_modifies", "max_orphan_modify_share", row["modifies"], "modifies", known),
        ("ignored", "max_ignored_share", orders, "adds, cancels and modifies", True),
    ):
        limit, part = getattr(limits, key), row[name]
        # A share of nothing is undefined and refuses nothing.
        if judged and limit is not None and whole and part > limit * whole:
            share = f"{100 * part / whole:.4g} %"
            yield f"{name} {part:,} of {whole:,} {of} = {share}, {key} = {limit:g}"


def _counts(row: Row, limits: QualityLimits) -> Iterator[str]:
    for name in ("sequence_regressions", "roll_mismatch_orders"):
        limit = getattr(limits, f"max_{name}")
        if limit is not None and row[name] is not None and row[name] > limit:
            yield f"{name} {row[name]:,}, max_{name} = {limit:,}"


def _crossed(row: Row, limits: QualityLimits) -> Iterator[str]:
    if limits.max_crossed and row["crossed_ns"] > parse_duration(limits.max_crossed):
        seconds = row["crossed_ns"] / NS_PER_S
        yield f"crossed for {seconds:,.1f} s, max_crossed = {limits.max_crossed}"


def _words(row: Row, limits: QualityLimits) -> Iterator[str]:
    if row["condition"] in limits.refuse_conditions:
        yield f"condition {row['condition']}, one of refuse_conditions"
    if row["start"] == UNKNOWN and not limits.allow_unknown_start:
        yield "its book starts unknown, and allow_unknown_start = false"


class Gates:
    """The decision for any day and session of a lake; `quality` is read where it is asked for."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._settings = settings.quality
        self._known: dict[tuple[str, str, str], tuple[str, ...]] = {}

    @property
    def active(self) -> bool:
        """Whether any limit is set."""
        return self._settings != QualitySettings()

    def reasons(self, dataset: str, symbol: str, day: date | str) -> tuple[str, ...]:
        """Why a UTC day of a symbol is refused; empty if it is not, or if it has no book."""
        if not self.active:
            return ()
        key = (dataset, str(day), symbol)
        if key not in self._known:
            self._known[key] = self._judge(*key)
        return self._known[key]

    def _judge(self, dataset: str, day: str, symbol: str) -> tuple[str, ...]:
        limits = limits_of(self._settings, dataset, symbol)
        if limits == QualityLimits():
            return ()
        partition = Partition.of(dataset=dataset, date=day, symbol=symbol)
        stored = self._catalog.get("quality", partition)
        if stored is not None:
            return tuple(judge(_row(stored), limits))
        if self._catalog.get("book", partition) is None:
            return ()
        return ("it has a book and no row of quality to judge: run `mbo book`",)

    def session(self, dataset: str, symbol: str, days: Sequence[date]) -> str:
        """Why a session that overlaps these UTC days is left out; empty if it is not."""
        found = [
            f"{day}: {'; '.join(reasons)}"
            for day in days
            if (reasons := self.reasons(dataset, symbol, day))
        ]
        return f"refused by [quality]: {' | '.join(found)}" if found else ""

    def refusals(self, selection: Selection) -> list[Refusal]:
        """All refused days of the lake that the selection admits."""
        if not self.active:
            return []
        return [
            Refusal(keys["dataset"], keys["date"], keys["symbol"], reasons)
            for item in self._catalog.partitions("quality")
            if selection.admits(keys := item.partition)
            and (reasons := self.reasons(keys["dataset"], keys["symbol"], keys["date"]))
        ]


def _row(stored: Stored) -> Row:
    row: Row = read_table(stored).to_pylist()[0]
    return row


def refused_conditions(
    settings: QualitySettings, dataset: str, symbols: Sequence[str]
) -> dict[str, list[str]]:
    """Condition -> those of the symbols whose days it refuses; before anything is ingested."""
    found: dict[str, list[str]] = {}
    for symbol in symbols:
        for condition in limits_of(settings, dataset, symbol).refuse_conditions:
            found.setdefault(condition, []).append(symbol)
    return found
