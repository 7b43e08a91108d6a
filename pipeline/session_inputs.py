"""What every stage that goes through trading sessions needs: which there are, and their rows.

A session is built from the UTC days there are.  :class:`SessionPlanner` says for each symbol which
sessions its days overlap, which of them the quality gates refuse, and what a task must know of
one; :func:`session_rows` turns such a task into a source of events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa

from features.columns import EVENT_COLUMNS, PUBLISHED, SCALARS, TOUCH, TRADE_COLUMNS
from features.components import Fitted
from features.engine import check_depth
from features.registry import Column
from features.sets import FeatureSet
from features.source import Context, Publication, split_columns
from pipeline.calendar import Calendar, Session, calendar_for, hours_of, utc_dates
from pipeline.calendar_status import session_with_status
from pipeline.config import Settings
from pipeline.errors import InputError, RequestError
from pipeline.frames import ON_REQUEST, Day, LakeRows
from pipeline.gates import Gates
from pipeline.reading import read_table
from pipeline.settlements import SETTLEMENTS, settlement_refs, settlements
from pipeline.stage import (
    Catalog,
    Inputs,
    Partition,
    Ref,
    Selection,
    Stored,
    TableRef,
    Task,
    require,
)
from pipeline.tables import FLOW
from pipeline.units import NS_PER_S

_LONGEST_BREAK: Final = timedelta(days=8)

INPUT_TABLES: Final = ("book", "flow", "trades")


@dataclass(frozen=True)
class SymbolSessions:
    """The sessions that the days of one symbol's book overlap, in order."""

    dataset: str
    symbol: str
    calendar: Calendar
    sessions: tuple[Session, ...]
    days: Mapping[date, Stored]

    def whole(self, session: Session) -> bool:
        """No day that the session overlaps is missing."""
        return all(day in self.days for day in utc_dates(session))

    def keys(self, set_name: str, session: Session) -> Partition:
        """Where tables of a feature set hold a session."""
        return Partition.of(
            set=set_name, dataset=self.dataset, session=session.date, symbol=self.symbol
        )


@dataclass(frozen=True)
class SessionFacts:
    """What a task about one session reads, depends on and weighs."""

    inputs: tuple[Ref, ...]
    params: Mapping[str, Any]
    weight: int


class SessionPlanner:
    """Plans tasks by trading session, from what the lake holds.

    ``tables`` names those that are needed; of those made on request only these are read.
    """

    def __init__(self, catalog: Catalog, settings: Settings, tables: Collection[str] = ()) -> None:
        self.catalog = catalog
        self.settings = settings
        self.tables = (*INPUT_TABLES, *(name for name in ON_REQUEST if name in tables))
        self.settled = SETTLEMENTS in tables
        self._instruments = _instruments(catalog)
        self._gates = Gates(catalog, settings)
        self._symbols: dict[tuple[str, str], SymbolSessions | None] = {}

    def symbols(self, selection: Selection) -> Iterator[SymbolSessions]:
        """The selected symbols with all their sessions, those of other dates included.

        Raises
        ------
        RequestError
            If the lake holds no book.
        """
        groups: dict[tuple[str, str], dict[date, Stored]] = {}
        for item in require(self.catalog, "book", "mbo book"):
            key = (item.partition["dataset"], item.partition["symbol"])
            if selection.dataset in (None, key[0]) and selection.admits_symbol(key[1]):
                day = date.fromisoformat(item.partition["date"])
                groups.setdefault(key, {})[day] = item
        for (dataset, symbol), days in groups.items():
            calendar = calendar_for(dataset, symbol, self.settings)
            sessions = tuple(calendar.sessions_touching(days))
            yield SymbolSessions(dataset, symbol, calendar, sessions, days)

    def symbol(self, dataset: str, symbol: str) -> SymbolSessions | None:
        """One symbol with all its sessions; None if the lake holds no book of it."""
        key = (dataset, symbol)
        if key not in self._symbols:
            found = list(self.symbols(Selection(dataset, symbol)))
            self._symbols[key] = next((one for one in found if one.symbol == symbol), None)
        return self._symbols[key]

    def refused(self, of: SymbolSessions, session: Session) -> str:
        """Why the quality gates leave a session out; empty if they do not."""
        return self._gates.session(of.dataset, of.symbol, utc_dates(session))

    def facts(self, of: SymbolSessions, scheduled: Session) -> SessionFacts:
        """What a task about a session reads and depends on."""
        dataset, symbol, days = of.dataset, of.symbol, of.days
        wanted = utc_dates(scheduled)
        session = self._as_traded(of.calendar, scheduled, dataset, symbol, wanted)
        inputs: list[Ref] = []
        for day in wanted:
            keys = Partition.of(dataset=dataset, date=day, symbol=symbol)
            missing = day not in days
            inputs += [TableRef(table, keys, optional=missing) for table in self.tables]
        settled: dict[str, Any] = {}
        if self.settled:
            before = session_before(of.calendar, scheduled)
            inputs += settlement_refs(dataset, symbol, before, wanted[-1])
            settled["settled"] = str(before)
        row = self._instrument(dataset, symbol, session.date)
        params = {
            "calendar": of.calendar.name,
            "hours": hours_of(scheduled, session),
            "complete": of.whole(scheduled),
            "local_offset": _local_offset(of.calendar, session),
            "tick": row.get("tick_size"),
            "multiplier": _fraction(row.get("multiplier")),
            "depth": 1 if self.settings.book.materialise == "touch" else self.settings.book.depth,
            **_expiry(of.calendar, session, row.get("expiration")),
            **settled,
        }
        weight = sum(days[day].rows for day in wanted if day in days)
        return SessionFacts(tuple(inputs), params, weight)

    def _as_traded(
        self, calendar: Calendar, session: Session, dataset: str, symbol: str, days: Sequence[date]
    ) -> Session:
        """The session with the hours the vendor's status records tell, where there are any."""
        keys = (Partition.of(dataset=dataset, date=day, symbol=symbol) for day in days)
        stored = [item for key in keys if (item := self.catalog.get("vendor_status", key))]
        return session_with_status(calendar, session, stored)

    def _instrument(self, dataset: str, symbol: str, session: date) -> Mapping[str, Any]:
        rows = self._instruments.get((dataset, symbol), [])
        fitting = [row for row in rows if row["first_date"] <= session <= row["last_date"]]
        return max(fitting or rows, key=lambda row: row["last_date"], default={})


def _instruments(catalog: Catalog) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What is known of each symbol; expirations in ns.

    Only what enters a task's parameters can make it stale, not every change of the table.
    """
    columns = ["symbol", "first_date", "last_date", "tick_size", "multiplier", "expiration"]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for stored in catalog.partitions("instruments"):
        table = read_table(stored, columns)
        expiration = table["expiration"].cast(pa.int64())
        table = table.set_column(columns.index("expiration"), "expiration", expiration)
        for row in table.to_pylist():
            found.setdefault((stored.partition["dataset"], row["symbol"]), []).append(row)
    return found


def _fraction(value: Decimal | None) -> str | None:
    """A number of the table as exact text: parameters are JSON."""
    return None if value is None else str(Fraction(value))


def _local_offset(calendar: Calendar, session: Session) -> int:
    """Local time less UTC at the session's open, in ns."""
    opened = datetime.fromtimestamp(session.open_ns // NS_PER_S, UTC)
    offset = opened.astimezone(calendar.rules.zone).utcoffset() or timedelta()
    return int(offset.total_seconds()) * NS_PER_S


def _expiry(calendar: Calendar, session: Session, expiration: int | None) -> dict[str, int | None]:
    """The expiration, and how many sessions come after this one until it."""
    if expiration is None:
        return {"expiration": None, "business_days_left": None, "expiry_week": None}
    last = calendar.session_of(expiration)
    later = calendar.sessions(session.date + timedelta(days=1), last)
    same_week = last.isocalendar()[:2] == session.date.isocalendar()[:2]
    return {
        "expiration": expiration,
        "business_days_left": len(later),
        "expiry_week": int(same_week),
    }


def session_before(calendar: Calendar, session: Session) -> date:
    """The date of the session before, whether or not the lake has it."""
    span = _LONGEST_BREAK
    while not (found := calendar.sessions(session.date - span, session.date - timedelta(days=1))):
        span *= 2
    return found[-1].date


def session_rows(task: Task, inputs: Inputs, fits: Mapping[str, Fitted] | None = None) -> LakeRows:
    """The session's rows, from the days there are, what was fitted on earlier sessions, and the
    rows of its peers.

    Raises
    ------
    InputError
        If a tick size is not known.
    """
    partition = task.partition
    dataset, tolerance = partition["dataset"], task.params.get("peer_tolerance")
    peers = {
        name: _rows(dataset, known["symbol"], known, inputs)
        for name, known in (task.params.get("peers") or {}).items()
        if known is not None
    }
    own = _rows(dataset, partition["symbol"], task.params, inputs, fits, peers)
    if tolerance is None:
        return own
    return replace(own, context=replace(own.context, peer_tolerance=tolerance))


def _rows(
    dataset: str,
    symbol: str,
    params: Mapping[str, Any],
    inputs: Inputs,
    fits: Mapping[str, Fitted] | None = None,
    peers: Mapping[str, LakeRows] | None = None,
) -> LakeRows:
    """The rows of one instrument."""
    if params["tick"] is None:
        raise InputError.at(
            f"{dataset} {symbol}",
            "no tick size known",
            todo=f'add to research.toml: [instruments."{symbol}"] tick_size = ...',
        )
    hours = params["hours"]
    stored = {
        table: {
            item.partition["date"]: item
            for item in inputs.all(table)
            if item.partition["symbol"] == symbol
        }
        for table in (*INPUT_TABLES, *ON_REQUEST)
    }
    days = [
        Day(book, *(stored[table].get(day) for table in ("flow", "trades", *ON_REQUEST)))
        for day, book in sorted(stored["book"].items())
    ]
    context = Context(
        dataset=dataset,
        symbol=symbol,
        session=date.fromisoformat(hours["session"]),
        tick=params["tick"],
        segments=tuple((a, b) for a, b in hours["segments"]),
        announced_close=hours["announced_close"],
        rth=tuple(hours["rth"]) if hours["rth"] else None,
        local_offset=params["local_offset"],
        expiration=params["expiration"],
        business_days_left=params["business_days_left"],
        expiry_week=params["expiry_week"],
        volume_before=params.get("volume_before"),
        next_volume_before=params.get("next_volume_before"),
        multiplier=Fraction(multiplier) if (multiplier := params["multiplier"]) else None,
        depth=params["depth"],
        fits=fits or {},
        published=_published(symbol, params.get("settled"), inputs),
    )
    return LakeRows(context, tuple(days), hours["preopen"], hours["end"], peers or {})


def _published(symbol: str, settled: str | None, inputs: Inputs) -> Mapping[str, Publication]:
    """What the vendor published of an instrument, where the task reads it."""
    if settled is None:
        return {}
    mine = [item for item in inputs.all(SETTLEMENTS) if item.partition["symbol"] == symbol]
    return {"settle_px": settlements(mine, date.fromisoformat(settled))}


def without_tables(
    columns: Iterable[Column], catalog: Catalog, *, past: bool = False
) -> dict[str, tuple[str, ...]]:
    """Names of the columns that need tables made on request, with those the lake has none of.

    With ``past`` also those that only what they are fitted on is made of.
    """
    lacking = [table for table in ON_REQUEST if not catalog.partitions(table)]
    found = {}
    for column in columns:
        needed = {*column.tables, *(column.past_tables if past else ())}
        if missing := tuple(table for table in lacking if table in needed):
            found[column.name] = missing
    return found


def request_for(tables: Iterable[str]) -> str:
    """The command that makes tables that are made on request."""
    wanted = set(tables)
    return " ".join(("mbo book", *(flag for name, flag in ON_REQUEST.items() if name in wanted)))


def check_tables(
    columns: Iterable[Column], catalog: Catalog, where: str = "", *, past: bool = True
) -> None:
    """Make sure that the tables made on request which the columns need are there.

    Raises
    ------
    RequestError
        Naming the columns and what to run.
    """
    missing = without_tables(columns, catalog, past=past)
    if missing:
        tables = [name for name in ON_REQUEST if any(name in lacks for lacks in missing.values())]
        names = ", ".join(list(missing)[:3]) + (", ..." if len(missing) > 3 else "")
        at = f"feature set {where!r}: " if where else ""
        one = len(tables) == 1
        raise RequestError(
            f"{at}{names} need{'s' if len(missing) == 1 else ''} the "
            f"table{'' if one else 's'} {' and '.join(f'`{name}`' for name in tables)}, which "
            f"{'is' if one else 'are'} made on request; run `{request_for(tables)}`, "
            "or leave them out"
        )


def check_book(chosen: FeatureSet, settings: Settings) -> None:
    """Make sure the book that `mbo book` writes with these settings can serve the set."""
    book = settings.book
    if book.materialise == "none":
        raise RequestError(
            "features are made from the rows of the book, and book.materialise is 'none'; "
            "set it to 'full' and run `mbo book` again"
        )
    if not book.flow:
        raise RequestError(
            "features need the table `flow`, and book.flow is false; "
            "set it to true and run `mbo book` again"
        )
    depth = 1 if book.materialise == "touch" else book.depth
    check_depth(chosen.all, depth, chosen.name)
    for column in chosen.all:
        check_reads(column)


def check_reads(column: Column) -> None:
    """Make sure the columns of events that a feature or label reads exist.

    Raises
    ------
    RequestError
        Naming one that does not, and the nearest ones that do.
    """
    known = set(FLOW.schema().names)
    unknown = sorted(set(split_columns(column.roots)[1]) - known)
    if unknown:
        kind = f"column read by {column.family.kind} {column.name!r}"
        where = column.family.origin
        every = known | {*TOUCH, *TRADE_COLUMNS, *SCALARS, *PUBLISHED, *EVENT_COLUMNS}
        raise RequestError.unknown(kind, unknown[0], every, where=where)
