"""Rolls of a run on continuous symbols: which contract is left when, and how its position ends.

Every contract is simulated by itself, so that no position, order or window crosses a roll.  What
is held is closed in the contract it is held in:

- A roll that was known beforehand (by the calendar, or because the contract ends): before the
  close of the contract's last session.
- A roll by volume is known only once that session is over: at the open of the session after, in
  the contract left.  Where the lake has no records of that, before the close as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, pairwise
from typing import Final

from pipeline.contracts import Leg, legs, series_in
from pipeline.stage import Catalog, Selection

AT_CLOSE: Final = "close"
AT_OPEN: Final = "open"


@dataclass(frozen=True)
class Roll:
    """The end of a segment of a continuous symbol."""

    series: str
    dataset: str
    contract: str
    sessions: frozenset[date]
    """Sessions of the segment that ends."""
    following: date
    """First session of the next contract."""
    into: str
    why: str

    def __str__(self) -> str:
        return f"{self.following} {self.series}: {self.contract} to {self.into} ({self.why})"


def rolls_of(catalog: Catalog, selection: Selection) -> list[Roll]:
    """Rolls of the continuous symbols of a selection, within its dates.

    A contract that is also asked for by its own name is traded through.
    """
    asked = series_in(selection.symbols)
    if not asked:
        return []
    found: list[Roll] = []
    chosen = [
        leg for leg in legs(catalog, asked, selection.dataset) if selection.admits_date(leg.session)
    ]
    for _, own in groupby(chosen, key=lambda leg: (leg.dataset, leg.series)):
        segments = [list(part) for _, part in groupby(own, key=lambda leg: leg.roll)]
        found += [_roll(old, new[0]) for old, new in pairwise(segments)]
    return [roll for roll in found if not selection.names(roll.contract)]


def _roll(old: Sequence[Leg], new: Leg) -> Roll:
    return Roll(
        old[0].series,
        old[0].dataset,
        old[0].contract,
        frozenset(date.fromisoformat(leg.session) for leg in old),
        date.fromisoformat(new.session),
        new.contract,
        new.why,
    )
