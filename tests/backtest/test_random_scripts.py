"""Scripts of all kinds of orders in markets drawn at random: what must hold whatever happens."""

from __future__ import annotations

import random

import pytest

from pipeline.backtest import state as st
from strategies.layout import BUY, DAY, FOK, GTC, IOC, SELL
from tests.backtest.scenario import Session
from tests.backtest.scripted import (
    LIMIT,
    MARKET,
    PEGGED,
    STOP,
    STOP_LIMIT,
    Scripted,
    cancel,
    order,
    replace,
    run,
)
from tests.backtest.test_reference import Market

STEPS = 120


def script(rng: random.Random, end: int, n: int = 25) -> list[tuple[int, ...]]:
    rows: list[tuple[int, ...]] = []
    sent: list[int] = []
    for ts in sorted(rng.randint(1, max(2, end)) for _ in range(n)):
        kind = rng.choice([LIMIT, LIMIT, LIMIT, MARKET, STOP, STOP_LIMIT, PEGGED, "c", "r", "r"])
        price = 100 + rng.randint(-3, 4)
        if kind in ("c", "r") and sent:
            row = rng.choice(sent)
            peg = rows[row][1] == PEGGED
            new = rng.randint(0, 2) if peg else price
            size = rng.randint(1, 6)
            rows.append(cancel(ts, row) if kind == "c" else replace(ts, row, new, size))
            continue
        if kind in ("c", "r"):
            kind = LIMIT
        extra = rng.randint(0, 2) if kind == PEGGED else 100 + rng.randint(-3, 4)
        tif = rng.choice([DAY, DAY, GTC, IOC, FOK]) if kind in (LIMIT, STOP_LIMIT) else DAY
        post = kind == LIMIT and tif == DAY and rng.random() < 0.2
        sent.append(len(rows))
        side = rng.choice([BUY, SELL])
        rows.append(
            order(ts, kind, side, rng.randint(1, 6), price, extra=extra, tif=tif, post=post)
        )
    return rows


def draw(seed: int, steps: int = STEPS):
    rng = random.Random(seed)
    market = Market(seed, 1)
    for _ in range(steps):
        market.step()
    end = market.ts + 100
    times = {
        "latency": rng.choice([0, 1, 5, 40]),
        "response": rng.choice([0, 2, 9]),
        "feed": rng.choice([0, 3, 50]),
    }
    session = Session(-40, end, ((0, end),))
    return market.tape, script(rng, market.ts), {"sessions": [session], "until": end + 200, **times}


def everything(result: Scripted):
    return result.rows.fills.tolist(), result.rows.orders.tolist(), result.heard


@pytest.mark.parametrize("reading", ["exact", "optimistic", "pessimistic"])
def test_books_balance(reading):
    filled = set()
    for seed in range(150):
        tape, rows, options = draw(seed)
        result = run(tape, *rows, reading=reading, **options)
        fills, orders = result.rows.fills, result.rows.orders
        position = 0
        by_order: dict[int, int] = {}
        for fill, shown in zip(fills, result.fills, strict=True):
            position += shown.size
            assert position == fill[st.F_POSITION], seed
            number = int(fill[st.F_ORDER])
            by_order[number] = by_order.get(number, 0) + int(fill[st.F_SIZE])
            filled.add(shown.reason)
        for number, row in enumerate(orders):
            assert row[st.O_FILLED] == by_order.get(number, 0) <= row[st.O_SIZE], (seed, number)
            assert (row[st.O_STATUS] == st.FILLED) == (row[st.O_FILLED] == row[st.O_SIZE]), seed
        told = [h for h in result.heard if h[1] == 1]
        assert sum(h[3] for h in told) == position, seed
        assert [h[0] for h in result.heard] == sorted(h[0] for h in result.heard), seed
        if result.heard:
            # We know the truth in the end: what works is what still rests, orders GTC.
            alive = orders[:, st.O_STATUS] <= st.RESTING
            assert result.heard[-1][5:7] == (position, alive.sum()), seed
    assert {"took_depth", "worse_price"} <= filled


def test_chunks_change_nothing():
    for seed in range(40):
        tape, rows, options = draw(seed)
        whole = everything(run(tape, *rows, **options))
        assert everything(run(tape, *rows, **options, chunk=1 + seed % 23)) == whole, seed


def test_interpreted_is_compiled():
    for seed in range(6):
        tape, rows, options = draw(seed, 60)
        compiled = everything(run(tape, *rows, **options))
        assert everything(run(tape, *rows, **options, interpret=True)) == compiled, seed


def test_what_is_cut_off_changes_nothing_before():
    for seed in range(40):
        tape, rows, options = draw(seed)
        whole = run(tape, *rows, **options)
        cut = random.Random(seed).randint(20, len(tape.rows) - 1)
        time = min(min(row[:2]) for row in tape.rows[cut:])
        del tape.rows[cut:]
        part = run(tape, *rows, **{**options, "until": time})
        before = [f for f in whole.rows.fills.tolist() if f[st.F_TS] < time]
        known = [h for h in whole.heard if h[0] < time]

        columns = slice(0, st.F_MARK)  # later mids are not there yet
        kept = [f[columns] for f in part.rows.fills.tolist() if f[st.F_TS] < time]
        assert kept == [f[columns] for f in before], seed
        assert [h for h in part.heard if h[0] < time] == known, seed
