"""What venues do differently: the rule by which a modified order keeps its place.

Everywhere known, a price change or a size increase loses priority; the table says the rest.
A venue that is not listed follows the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.book.layout import DECREASE_KEEPS, PARTIAL_CANCELS


@dataclass(frozen=True)
class VenueRule:
    """Priority rules of a dataset's matching engine."""

    decrease_keeps: bool = True
    """A smaller size at the same price keeps the place in the queue."""
    partial_cancels: bool = True
    """A C may be for a part of the order, whose rest keeps its place.  Where every C is for
    the whole order (GLBX), what its size says does not matter."""

    @property
    def bits(self) -> int:
        """The rule as :mod:`pipeline.book.layout` wants it."""
        return DECREASE_KEEPS * self.decrease_keeps | PARTIAL_CANCELS * self.partial_cancels


DEFAULT: Final = VenueRule()

RULES: Final[dict[str, VenueRule]] = {
    "GLBX.MDP3": VenueRule(),
    "SIM.MDP3": VenueRule(),
    "XNAS.ITCH": VenueRule(),
    "IFEU.IMPACT": VenueRule(),
    "NDEX.IMPACT": VenueRule(),
}
"""By dataset code.  The same today: the vendor writes partial C only where a venue does."""


def rule_of(dataset: str) -> VenueRule:
    """The rule of a dataset."""
    return RULES.get(dataset, DEFAULT)
