"""Continuous symbols: ``ES.v.0`` and the contract that stands behind it in each session.

``ROOT.RULE.RANK`` as the vendor writes it: rule ``c`` goes by the calendar, ``v`` by the previous
session's volume; rank 0 is the front.  The table ``rolls`` says which contract it is; nothing is
ever spliced: a continuous symbol *selects* partitions of single contracts, session by session.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from pipeline.errors import RequestError
from pipeline.ingest.products import symbol_form

if TYPE_CHECKING:
    from pipeline.stage import Catalog, Selection

RULES = ("c", "v")
"""Calendar; volume of the previous session."""

VOLUMES = ("volume_before", "next_volume_before")
"""Columns of features that come from the table `volumes`."""

RANKS = 4
"""Ranks 0 to 3 are kept, as far as there are contracts."""

_SERIES = re.compile(r"([A-Z0-9*?]{1,8})\.([a-z])\.([0-9]+)")


@dataclass(frozen=True)
class Series:
    """A continuous symbol; the root may be a pattern."""

    root: str
    rule: str
    rank: int

    def __str__(self) -> str:
        return f"{self.root}.{self.rule}.{self.rank}"

    def covers(self, symbol: str) -> bool:
        """True for the outright futures of the root: spreads are never part of a series."""
        form = symbol_form(symbol)
        return form.instrument_class == "F" and fnmatch.fnmatchcase(form.product or "", self.root)


def series_of(pattern: str) -> Series | None:
    """The continuous symbol that a pattern is, None where it is none.

    >>> series_of("ES.v.0")
    Series(root='ES', rule='v', rank=0)
    >>> series_of("ESM5"), series_of("BRK.B")
    (None, None)
    """
    found = _SERIES.fullmatch(pattern.strip())
    if found is None or found[2] not in RULES:
        return None
    return Series(found[1], found[2], int(found[3]))


def series_in(symbols: str | None) -> list[Series]:
    """The continuous symbols among patterns separated by commas."""
    return [s for part in (symbols or "").split(",") if (s := series_of(part)) is not None]


@dataclass(frozen=True)
class Leg:
    """A session of a continuous symbol: the row of ``rolls``."""

    dataset: str
    session: str
    series: str
    contract: str
    roll: int
    """Ordinal of the roll segment."""
    why: str
    gap: int | None


def legs(catalog: Catalog, asked: Sequence[Series], dataset: str | None = None) -> list[Leg]:
    """Sessions of continuous symbols, in order of dataset, symbol and session.

    Raises
    ------
    RequestError
        If the lake holds no rolls, or none of a symbol asked for.
    """
    stored = [
        item for item in catalog.partitions("rolls") if dataset in (None, item.partition["dataset"])
    ]
    if not stored:
        raise RequestError(
            f"{asked[0]}: {catalog.root} holds no rolls yet; `mbo features` makes them"
        )
    every = every_leg(catalog, dataset)
    known = {leg.series for leg in every}
    names = [parsed for name in known if (parsed := series_of(name))]
    for one in asked:
        if not any(_same(one, name) for name in names):
            raise RequestError.unknown("continuous symbol", str(one), known, where="rolls")
    wanted = {str(name) for name in names if any(_same(one, name) for one in asked)}
    return [leg for leg in every if leg.series in wanted]


def every_leg(catalog: Catalog, dataset: str | None = None) -> list[Leg]:
    """Sessions of all continuous symbols there are, in order of dataset, symbol and session."""
    from pipeline.reading import read_table

    found = [
        _leg(
            item.partition["dataset"],
            str(Series(item.partition["root"], row["rule"], row["rank"])),
            row,
        )
        for item in catalog.partitions("rolls")
        if dataset in (None, item.partition["dataset"])
        for row in read_table(item).to_pylist()
    ]
    return sorted(found, key=lambda leg: (leg.dataset, leg.series, leg.session))


def _same(asked: Series, name: Series) -> bool:
    exact = (asked.rule, asked.rank) == (name.rule, name.rank)
    return exact and fnmatch.fnmatchcase(name.root, asked.root)


def _leg(dataset: str, series: str, row: dict[str, Any]) -> Leg:
    session = str(row["session"])
    return Leg(dataset, session, series, row["contract"], row["roll"], row["why"], row["gap"])


def resolve(selection: Selection, catalog: Catalog) -> Selection:
    """The selection with its continuous symbols turned into contracts by session.

    Raises
    ------
    RequestError
        As :func:`legs`.
    """
    asked = series_in(selection.symbols)
    if not asked:
        return selection
    chosen = legs(catalog, asked, selection.dataset)
    return replace(
        selection, contracts=frozenset((leg.dataset, leg.session, leg.contract) for leg in chosen)
    )


class Volumes:
    """Contracts traded by session, and which delivery follows which."""

    def __init__(self, catalog: Catalog) -> None:
        from pipeline.reading import read_table

        self._traded: dict[tuple[str, str], dict[str, int]] = {}
        """By dataset and contract: session -> volume."""
        self._next: dict[tuple[str, str, str], str] = {}
        for item in catalog.partitions("volumes"):
            dataset = item.partition["dataset"]
            for row in read_table(item).to_pylist():
                own = self._traded.setdefault((dataset, row["contract"]), {})
                own[str(row["session"])] = row["volume"]
                if row["next_contract"] is not None:
                    key = (dataset, row["contract"], str(row["session"]))
                    self._next[key] = row["next_contract"]

    def before(self, dataset: str, symbol: str, session: date) -> dict[str, int | None]:
        """``volume_before`` and ``next_volume_before`` of a contract, from the session before."""
        own = self._traded.get((dataset, symbol), {})
        later = self._next.get((dataset, symbol, str(session)))
        return {
            "volume_before": own.get(str(session)),
            "next_volume_before": self._traded[dataset, later].get(str(session)) if later else None,
        }
