"""The past that fits of a session may rest on: sessions of the contract itself, or of its root.

By default the past goes along the continuous series (``docs/contracts.md``) that a contract
belongs to in the session: that of the front holds the front of each past session, that of the
second one the second.  Which contract that was had been decided before each of those sessions
began, and none is at or after the one that is fitted for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from features.components import Component
from pipeline.calendar import Session
from pipeline.config import FitSettings
from pipeline.contracts import Leg, every_leg
from pipeline.session_inputs import SessionPlanner, SymbolSessions
from pipeline.stage import Partition

RULES: Final[Mapping[str, str]] = {"volume": "v", "calendar": "c"}
"""Rules of continuous symbols by the words of ``[features.fits] along``."""


def look_back(component: Component, settings: FitSettings) -> tuple[int, int]:
    """How many past sessions a component is fitted on at most, and at least."""
    sessions = component.sessions or settings.sessions
    minimum = settings.min_sessions or component.min_sessions
    return sessions, min(minimum, sessions)


@dataclass(frozen=True)
class PastSession:
    """A session of a symbol's own, or of the contract that stood in its place."""

    symbol: SymbolSessions
    session: Session

    def keys(self, set_name: str) -> Partition:
        """Where tables of a feature set hold it."""
        return self.symbol.keys(set_name, self.session)


@dataclass(frozen=True)
class Past:
    """What a session's fits may rest on, oldest first, as far back as components look."""

    own: Sequence[PastSession]
    """Sessions of the symbol itself; empty if no component asks for them."""
    along: Sequence[PastSession]
    """Those of the series it belongs to; its own where it belongs to none."""
    series: str = ""
    """The continuous symbol that it belongs to; empty where it belongs to none."""

    @property
    def all(self) -> list[PastSession]:
        """Each once."""
        found = {(p.symbol.symbol, p.session.date): p for p in (*self.own, *self.along)}
        return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0]))]


def look_backs(settings: FitSettings, components: Sequence[Component]) -> tuple[int, int]:
    """How far any component looks back: on sessions of the contract alone, and along a series."""
    alone, along = (
        max((look_back(c, settings)[0] for c in components if c.alone == one), default=0)
        for one in (True, False)
    )
    return alone, along


class PastPlanner:
    """Finds the past of sessions in the lake.

    Parameters
    ----------
    rule
        The continuous symbols along which the past goes: a word of ``[features.fits] along``.
    own, along
        How many sessions of the contract itself, and of its series, are looked for at most.
    whole
        Only sessions of which no day is missing are anybody's past.
    """

    def __init__(
        self, planner: SessionPlanner, rule: str, own: int, along: int, *, whole: bool = False
    ) -> None:
        self._planner = planner
        self._own, self._along, self._whole = own, along, whole
        letter = RULES.get(rule)
        self._legs: dict[tuple[str, str], list[Leg]] = {}
        """By dataset and continuous symbol, in order of session."""
        self._series: dict[tuple[str, str, str], str] = {}
        """By dataset, session and contract."""
        for leg in every_leg(planner.catalog) if letter else ():
            if leg.series.split(".")[1] == letter:
                self._legs.setdefault((leg.dataset, leg.series), []).append(leg)
                self._series[leg.dataset, leg.session, leg.contract] = leg.series

    def sessions(self, symbol: SymbolSessions) -> Iterator[tuple[Session, Past]]:
        """The sessions of a symbol that the quality gates admit, each with its past."""
        past: list[PastSession] = []
        for session in symbol.sessions:
            if self._planner.refused(symbol, session):
                continue
            series = self._series.get((symbol.dataset, str(session.date), symbol.symbol))
            if series is None:
                own = _last(past, max(self._own, self._along))
                yield session, Past(own, own)
            else:
                along = self._before(symbol.dataset, series, session)
                yield session, Past(_last(past, self._own), along, series)
            if self._counts(symbol, session):
                past.append(PastSession(symbol, session))

    def _counts(self, symbol: SymbolSessions, session: Session) -> bool:
        return not self._whole or symbol.whole(session)

    def _before(self, dataset: str, series: str, session: Session) -> list[PastSession]:
        """The last sessions of a series before one of them."""
        legs = self._legs[dataset, series]
        found: list[PastSession] = []
        at = bisect_left(legs, str(session.date), key=lambda leg: leg.session)
        for leg in reversed(legs[:at]):
            if len(found) == self._along:
                break
            past = self._session(leg)
            if past is not None:
                found.append(past)
        return found[::-1]

    def _session(self, leg: Leg) -> PastSession | None:
        """A session of a series, if the lake has it and the quality gates admit it."""
        symbol = self._planner.symbol(leg.dataset, leg.contract)
        known = {str(s.date): s for s in symbol.sessions} if symbol else {}
        session = known.get(leg.session)
        if symbol is None or session is None or self._planner.refused(symbol, session):
            return None
        return PastSession(symbol, session) if self._counts(symbol, session) else None


def _last(items: Sequence[PastSession], count: int) -> list[PastSession]:
    return list(items[len(items) - min(count, len(items)) :])
