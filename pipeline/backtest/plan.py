"""Planning a run: which symbols and sessions, from which partitions, with which money."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pyarrow.parquet as pq

from pipeline.backtest.accounts import Contract
from pipeline.backtest.fees import choose_schedule
from pipeline.backtest.request import Request
from pipeline.backtest.rolling import AT_CLOSE, AT_OPEN, Roll, rolls_of
from pipeline.book.stage import CARRY_DAYS
from pipeline.book.venues import rule_of
from pipeline.calendar import (
    Calendar,
    Session,
    calendar_for,
    hours_of,
    product_of,
    utc_dates,
)
from pipeline.calendar_status import session_with_status
from pipeline.contracts import resolve
from pipeline.errors import RequestError
from pipeline.gates import Gates
from pipeline.models.tables import PREDICTED
from pipeline.stage import Catalog, Partition, Ref, Selection, Stored, TableRef, Task, require
from strategies.event import EventStrategy

FIFO = "F"
"""The match algorithm whose queue the exact reading knows."""
_INCOMPLETE = "incomplete: a day it overlaps is missing"


@dataclass(frozen=True)
class Instrument:
    """A contract, and how its orders are matched."""

    contract: Contract
    match: str | None


class Instruments:
    """Rows of `instruments`, by symbol and session."""

    def __init__(self, catalog: Catalog) -> None:
        self._rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for stored in catalog.partitions("instruments"):
            for path in stored.files:
                for row in pq.read_table(path, partitioning=None).to_pylist():
                    key = (stored.partition["dataset"], row["symbol"])
                    self._rows.setdefault(key, []).append(row)

    def get(self, dataset: str, symbol: str, session: date) -> Instrument:
        """What is known of a symbol at a session.

        Raises
        ------
        RequestError
            If its tick size, multiplier or currency is not known: there is no default.
        """
        rows = self._rows.get((dataset, symbol), [])
        fitting = [r for r in rows if r["first_date"] <= session <= r["last_date"]]
        row = max(fitting or rows, key=lambda r: r["last_date"], default={})
        for name in ("tick_size", "multiplier", "currency"):
            if row.get(name) is None:
                raise RequestError(
                    f"{symbol}: no {name} known, so its money cannot be computed; add to "
                    f'research.toml: [instruments."{symbol}"] {name} = ...'
                )
        contract = Contract(
            symbol,
            row.get("product") or product_of(symbol) or symbol,
            Fraction(row["multiplier"]),
            int(row["tick_size"]),
            row["currency"],
        )
        return Instrument(contract, row.get("match_algorithm"))


def plan_run(request: Request, catalog: Catalog, selection: Selection) -> list[Task]:
    """A task a dataset and symbol; sets of the request what is known once planned.

    Raises
    ------
    RequestError
        If there are no features, columns the strategy reads are missing, no session can be
        traded, or a fee or multiplier is not known.
    """
    selection = resolve(selection, catalog)
    instruments = Instruments(catalog)
    request.skipped = {}
    planner = _Planner(request, catalog, instruments, rolls_of(catalog, selection))
    if request.strategy.features():
        groups = _with_features(request, catalog, selection)
    else:
        groups = planner.without_features(selection)
    drafts = [d for key, items in sorted(groups.items()) if (d := planner.draft(*key, items))]
    if not drafts:
        reasons = {r for by_session in request.skipped.values() for r in by_session.values()}
        hint = "; --partial trades incomplete ones" if _INCOMPLETE in reasons else ""
        raise RequestError(f"no session to trade: {'; '.join(sorted(reasons))}{hint}")
    request.rolls = [str(roll) for roll in planner.done]
    request.sessions = tuple(sorted({day for draft in drafts for day in draft.sessions}))
    request.currencies = tuple(sorted({draft.currency for draft in drafts}))
    request.run_id = _run_id(request, catalog, drafts)
    groups_of_drafts = [drafts] if _together(request) else [[draft] for draft in drafts]
    return [_task(request, group) for group in groups_of_drafts]


def _together(request: Request) -> bool:
    strategy = request.strategy
    return isinstance(strategy, EventStrategy) and strategy.together


def _task(request: Request, drafts: Sequence[_Draft]) -> Task:
    """The task of one instrument, or of several that are traded together."""
    parts = tuple(
        Partition.of(run_id=request.run_id, dataset=d.dataset, symbol=d.symbol) for d in drafts
    )
    hints = {"strategy": request.asked, "interpret": request.interpret}
    return Task(
        parts[0],
        tuple(ref for draft in drafts for ref in draft.inputs),
        {"legs": [draft.params for draft in drafts]},
        hints,
        sum(draft.weight for draft in drafts),
        outputs=parts if len(parts) > 1 else (),
    )


@dataclass(frozen=True)
class _Candidate:
    """A session that might be traded."""

    day: date
    features: Stored | None
    """None where the strategy reads none."""
    predictions: Stored | None = None
    lacking: str = ""
    """Why it cannot be traded."""


_Groups = dict[tuple[str, str], list[_Candidate]]


def _with_features(request: Request, catalog: Catalog, selection: Selection) -> _Groups:
    """The sessions that the feature set has, by dataset and symbol."""
    chosen = request.feature_set()
    features = [
        item
        for item in require(catalog, "features", "mbo features")
        if item.partition["set"] == chosen and selection.admits(item.partition)
    ]
    if not features:
        sets = sorted({i.partition["set"] for i in catalog.partitions("features")})
        raise RequestError(
            f"no features of set {chosen!r} match the selection (sets there: {', '.join(sets)}); "
            f"run `mbo features --set {chosen}`"
        )
    _check_columns(request, features[0])
    groups: _Groups = {}
    for item in features:
        keys = item.partition
        day = date.fromisoformat(keys["session"])
        beside, lacking = _predictions(request, catalog, keys)
        candidate = _Candidate(day, item, beside, lacking)
        groups.setdefault((keys["dataset"], keys["symbol"]), []).append(candidate)
    return groups


def _predictions(request: Request, catalog: Catalog, keys: Partition) -> tuple[Stored | None, str]:
    """What the run's model predicted of a session, and why that cannot be traded."""
    model = request.model
    if not model:
        return None, ""
    names = {name: keys[name] for name in ("dataset", "session", "symbol")}
    stored = catalog.get("predictions", Partition.of(model=model, **names))
    if stored is None or stored.notes.get("served_by") is None:
        return None, f"{model} predicts nothing of it"
    return stored, ""


def _check_columns(request: Request, item: Stored) -> None:
    there = pq.read_schema(item.files[0]).names
    wanted = request.strategy.features()
    missing = [name for name in wanted if name not in there and name not in PREDICTED]
    if missing:
        where = f"feature set {request.feature_set()!r}"
        listed = ", ".join(missing)
        raise RequestError(
            f"{request.loaded.name} reads {listed}, which {where} does not have; add to "
            f"research.toml: [features.sets.{request.feature_set()}] features = [..., "
            f"{', '.join(repr(m) for m in missing)}], or choose another --set"
        )


def _run_id(request: Request, catalog: Catalog, drafts: Sequence[_Draft]) -> str:
    """Hash of everything that determines the run, contents of inputs included."""

    def content(ref: Ref) -> str:
        stored = catalog.get(ref.table, ref.partition) if isinstance(ref, TableRef) else None
        return stored.content if stored else ""

    value = {
        "capital": request.capital,
        "tasks": [
            [d.dataset, d.symbol, d.params, [content(ref) for ref in d.inputs]] for d in drafts
        ],
    }
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Draft:
    """A task before the run has its id."""

    dataset: str
    symbol: str
    inputs: tuple[Ref, ...]
    params: Mapping[str, Any]
    weight: int
    sessions: tuple[date, ...]
    """Those in which it decides."""
    currency: str


@dataclass(frozen=True)
class _Planned:
    """A session of a task."""

    session: Session
    hours: Mapping[str, Any]
    """Its hours as the features were made with."""
    predictions: Stored | None
    features: Stored | None
    """None where it is there to close what a roll left, and decides nothing."""
    complete: bool
    exit: str = ""
    """Where a roll ends the position: ``close``, ``open``, or nowhere."""


class _Planner:
    def __init__(
        self,
        request: Request,
        catalog: Catalog,
        instruments: Instruments,
        rolls: Sequence[Roll] = (),
    ) -> None:
        self.rolls = rolls
        self.done: list[Roll] = []
        """Rolls at which a contract traded in the run is left."""
        self.request = request
        self.catalog = catalog
        self.instruments = instruments
        self.gates = Gates(catalog, request.settings)
        self._mbo: dict[tuple[str, str], list[Stored]] = {}
        for item in catalog.partitions("mbo"):
            key = (item.partition["dataset"], item.partition["symbol"])
            self._mbo.setdefault(key, []).append(item)

    def without_features(self, selection: Selection) -> _Groups:
        """The sessions that days of records overlap, by dataset and symbol."""
        require(self.catalog, "mbo", "mbo ingest")
        groups: _Groups = {}
        for (dataset, symbol), items in self._mbo.items():
            days = [date.fromisoformat(item.partition["date"]) for item in items]
            calendar = calendar_for(dataset, symbol, self.request.settings)
            for session in calendar.sessions_touching(days):
                keys = Partition.of(dataset=dataset, session=session.date, symbol=symbol)
                if selection.admits(keys):
                    found = groups.setdefault((dataset, symbol), [])
                    found.append(_Candidate(session.date, None))
        if not groups:
            raise RequestError("no records match the selection; `mbo status` shows what there is")
        return groups

    def _hours(
        self,
        dataset: str,
        symbol: str,
        item: _Candidate,
        scheduled: Session,
        calendar: Calendar,
        days: Mapping[date, Stored],
    ) -> tuple[Mapping[str, Any], bool]:
        """Hours of a session, and whether all its days are there.

        The hours the features were made with: the vendor's status records may differ from the
        schedule.
        """
        if item.features is not None:
            notes = item.features.notes
            hours = notes.get("hours") or hours_of(scheduled, scheduled)
            return hours, bool(notes.get("complete", True))
        wanted = utc_dates(scheduled)
        keys = (Partition.of(dataset=dataset, date=day, symbol=symbol) for day in wanted)
        status = [found for key in keys if (found := self.catalog.get("vendor_status", key))]
        traded = session_with_status(calendar, scheduled, status)
        return hours_of(scheduled, traded), all(day in days for day in wanted)

    def draft(self, dataset: str, symbol: str, candidates: Sequence[_Candidate]) -> _Draft | None:
        """The task of one symbol, None where no session of it can be traded."""
        calendar = calendar_for(dataset, symbol, self.request.settings)
        planned: list[_Planned] = []
        days: dict[date, Stored] = {
            date.fromisoformat(i.partition["date"]): i for i in self._mbo.get((dataset, symbol), ())
        }
        for item in sorted(candidates, key=lambda candidate: candidate.day):
            session = calendar.session(item.day)
            reason, complete = "the calendar has no such session", False
            hours: Mapping[str, Any] = {}
            if session is not None:
                hours, complete = self._hours(dataset, symbol, item, session, calendar, days)
                reason = self._reason_to_skip(dataset, symbol, session, complete, days)
                reason = reason or item.lacking
            if reason or session is None:
                self.request.skipped.setdefault(symbol, {})[str(item.day)] = reason
                continue
            planned.append(_Planned(session, hours, item.predictions, item.features, complete))
        if not planned:
            return None
        for roll in self.rolls:
            if (roll.dataset, roll.contract) == (dataset, symbol):
                planned = self._leave(roll, planned, calendar, days)
        return self._draft(dataset, symbol, planned, days)

    def _leave(
        self,
        roll: Roll,
        planned: Sequence[_Planned],
        calendar: Calendar,
        days: Mapping[date, Stored],
    ) -> list[_Planned]:
        """The sessions, with a way out of the position at a roll."""
        held = [item.session.date for item in planned if item.session.date in roll.sessions]
        if not held or any(item.session.date == roll.following for item in planned):
            return list(planned)  # not traded before, or another series holds it on
        self.done.append(roll)
        after = calendar.session(roll.following)
        wanted = utc_dates(after) if after else []
        if roll.why == "volume" and after and any(day in days for day in wanted):
            complete = all(day in days for day in wanted)
            way_out = _Planned(after, hours_of(after, after), None, None, complete, AT_OPEN)
            return sorted([*planned, way_out], key=lambda item: item.session.date)
        last = max(held)
        return [
            replace(item, exit=AT_CLOSE) if item.session.date == last else item for item in planned
        ]

    def _reason_to_skip(
        self,
        dataset: str,
        symbol: str,
        session: Session,
        complete: bool,
        days: Mapping[date, Stored],
    ) -> str:
        wanted = utc_dates(session)
        if not any(day in days for day in wanted):
            return "no MBO records"
        if not complete and not self.request.settings.backtest.partial:
            return _INCOMPLETE
        return self.gates.session(dataset, symbol, wanted)

    def _draft(
        self,
        dataset: str,
        symbol: str,
        planned: Sequence[_Planned],
        days: Mapping[date, Stored],
    ) -> _Draft:
        request = self.request
        sessions = [item.session for item in planned]
        features = [item.features for item in planned if item.features is not None]
        instrument = self.instruments.get(dataset, symbol, sessions[0].date)
        contract = instrument.contract
        schedule = choose_schedule(
            request.settings.backtest.fees, contract.product, request.settings.fees
        )
        for session in sessions:
            for role in ("maker", "taker", "auction"):
                schedule.per_contract(contract.product, role, session.date, contract.currency)
        wanted = sorted({day for s in sessions for day in utc_dates(s) if day in days})
        inputs: list[Ref] = []
        chain: list[list[Any]] = []
        for day, earlier in _with_previous(sorted(days), wanted):
            inputs.append(TableRef("mbo", days[day].partition))
            start = "goes_on" if earlier in wanted else "new"
            carried = days[day].notes.get("opens_with") not in ("snapshot", "clear")
            if earlier is None:
                start = "new"
            elif start == "new" and carried:
                start = "state"
                inputs.append(TableRef("book_state", days[earlier].partition, optional=True))
            chain.append([str(day), start])
        inputs += [TableRef("features", item.partition) for item in features]
        predictions = [item.predictions for item in planned if item.predictions is not None]
        inputs += [TableRef("predictions", item.partition) for item in predictions]
        after = request.settings.book.assume_valid_after
        params = {
            "strategy": request.strategy_identity(),
            "readings": list(request.readings),
            **request.simulated(),
            "grid": bool(features and features[0].notes.get("clock", "event").startswith("grid")),
            "sessions": [item.hours for item in planned],
            "complete": [item.complete for item in planned],
            "exits": [item.exit for item in planned],
            "days": chain,
            "rule": rule_of(dataset).bits,
            "assume_valid_after": after,
            "contract": [
                contract.product,
                str(contract.multiplier),
                contract.tick,
                contract.currency,
            ],
            "queue_model": "exact" if instrument.match == FIFO else "approx",
            "match": instrument.match,
            "fees": [schedule.name, schedule.identity()],
            "set": request.feature_set() if features else None,
            "reads_features": bool(features),
            **({"model": request.model} if predictions else {}),
        }
        return _Draft(
            dataset,
            symbol,
            tuple(inputs),
            params,
            sum(days[day].rows for day in wanted),
            tuple(item.session.date for item in planned if item.exit != AT_OPEN),
            contract.currency,
        )


def _with_previous(
    stored: Sequence[date], wanted: Sequence[date]
) -> Iterator[tuple[date, date | None]]:
    """Days with the stored day before each that a state could be carried from."""
    before: dict[date, date | None] = {}
    last: date | None = None
    for day in stored:
        near = last is not None and day - last <= timedelta(days=CARRY_DAYS)
        before[day] = last if near else None
        last = day
    for day in wanted:
        yield day, before[day]
