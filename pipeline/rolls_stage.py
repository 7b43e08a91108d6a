"""Stage `rolls`: from `trades` (and `book`, for gaps) to `volumes` and `rolls`, by root.

One task a dataset and root symbol, over all sessions the lake has data of.  It reads times and
sizes of the root's outright futures; spreads have no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.calendar import Calendar, Session, calendar_for, utc_dates
from pipeline.config import Settings
from pipeline.contracts import RANKS
from pipeline.ingest.products import products, symbol_form
from pipeline.reading import read_batches, read_table
from pipeline.rolls import Choice, Contract, by_calendar, by_volume, delivery_month
from pipeline.stage import Catalog, Inputs, Outputs, Partition, Selection, Stored, TableRef, Task
from pipeline.tables import ROLLS, VOLUMES
from pipeline.units import NS_PER_S

_TOUCH: Final = ["ts_recv", "valid", "state", "bid_px_00", "ask_px_00"]


class RollStage:
    """Volumes by session and contract, and the contracts of continuous symbols."""

    name = "rolls"
    version = 1
    tables: Sequence[str] = ("volumes", "rolls")

    def plan(self, catalog: Catalog, settings: Settings, selection: Selection) -> list[Task]:
        """A task a root of which the selection admits a contract."""
        instruments = _expirations(catalog)
        roots: dict[tuple[str, str], list[Stored]] = {}
        for item in catalog.partitions("trades"):
            dataset, symbol = item.partition["dataset"], item.partition["symbol"]
            form = symbol_form(symbol)
            kind, product = instruments.classes.get((dataset, symbol), (None, None))
            root = product or form.product
            if not root or (kind or form.instrument_class) != "F":
                continue
            if _in_a_session(item, settings):
                roots.setdefault((dataset, root), []).append(item)
        return [
            _task(settings, dataset, root, items, instruments)
            for (dataset, root), items in sorted(roots.items())
            if selection.dataset in (None, dataset)
            and any(selection.admits_symbol(item.partition["symbol"]) for item in items)
        ]

    def run(self, task: Task, inputs: Inputs, outputs: Outputs) -> None:
        """Count, then choose."""
        params = task.params
        sessions = [_Span(*row) for row in params["sessions"]]
        contracts = [Contract(*row) for row in params["contracts"]]
        volumes = _volumes(inputs, sessions, params["known"], outputs)
        outputs.writer(VOLUMES).write(_volume_rows(sessions, volumes, contracts))
        traded = {i: {s: pair[0] for s, pair in own.items()} for i, own in volumes.items()}
        rows: list[dict[str, Any]] = []
        for rule, rank in ((rule, rank) for rule in ("c", "v") for rank in range(RANKS)):
            if rule == "c":
                chosen = by_calendar(len(sessions), contracts, params["days"], rank)
            else:
                chosen = by_volume(len(sessions), contracts, traded, rank)
            for choice in chosen:
                contract, before = choice.contract, traded.get(choice.session - 1)
                rows.append(
                    {
                        "rule": rule,
                        "rank": rank,
                        "session": date.fromisoformat(sessions[choice.session].session),
                        "contract": contract.symbol,
                        "roll": choice.roll,
                        "why": choice.why,
                        "contract_before": choice.before.symbol if choice.before else None,
                        "gap": _gap(inputs, sessions, choice),
                        "sessions_left": _left(contract.last, choice.session),
                        "volume_before": None if before is None else before.get(contract.symbol, 0),
                    }
                )
        outputs.writer(ROLLS).write(pa.Table.from_pylist(rows, schema=ROLLS.schema()))
        unknown = [c.symbol for c in contracts if c.last is None]
        if unknown:
            root = task.partition["root"]
            outputs.warn(
                f"{root}: no expiration known of {', '.join(unknown)}: {root}.c.0 never leaves "
                f'them; add to research.toml: [instruments."{unknown[0]}"] expiration = ...'
            )

    def warm(self) -> None:
        """Nothing to compile."""


@dataclass(frozen=True)
class _Span:
    """A session as the task's parameters have it."""

    session: str
    begin: int
    end: int
    days: list[str]
    """Its UTC days."""


@dataclass(frozen=True)
class _Instruments:
    expirations: Mapping[tuple[str, str], list[tuple[date, date, int | None]]]
    """By dataset and symbol: first and last date, expiration in ns."""
    classes: Mapping[tuple[str, str], tuple[str | None, str | None]]
    """Class and product."""


def _expirations(catalog: Catalog) -> _Instruments:
    expirations: dict[tuple[str, str], list[tuple[date, date, int | None]]] = {}
    classes: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    names = ["symbol", "first_date", "last_date", "instrument_class", "product", "expiration"]
    for stored in catalog.partitions("instruments"):
        table = read_table(stored, names)
        table = table.set_column(5, "expiration", table["expiration"].cast(pa.int64()))
        for row in table.to_pylist():
            key = (stored.partition["dataset"], row["symbol"])
            span = (row["first_date"], row["last_date"], row["expiration"])
            expirations.setdefault(key, []).append(span)
            classes[key] = (row["instrument_class"], row["product"])
    return _Instruments(expirations, classes)


def _in_a_session(item: Stored, settings: Settings) -> bool:
    """False for a day that no session touches: a holiday with a snapshot, a closed weekend."""
    calendar = calendar_for(item.partition["dataset"], item.partition["symbol"], settings)
    return bool(calendar.sessions_touching([date.fromisoformat(item.partition["date"])]))


def _task(
    settings: Settings,
    dataset: str,
    root: str,
    items: Sequence[Stored],
    instruments: _Instruments,
) -> Task:
    calendar = calendar_for(dataset, items[0].partition["symbol"], settings)
    touched = calendar.sessions_touching({date.fromisoformat(i.partition["date"]) for i in items})
    # Without holes: a session without data holds what the one before held.
    sessions = calendar.sessions(touched[0].date, touched[-1].date)
    number = {session.date: i for i, session in enumerate(sessions)}
    # One-digit years repeat every decade: a contract is a symbol and its expiration.
    contracts: dict[tuple[str, int | None], Contract] = {}
    for item in items:
        symbol, day = item.partition["symbol"], date.fromisoformat(item.partition["date"])
        first = min(number[s.date] for s in calendar.sessions_touching([day]))
        expiration = _expiration(instruments.expirations.get((dataset, symbol), []), day)
        if (symbol, expiration) not in contracts:
            contracts[symbol, expiration] = _contract(calendar, sessions, symbol, first, expiration)
    refs = [TableRef("trades", item.partition) for item in items]
    refs += [TableRef("book", item.partition, optional=True) for item in items]
    own = settings.rolls.get(root, {}).get("days")
    product = products().get((dataset, root))
    params = {
        "days": own if own is not None else product.roll if product else 0,
        "calendar": calendar.name,
        "sessions": [
            [str(s.date), s.preopen_ns, s.end_ns, [str(d) for d in utc_dates(s)]] for s in sessions
        ],
        "contracts": [[c.symbol, c.order, c.first, c.last] for c in contracts.values()],
        "known": [number[s.date] for s in touched],
    }
    partition = Partition.of(dataset=dataset, root=root)
    return Task(partition, tuple(refs), params, weight=sum(item.rows for item in items))


def _expiration(spans: Sequence[tuple[date, date, int | None]], day: date) -> int | None:
    fitting = [span for span in spans if span[0] <= day <= span[1]] or list(spans)
    return fitting[0][2] if fitting else None


def _contract(
    calendar: Calendar,
    sessions: Sequence[Session],
    symbol: str,
    first: int,
    expiration: int | None,
) -> Contract:
    if expiration is None:
        month = delivery_month(symbol, sessions[first].date)
        begins = datetime(month.year, month.month, 1, tzinfo=UTC)
        return Contract(symbol, int(begins.timestamp()) * NS_PER_S, first, None)
    after = calendar.sessions(sessions[0].date, calendar.session_of(expiration))
    return Contract(symbol, expiration, first, len(after) - 1)


def _volumes(
    inputs: Inputs, sessions: Sequence[_Span], known: Sequence[int], outputs: Outputs
) -> dict[int, dict[str, tuple[int, int]]]:
    """Contracts and prints by number of the session and symbol; 0 where a symbol did not trade,
    nothing where the lake has no data of the session.
    """
    edges = np.array([span.end for span in sessions], np.int64)
    totals: dict[str, np.ndarray] = {}
    touched: set[int] = set()
    done = 0
    for stored in inputs.all("trades"):
        sums = totals.setdefault(
            stored.partition["symbol"], np.zeros((2, len(sessions) + 1), np.int64)
        )
        for batch in read_batches(stored, ["ts_recv", "size"]):
            ts = batch.column(0).cast(pa.int64()).to_numpy()
            at = np.searchsorted(edges, ts, side="right")
            np.add.at(sums[0], at, batch.column(1).to_numpy().astype(np.int64))
            np.add.at(sums[1], at, 1)
            touched.update(int(i) for i in np.unique(at))
            done += batch.num_rows
            outputs.progress(done)
    return {
        i: {symbol: (int(s[0, i]), int(s[1, i])) for symbol, s in sorted(totals.items())}
        for i in sorted(touched.intersection(known))
    }


def _volume_rows(
    sessions: Sequence[_Span],
    volumes: Mapping[int, Mapping[str, tuple[int, int]]],
    contracts: Sequence[Contract],
) -> pa.Table:
    rows = [
        {
            "session": date.fromisoformat(sessions[i].session),
            "contract": symbol,
            "volume": volume,
            "next_contract": _next(contracts, symbol, i),
            "prints": prints,
        }
        for i, own in volumes.items()
        for symbol, (volume, prints) in own.items()
    ]
    return pa.Table.from_pylist(rows, schema=VOLUMES.schema())


def _next(contracts: Sequence[Contract], symbol: str, session: int) -> str | None:
    known = sorted((c for c in contracts if c.first <= session), key=lambda c: c.order)
    own = max((c for c in known if c.symbol == symbol), key=lambda c: c.first, default=None)
    later = [c for c in known if own is not None and c.order > own.order]
    return later[0].symbol if later else None


def _left(last: int | None, session: int) -> int | None:
    return None if last is None else last - session


def _gap(inputs: Inputs, sessions: Sequence[_Span], choice: Choice) -> int | None:
    """What the price steps by at a roll, as it stood when the session before closed."""
    if choice.before is None:
        return None
    span = sessions[choice.session - 1]
    old, new = (_last_mid(inputs, span, s) for s in (choice.before.symbol, choice.contract.symbol))
    return None if old is None or new is None else (new - old) // 2


def _last_mid(inputs: Inputs, span: _Span, symbol: str) -> int | None:
    """Bid plus ask of the last normal row of a session."""
    stored = {
        item.partition["date"]: item
        for item in inputs.all("book")
        if item.partition["symbol"] == symbol
    }
    for day in reversed(span.days):
        found = None
        for batch in read_batches(stored[day], _TOUCH) if day in stored else ():
            ts = batch.column(0).cast(pa.int64())
            state = batch.column(2).cast(pa.string())
            inside = pc.and_(pc.less(ts, span.end), pc.greater_equal(ts, span.begin))
            good = pc.and_(pc.and_(inside, batch.column(1)), pc.equal(state, "normal"))
            rows = batch.filter(good)
            if rows.num_rows:
                found = rows.column(3)[-1].as_py() + rows.column(4)[-1].as_py()
        if found is not None:
            return int(found)
    return None


ROLLS_STAGE: Final = RollStage()
