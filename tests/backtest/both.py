"""One market and one script through the compiled simulator and through the plain one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.backtest import state as st
from pipeline.backtest.options import Limits, Money
from pipeline.backtest.tables import (
    FILL_REASONS,
    ORDER_REASONS,
    ORDER_STATUS,
    ORDER_TYPES,
    ROLES,
    TIMES_IN_FORCE,
)
from pipeline.units import PRICE_SCALE, UNDEF_PRICE
from strategies.layout import NO_PRICE
from tests.backtest.scenario import Session, Tape
from tests.backtest.scripted import Scripted, run
from tests.backtest.test_reference import play
from tests.reference.player import Player
from tests.reference.simulator import Options, Simulator

TICK = PRICE_SCALE // 4
MARKS = ("clock", "session_end", "kill")
STATES = ("pending", "working", *ORDER_STATUS[2:])


@dataclass
class Case:
    """What both are given."""

    tape: Tape
    rows: list[tuple[int, ...]]
    sessions: list[Session]
    until: int | None
    reading: str = "exact"
    latency: int = 0
    response: int = 0
    feed: int = 0
    jitter: tuple[int, int, int] = (0, 0, 0)
    latencies: Any = None
    seed: int = 1
    flatten_before: int | None = None
    limits: Limits = field(default_factory=Limits)
    money: Money = field(default_factory=lambda: Money(tick=TICK))
    assume_valid_after: int = -1


def compiled(case: Case, **more: Any) -> Scripted:
    told = {name: value for name, value in vars(case).items() if name not in ("tape", "rows")}
    return run(case.tape, *case.rows, **{**told, **more})


def plain(case: Case) -> Simulator:
    after = case.assume_valid_after
    options = Options(
        case.reading, case.latency, case.response, case.feed, case.jitter, case.latencies,
        case.seed, passive=False, assume_after=None if after < 0 else after, limits=case.limits,
        money=case.money,
    )  # fmt: skip
    player = Player(case.rows)
    simulator = Simulator(options, case.sessions, case.flatten_before, strategy=player)
    play(simulator, case.tape, case.until)
    return simulator


def _known(value: Any) -> int | None:
    return None if value in (UNDEF_PRICE, NO_PRICE) else int(value)


def of_compiled(result: Scripted) -> dict[str, list[Any]]:
    """Everything that can be compared, in words."""
    fills = [
        {
            "order": int(r[st.F_ORDER]), "session": int(r[st.F_SESSION]), "ts": int(r[st.F_TS]),
            "known": int(r[st.F_KNOWN]), "event": int(r[st.F_EVENT]) % 10**10,
            "record": int(r[st.F_RECORD]),
            "size": int(r[st.F_SIZE]) * (1 if r[st.F_SIDE] == 0 else -1),
            "price": int(r[st.F_PRICE]), "role": ROLES[r[st.F_ROLE]],
            "reason": FILL_REASONS[r[st.F_REASON]], "entry": _known(r[st.F_ENTRY_AHEAD]),
            "ahead": _known(r[st.F_AHEAD]), "position": int(r[st.F_POSITION]),
            "touch": (_known(r[st.F_BID]), _known(r[st.F_ASK])),
        }
        for r in result.rows.fills
    ]  # fmt: skip
    orders = [_order(r) for r in result.rows.orders]
    marks = [
        (int(m[st.M_TS]), _event(m[st.M_EVENT]), MARKS[m[st.M_KIND]], int(m[st.M_POSITION]),
         _known(m[st.M_MARK]), int(m[st.M_SESSION]), int(m[st.M_FILLS]))
        for m in result.rows.marks
    ]  # fmt: skip
    heard = [_word(a, b) for a, b in zip(result.heard, result.more, strict=True)]
    seen = [
        (row[0], ("event", "timer")[row[1]], row[2] if row[1] else _event(row[2]), _known(row[3]),
         _known(row[4]), row[5], row[6], bool(row[7]), bool(row[8]), row[9], _known(row[10]),
         row[11])
        for row in result.seen
    ]  # fmt: skip
    return {"fills": fills, "orders": orders, "heard": heard, "seen": seen, "marks": marks}


def _event(value: Any) -> int:
    return int(value) if value < 0 else int(value) % 10**10


def _order(r: Any) -> dict[str, Any]:
    kind, joined = ORDER_TYPES[r[st.O_TYPE]], r[st.O_MARKER] >= 0
    arrived = _known(r[st.O_ARRIVED])
    return {
        "buy": int(r[st.O_SIDE]) == 0, "kind": kind, "tif": TIMES_IN_FORCE[r[st.O_TIF]],
        "price": _known(r[st.O_PRICE]), "size": int(r[st.O_SIZE]), "filled": int(r[st.O_FILLED]),
        "status": ORDER_STATUS[r[st.O_STATUS]], "reason": ORDER_REASONS[r[st.O_REASON]],
        "decided": int(r[st.O_DECIDED]), "arrived": arrived,
        "event": None if arrived is None else _event(r[st.O_EVENT]),
        "found": (_known(r[st.O_BID]), _known(r[st.O_ASK])),
        "seen": (_known(r[st.O_SEEN_BID]), _known(r[st.O_SEEN_ASK])),
        "ended": int(r[st.O_ENDED]) if r[st.O_STATUS] > st.RESTING else None,
        "entry": int(r[st.O_ENTRY_AHEAD]) if joined else None,
        "entry_orders": int(r[st.O_ENTRY_ORDERS]) if joined else None,
        "replaced": int(r[st.O_REPLACED]), "session": int(r[st.O_SESSION]),
        "trigger": int(r[st.O_STOP]) if kind in ("stop", "stop_limit") else None,
        "triggered": int(r[st.O_TRIGGERED]) if r[st.O_TRIGGERED] else None,
        "offset": int(r[st.O_OFFSET]) if kind == "pegged" else None,
        "post_only": bool(r[st.O_POST_ONLY]),
    }  # fmt: skip


def _word(row: tuple[int, ...], more: tuple[int, ...]) -> tuple[Any, ...]:
    now, kind, order, a, b, position, working, ahead = row
    cash, bid, ask, left, role, _ = more
    what = (a, b) if kind == 1 else (STATES[a], ORDER_REASONS[b])
    return (
        now, ("", "fill", "order", "reject")[kind], order, *what, position, working, ahead, cash,
        _known(bid), _known(ask), left, ROLES[role] if kind == 1 else None,
    )  # fmt: skip


def of_plain(simulator: Simulator) -> dict[str, list[Any]]:
    names = (
        "buy", "kind", "tif", "price", "size", "filled", "status", "reason", "decided", "arrived",
        "event", "found", "seen", "ended", "entry", "replaced", "session", "triggered", "post_only",
    )  # fmt: skip
    orders = []
    for own in simulator.venue.own:
        order = {name: getattr(own, name) for name in names}
        order["entry_orders"] = None if own.entry is None else own.entry_orders
        order["trigger"] = own.trigger if own.kind in ("stop", "stop_limit") else None
        order["offset"] = own.offset if own.kind == "pegged" else None
        orders.append(order)
    player = simulator.trader.strategy
    venue = simulator.venue
    return {
        "fills": venue.fills, "orders": orders, "heard": player.heard, "seen": player.seen,
        "marks": venue.marks,
    }  # fmt: skip
