"""Parameters of features: the values of their grid, and which others a name may carry."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from features.bars import BAR_PATTERN
from features.nodes import DURATION_PATTERN


@dataclass(frozen=True)
class Windows:
    """Windows of a parameter: by time (``1s``), by rows (``n50``), by half-life (``h10s``)."""

    time: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    half_life: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        rows = tuple(f"n{n}" for n in self.rows)
        return rows + self.time + tuple(f"h{h}" for h in self.half_life)

    @property
    def pattern(self) -> str:
        forms = ["n[1-9][0-9]*"] if self.rows else []
        forms += [DURATION_PATTERN] if self.time else []
        forms += [f"h{DURATION_PATTERN}"] if self.half_life else []
        return "|".join(forms)

    @property
    def others(self) -> str:
        """What works besides the grid, in words."""
        forms = [f"n{self.rows[0]}: rows"] if self.rows else []
        forms += [f"{self.time[0]}: time"] if self.time else []
        forms += [f"h{self.half_life[0]}: half-life"] if self.half_life else []
        return "any of these forms; " + ", ".join(forms)

    def parse(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Numbers:
    """Whole numbers; values between ``low`` and ``high`` work besides those of the grid."""

    values: tuple[int, ...]
    low: int
    high: int

    @property
    def pattern(self) -> str:
        return "[0-9]{1,9}"

    @property
    def others(self) -> str:
        """What works besides the grid, in words."""
        return f"any from {self.low} to {self.high}"

    def parse(self, text: str) -> int | None:
        value = int(text)
        return value if self.low <= value <= self.high and str(value) == text else None


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    values: tuple[str, ...]

    @property
    def pattern(self) -> str:
        return "|".join(re.escape(v) for v in self.values)

    @property
    def others(self) -> str:
        """What works besides the grid: nothing."""
        return ""

    def parse(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Bars:
    """Bars in time (``60s``), of events (``e1000``), contracts (``c1000``) or prints (``t100``)."""

    values: tuple[str, ...]
    pattern: str = BAR_PATTERN

    @property
    def others(self) -> str:
        """What works besides the grid, in words."""
        return "any of these forms; 60s: time, e1000: events, c1000: contracts, t100: prints"

    def parse(self, text: str) -> str:
        return text


@dataclass(frozen=True)
class Named:
    """The name of something else, such as a feature; ``known`` says which names there are."""

    values: tuple[str, ...]
    known: Callable[[str], bool]

    @property
    def pattern(self) -> str:
        return "[a-z][a-z0-9_]*"

    @property
    def others(self) -> str:
        """What works besides the grid, in words."""
        return "any other that suits"

    def parse(self, text: str) -> str | None:
        return text if self.known(text) else None


@dataclass(frozen=True)
class Alias:
    """The name a feature set gives to a peer: a word without underscores."""

    values: tuple[str, ...] = ("peer",)

    @property
    def pattern(self) -> str:
        return "[a-z][a-z0-9]*"

    @property
    def others(self) -> str:
        """What works besides the grid, in words."""
        return "any peer of the set"

    def parse(self, text: str) -> str:
        return text


Parameter = Windows | Numbers | Choice | Bars | Named | Alias
