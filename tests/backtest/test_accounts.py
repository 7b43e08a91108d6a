"""Money of simulated runs: exact at every mark, whatever the orders, prices and multipliers."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
from hypothesis import Phase, given, settings
from hypothesis import strategies as hyp

from pipeline.backtest.accounts import MARK_KINDS, Account, Contract
from pipeline.backtest.curve import SymbolRows
from pipeline.backtest.metrics import figures
from pipeline.backtest.options import Limits, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.backtest.tables import ORDER_TYPES, TIMES_IN_FORCE
from pipeline.book.columns import take
from strategies.layout import BUY, DAY, FOK, GTC, IOC, SELL
from tests.backtest.scenario import RULE, Decision, Session, Tape, decisions_array
from tests.backtest.scripted import (
    CANCEL,
    LIMIT,
    MARKET,
    PEGGED,
    REPLACE,
    STOP,
    STOP_LIMIT,
    cancel,
    order,
    replace,
    run,
)
from tests.backtest.test_reference import Market

ONE = 10**9
DAYS = (date(2025, 6, 2), date(2025, 6, 3))
FEES = {"maker": 310_000_000, "taker": 1_380_000_001, "auction": -200_000_000}
"""A contract, 1e-9; an auction pays us."""
DRAWN = (Phase.explicit, Phase.reuse, Phase.generate)
"""A smaller seed is no simpler market: nothing to shrink."""
MULTIPLIERS = {"ES": Fraction(50), "CL": Fraction(2001, 2), "ODD": Fraction(1, 7)}


def market(seed: int) -> tuple[Tape, list[Session], list[list[Decision]], SimOptions]:
    """Some 400 records a few seconds apart, in two sessions, with targets thrown at them."""
    rng = random.Random(seed)
    drawn = Market(seed, ONE)
    for _ in range(30):
        drawn.add()
    while len(drawn.tape.rows) < 400:
        drawn.step()
        if rng.random() < 0.05:
            drawn.auction()
    half = max(drawn.ts // 2, 200 * ONE)
    end = max(drawn.ts + rng.choice([-40, 10, 200]) * ONE, half + 200 * ONE)
    sessions = [
        Session(-240 * ONE, half, ((-200 * ONE, half),)),
        Session(half + 5 * ONE, end, ((half + 20 * ONE, end),)),
    ]
    decisions: list[list[Decision]] = [[], []]
    ts = 0
    for i in range(rng.randint(5, 60)):
        ts += rng.randint(0, 60) * ONE
        target = rng.choice([None, -4, -2, -1, 0, 1, 2, 5])
        bid, ask = rng.choice([None, 99, 100, 100]), rng.choice([None, 101, 101, 102])
        decisions[ts > half].append(Decision(ts, target, bid, ask, min(i * 5, 200)))
    options = SimOptions(
        reading=rng.choice(["exact", "exact", "optimistic", "pessimistic"]),
        entry_latency=rng.choice([0, 1, 5 * ONE]),
        response_latency=rng.choice([0, 2, 9 * ONE]),
        passive=rng.random() < 0.7,
        patience=rng.choice([10, 50]) * ONE,
    )
    return drawn.tape, sessions, decisions, options


def simulate(seed: int, symbol: str, chunk: int = 10**9) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Rows of orders, fills and equity of a run; booked after every ``chunk`` records."""
    tape, sessions, decisions, options = market(seed)
    rows = [decisions_array(own) for own in decisions]
    flatten = 60 * ONE if seed % 2 else None
    replay = Replay(options, timetable(sessions, flatten), RULE, lambda n: rows[n])
    replay.start_day(19700101)
    account = account_of(symbol, options.reading)
    whole = tape.chunk()
    tables = []
    for start in range(0, len(tape.rows), chunk):
        replay.feed(take(whole, slice(start, start + chunk)))
        tables.append(account.take(replay.take()))
    replay.finish(sessions[-1].close_ns)
    tables.append(account.take(replay.take(last=True)))
    orders, fills, equity = (pa.concat_tables(kind) for kind in zip(*tables, strict=True))
    return orders, fills, equity


def account_of(symbol: str, reading: str) -> Account:
    contract = Contract(symbol, symbol, MULTIPLIERS[symbol], ONE // 4, "USD")
    return Account(reading, contract, lambda role, session: FEES[role], DAYS)


def scripted(seed: int, symbol: str) -> list[list[dict[str, Any]]]:
    """Orders, fills and equity of an event strategy that sends whatever the dice say."""
    rng = random.Random(seed)
    tape, sessions, _, options = market(seed)
    end = sessions[-1].close_ns
    times = sorted(rng.randrange(0, end) for _ in range(rng.randint(10, 60)))
    rows = [any_order(rng, ts, i) for i, ts in enumerate(times)]
    limits = Limits(run_loss=rng.choice([None, 20 * ONE]), position=rng.choice([None, 6]))
    result = run(
        tape, *rows, reading=options.reading, latency=options.entry_latency,
        response=options.response_latency, sessions=sessions, limits=limits,
        flatten_before=rng.choice([None, 60 * ONE]), until=end,
    )  # fmt: skip
    tables = account_of(symbol, options.reading).take(result.rows)
    return [table.to_pylist() for table in tables]


def any_order(rng: random.Random, ts: int, i: int) -> tuple[int, ...]:
    kind = rng.choice([LIMIT, LIMIT, LIMIT, MARKET, STOP, STOP_LIMIT, PEGGED, CANCEL, REPLACE])
    if i and kind == CANCEL:
        return cancel(ts, rng.randrange(i))
    if i and kind == REPLACE:
        return replace(ts, rng.randrange(i), rng.randint(97, 104), rng.randint(1, 6))
    kind = LIMIT if kind in (CANCEL, REPLACE) else kind
    extra = rng.randint(98, 103) if kind in (STOP, STOP_LIMIT) else rng.choice([0, 1])
    tif = rng.choice([DAY, DAY, GTC, IOC, FOK])
    post = rng.random() < 0.2
    side, size, price = rng.choice([BUY, SELL]), rng.randint(1, 6), rng.randint(97, 104)
    return order(ts, kind, side, size, price, extra=extra, tif=tif, post=post)


def units(value: Decimal) -> int:
    exact = Fraction(value) * ONE
    assert exact.denominator == 1
    return exact.numerator


def signed(fill: dict[str, Any]) -> int:
    return fill["size"] if fill["side"] == "B" else -fill["size"]


def first_in_first_out(fills: list[dict[str, Any]]) -> int:
    """Gross profit in ticks of 1e-9, contract by contract."""
    lots: list[int] = []
    side = profit = 0
    for fill in fills:
        own = 1 if signed(fill) > 0 else -1
        for _ in range(fill["size"]):
            if not lots or side == own:
                side = own
                lots.append(fill["price"])
            else:
                profit += (fill["price"] - lots.pop(0)) * side
    return profit


def check_books(symbol: str, fills: list[dict[str, Any]], equity: list[dict[str, Any]]) -> None:
    """Every mark against sums over the fills before it."""
    multiplier = MULTIPLIERS[symbol]
    mid = None
    for mark in equity:
        before = [fill for fill in fills if fill["ts"] <= mark["ts"]]
        if mark["kind"] == "kill_switch":  # what it flattens at once comes after it
            while (
                before
                and before[-1]["ts"] == mark["ts"]
                and mark["position"] != sum(map(signed, before))
            ):
                before.pop()
        position = sum(map(signed, before))
        cash = -sum(round(multiplier * f["price"] * signed(f)) for f in before)
        fees = sum(FEES[f["role"]] * f["size"] for f in before)
        mid = mark["mark_2x"] or mid or (2 * before[0]["price"] if before else 0)
        value = round(multiplier * mid * position / 2)
        assert mark["position"] == position
        assert units(mark["cash"]) == cash
        assert units(mark["fees"]) == fees
        assert units(mark["value"]) == value
        assert units(mark["equity"]) == cash + value - fees
        assert units(mark["realised"]) == sum(units(f["realised"]) for f in before)
        assert mark["equity"] == mark["realised"] + mark["unrealised"] - mark["fees"]
        if position == 0:
            assert units(mark["realised"]) == cash
        if multiplier.denominator == 1:
            assert units(mark["realised"]) == first_in_first_out(before) * multiplier


def check_orders(orders: list[dict[str, Any]], fills: list[dict[str, Any]]) -> None:
    """Partial fills of each order add up to what it says."""
    for sent in orders:
        own = [f for f in fills if f["order"] == sent["order"]]
        assert sent["filled"] == sum(f["size"] for f in own) <= sent["size"]
        assert all(f["side"] == sent["side"] for f in own)


@given(hyp.integers(0, 10**6), hyp.sampled_from(sorted(MULTIPLIERS)), hyp.integers(1, 120))
@settings(max_examples=15, deadline=None, phases=DRAWN)
def test_books_balance_at_every_mark(seed, symbol, chunk):
    orders, fills, equity = (table.to_pylist() for table in simulate(seed, symbol, chunk))

    assert len(equity) > 5
    check_books(symbol, fills, equity)
    assert [f["position"] for f in fills] == [
        sum(map(signed, fills[: i + 1])) for i in range(len(fills))
    ]
    check_orders(orders, fills)
    assert all(units(f["fee"]) == FEES[f["role"]] * f["size"] for f in fills)


@given(hyp.integers(0, 10**6), hyp.sampled_from(sorted(MULTIPLIERS)))
@settings(max_examples=12, deadline=None, phases=DRAWN)
def test_books_balance_under_orders_of_every_type(seed, symbol):
    orders, fills, equity = scripted(seed, symbol)

    check_books(symbol, fills, equity)
    check_orders(orders, fills)


def test_dice_meet_every_type_and_the_kill_switch():
    filled, kinds = set(), set()
    for seed in range(30):
        orders, _, equity = scripted(seed, "ES")
        filled |= {(o["type"], o["tif"]) for o in orders if o["filled"]}
        kinds |= {mark["kind"] for mark in equity}

    assert {kind for kind, _ in filled} == set(ORDER_TYPES)
    assert {tif for _, tif in filled} == set(TIMES_IN_FORCE)
    assert kinds == set(MARK_KINDS)


@given(hyp.integers(0, 10**6), hyp.integers(1, 60))
@settings(max_examples=6, deadline=None, phases=DRAWN)
def test_rows_do_not_depend_on_when_they_are_booked(seed, chunk):
    assert simulate(seed, "ES", chunk) == simulate(seed, "ES")


@given(hyp.lists(hyp.integers(0, 10**6), min_size=2, max_size=3))
@settings(max_examples=8, deadline=None, phases=DRAWN)
def test_several_instruments_add_up_to_one_ledger(seeds):
    runs = dict(zip(MULTIPLIERS, seeds, strict=False))
    parts, fills, equity = [], {}, {}
    for symbol, seed in runs.items():
        tables = simulate(seed, symbol)
        contract = Contract(symbol, symbol, MULTIPLIERS[symbol], ONE // 4, "USD")
        parts.append(SymbolRows(contract, *tables))
        fills[symbol], equity[symbol] = (table.to_pylist() for table in tables[1:])

    found = figures(parts, "USD", 100_000 * ONE)

    def total(column: str) -> int:
        return sum(units(rows[-1][column]) for rows in equity.values())

    run = found.run
    assert (run["net"], run["fees"]) == (total("equity"), total("fees"))
    assert (run["realised"], run["unrealised"]) == (total("realised"), total("unrealised"))
    assert run["net"] == total("cash") + total("value") - total("fees")
    assert run["contracts"] == sum(f["size"] for rows in fills.values() for f in rows)
    for split in ("session", "hour", "symbol", "direction"):
        rows = [row for row in found.parts if row["split"] == split]
        assert sum(row["net"] for row in rows) == run["net"]
        assert sum(row["gross"] for row in rows) == run["gross"]
    for row in found.parts:
        if row["split"] == "symbol":
            assert row["net"] == units(equity[row["part"]][-1]["equity"])


def test_draws_meet_what_books_must_survive():
    met = dict.fromkeys(("reversal", "partial", "overnight", "short", "no mid", *FEES), 0)
    for seed in range(30):
        orders, fills, equity = (table.to_pylist() for table in simulate(seed, "ES"))
        for before, fill in zip([{"position": 0}, *fills], fills, strict=False):
            met["reversal"] += before["position"] * fill["position"] < 0
            met["short"] += fill["position"] < 0
            met[fill["role"]] += 1
        met["partial"] += sum(0 < o["filled"] < o["size"] for o in orders)
        ends = [mark for mark in equity if mark["kind"] == "session_end"]
        met["overnight"] += ends[0]["position"] != 0
        met["no mid"] += any(mark["mark_2x"] is None for mark in equity)

    assert [name for name, count in met.items() if not count] == []
