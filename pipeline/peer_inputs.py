"""Peers of a session: which contract a set's peer is, its partitions, and its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from features.sets import FeatureSet
from pipeline.contracts import legs, series_of
from pipeline.errors import RequestError
from pipeline.session_inputs import SessionPlanner, SymbolSessions
from pipeline.stage import Ref, Selection


@dataclass(frozen=True)
class PeerFacts:
    """What a task reads of its peers, and knows of them."""

    inputs: tuple[Ref, ...]
    params: Mapping[str, Any]
    weight: int
    complete: bool


class PeerPlanner:
    """Finds a set's peers in the lake.

    Raises
    ------
    RequestError
        If a continuous peer has no rolls.
    """

    def __init__(self, planner: SessionPlanner, chosen: FeatureSet) -> None:
        self._planner = planner
        self._chosen = chosen
        self._symbols: dict[tuple[str, str], SymbolSessions | None] = {}
        series = {s for peer in chosen.peers.values() if (s := series_of(peer)) is not None}
        rows = legs(planner.catalog, sorted(series, key=str)) if series else []
        self._contracts = {(leg.dataset, leg.series, leg.session): leg.contract for leg in rows}

    def facts(self, dataset: str, session: date) -> PeerFacts:
        """What is there of the peers in a session: of one without rows, nothing.

        Raises
        ------
        RequestError
            If the lake has no book of a peer at all.
        """
        inputs: list[Ref] = []
        params: dict[str, Any] = {}
        weight, complete = 0, True
        for name, asked in self._chosen.peers.items():
            symbol = asked
            if series_of(asked) is not None:
                symbol = self._contracts.get((dataset, asked, str(session)), "")
            own = self._symbol(dataset, symbol) if symbol else None
            if own is None and symbol == asked:
                raise RequestError(
                    f"feature set {self._chosen.name!r}: the lake holds no book of its peer "
                    f"{name} = {asked!r} in {dataset}; run `mbo book --symbols {asked}`"
                )
            scheduled = own.calendar.session(session) if own else None
            if own is None or scheduled is None or scheduled not in own.sessions:
                params[name] = None
                complete = False
                continue
            facts = self._planner.facts(own, scheduled)
            inputs += facts.inputs
            weight += facts.weight
            complete &= facts.params["complete"]
            params[name] = {"symbol": symbol, **facts.params}
        return PeerFacts(tuple(inputs), params, weight, complete)

    def _symbol(self, dataset: str, symbol: str) -> SymbolSessions | None:
        key = (dataset, symbol)
        if key not in self._symbols:
            found = list(self._planner.symbols(Selection(dataset, symbol)))
            self._symbols[key] = next((one for one in found if one.symbol == symbol), None)
        return self._symbols[key]
