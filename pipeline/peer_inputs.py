"""Peers of a session: which contract a set's peer is, its partitions, and its rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from features.sets import FeatureSet
from pipeline.contracts import legs, series_of
from pipeline.errors import RequestError
from pipeline.session_inputs import SessionPlanner
from pipeline.stage import Ref


@dataclass(frozen=True)
class PeerFacts:
    """What a task reads of its peers, and knows of them."""

    inputs: tuple[Ref, ...]
    params: Mapping[str, Any]
    weight: int
    complete: bool


class PeerPlanner:
    """Finds a set's peers in the lake.

    ``names`` are those wanted, where it is not all of them.  Of the ``past``, sessions of a peer
    that the quality gates refuse are as good as missing.

    Raises
    ------
    RequestError
        If a continuous peer has no rolls.
    """

    def __init__(
        self,
        planner: SessionPlanner,
        chosen: FeatureSet,
        names: Collection[str] | None = None,
        *,
        past: bool = False,
    ) -> None:
        self._planner = planner
        self._set = chosen.name
        self._peers = {
            name: symbol for name, symbol in chosen.peers.items() if names is None or name in names
        }
        self._past = past
        series = {s for peer in self._peers.values() if (s := series_of(peer)) is not None}
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
        for name, asked in self._peers.items():
            symbol = asked
            if series_of(asked) is not None:
                symbol = self._contracts.get((dataset, asked, str(session)), "")
            own = self._planner.symbol(dataset, symbol) if symbol else None
            if own is None and symbol == asked:
                raise RequestError(
                    f"feature set {self._set!r}: the lake holds no book of its peer "
                    f"{name} = {asked!r} in {dataset}; run `mbo book --symbols {asked}`"
                )
            scheduled = own.calendar.session(session) if own else None
            known = own is not None and scheduled in own.sessions
            if self._past and own is not None and scheduled is not None:
                known = known and not self._planner.refused(own, scheduled)
            if own is None or scheduled is None or not known:
                params[name] = None
                complete = False
                continue
            facts = self._planner.facts(own, scheduled)
            inputs += facts.inputs
            weight += facts.weight
            complete &= facts.params["complete"]
            params[name] = {"symbol": symbol, **facts.params}
        return PeerFacts(tuple(inputs), params, weight, complete)
