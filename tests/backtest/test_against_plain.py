"""The compiled simulator against the plain one: any commands, any market, done and heard alike."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pipeline.backtest.options import Limits, Money
from pipeline.backtest.tables import FILL_REASONS, ORDER_REASONS
from pipeline.units import PRICE_SCALE
from strategies.layout import BUY, DAY, FOK, GTC, IOC, SELL
from tests.backtest.both import TICK, Case, compiled, of_compiled, of_plain, plain
from tests.backtest.scenario import Session
from tests.backtest.scripted import (
    CANCEL_ALL,
    LIMIT,
    MARKET,
    PEGGED,
    STOP,
    STOP_LIMIT,
    cancel,
    order,
    replace,
)
from tests.backtest.test_reference import Market

READINGS = ("exact", "optimistic", "pessimistic")


def command(rng: random.Random, ts: int, rows: list[tuple[int, ...]], sent: list[int]):
    """Any command; a few make no sense."""
    kind = rng.choices(
        [LIMIT, MARKET, STOP, STOP_LIMIT, PEGGED, "cancel", "replace", CANCEL_ALL],
        [36, 8, 8, 8, 10, 10, 18, 1],
    )[0]
    side = rng.choice([BUY, SELL])
    near = 100 + rng.randint(-3, 4) + rng.choice([0, 0, 0, 0.5])
    if rng.random() < 0.6:  # where it can rest
        near = (100 if side == BUY else 101) - side * rng.choice([0, 0, 1, 2])
    size = rng.choice([1, 1, 2, 3, 4, 6, 9])
    odd = rng.random() < 0.02
    if kind == CANCEL_ALL:
        return ts, CANCEL_ALL, 0, 0, 0, 0, 0, 0
    if kind in ("cancel", "replace"):
        row = rng.choice(sent) if sent else 0
        if kind == "cancel":
            return cancel(ts, row)
        peg = bool(sent) and rows[row][1] == PEGGED
        return replace(ts, row, rng.randint(-odd, 2) if peg else near, 0 if odd else size)
    sent.append(len(rows))
    extra = rng.randint(-odd, 2) if kind == PEGGED else 100 + rng.randint(-3, 4)
    price = near + (0.1 if odd else 0)
    tif = DAY if kind == MARKET else rng.choice([DAY, DAY, GTC])
    if kind in (LIMIT, STOP_LIMIT) and rng.random() < 0.3:
        tif = rng.choice([IOC, FOK])
    post = kind == LIMIT and tif in (DAY, GTC) and rng.random() < 0.25
    return order(ts, kind, side, size, price, extra=extra, tif=tif, post=post)


def sessions_of(rng: random.Random, end: int) -> list[Session]:
    """One session, with a break in it, or two with a night between."""
    kind = rng.random()
    if kind < 0.6 or end < 80:
        return [Session(-40, end, ((rng.choice([0, 0, end // 5]), end),))]
    a, b = end * 2 // 5, end * 3 // 5
    if kind < 0.8:
        b = a if kind < 0.65 else b
        return [Session(-40, end, ((0, a), (b, end)), announced=end + rng.choice([0, 30]))]
    return [Session(-40, a, ((0, a),)), Session(b - 10, end, ((b, end),))]


def draw(seed: int, steps: int = 110, commands: int = 22) -> Case:
    """A market, a script, and how things are set."""
    rng = random.Random(seed)
    market = Market(seed, 1, refills=True)
    if rng.random() < 0.08:
        market.tape.rows.clear()  # nothing says that the book is known
    if rng.random() < 0.2:
        market.weights = {**market.weights, "snapshot": 6, "auction": 5}
    for _ in range(12):
        market.add()
    for _ in range(steps):
        market.step()
    end = market.ts + rng.choice([100, 100, -60])
    end = max(end, 60)
    rows: list[tuple[int, ...]] = []
    sent: list[int] = []
    for ts in sorted(rng.randint(1, max(2, market.ts)) for _ in range(commands)):
        rows.append(command(rng, ts, rows, sent))
    jitter = rng.choice([0, 0, 0, 4 * 10**8])
    limits = Limits()
    if rng.random() < 0.3:
        limits = Limits(
            order_size=rng.choice([None, 4]),
            position=rng.choice([None, 5]),
            orders_per_second=rng.choice([None, 12]),
            session_loss=rng.choice([None, 3 * PRICE_SCALE + 7, 20 * PRICE_SCALE + 7]),
            run_loss=rng.choice([None, 5 * PRICE_SCALE + 7]),
        )
    fees = (TICK // 4, TICK // 2, 0)
    table = None
    if rng.random() < 0.1:
        rows_of = [[t, rng.randint(0, 9), rng.randint(0, 9), rng.randint(0, 9)]
                   for t in range(-60, end, 50)]  # fmt: skip
        table = np.array(rows_of, np.int64)
    return Case(
        market.tape,
        rows,
        sessions_of(rng, end),
        rng.choice([end + 200, end + 200, None]),
        rng.choice(READINGS),
        rng.choice([0, 1, 5, 40]),
        rng.choice([0, 2, 9, 30]),
        rng.choice([0, 3, 50]),
        (jitter, jitter, jitter),
        table,
        seed + 1,
        rng.choice([None, None, 40]),
        limits,
        Money(tick=TICK, fees=(fees, fees)),
        rng.choice([-1, 30]),
    )


def check(case: Case, chunk: int | None = None) -> dict[str, list[Any]]:
    """Both agree in everything; what they say."""
    expected, got = of_plain(plain(case)), of_compiled(compiled(case, chunk=chunk))
    for name in ("orders", "fills", "heard", "seen", "marks"):
        assert got[name] == expected[name], name
    check_accounts(got)
    return got


def check_accounts(got: dict[str, list[Any]]) -> None:
    """Every word of a fill: position and cash are the sums of the fills heard of."""
    position = cash = 0
    words = [word for word in got["heard"] if word[1] == "fill"]
    for word, fill in zip(words, got["fills"], strict=False):
        position += fill["size"]
        cash -= fill["size"] * fill["price"]
        assert (word[2], word[5], word[8]) == (fill["order"], position, cash)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    some.integers(0, 2**32 - 1), some.integers(5, 130), some.integers(1, 30),
    some.sampled_from([None, 1, 7, 23]),
)  # fmt: skip
def test_both_agree(seed, steps, commands, chunk):
    check(draw(seed, steps, commands), chunk)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_both_agree_in_thousands_of_markets(block):
    ends, reasons = set(), set()
    for seed in range(block * 300, block * 300 + 300):
        said = check(draw(seed), (None, 1, 7, 23)[seed % 4])
        ends |= {order["reason"] for order in said["orders"]}
        reasons |= {fill["reason"] for fill in said["fills"]}

    # A cancel's reason ends no order.
    assert ends >= set(ORDER_REASONS) - {"too_late"}
    assert reasons == set(FILL_REASONS)
