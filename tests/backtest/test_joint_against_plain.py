"""Instruments traded together, against the plain simulator: all that is done and heard."""

from __future__ import annotations

import random
from dataclasses import replace as but
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from pipeline.backtest.options import Limits, Money
from pipeline.units import F_LAST, F_SNAPSHOT, PRICE_SCALE
from tests.backtest.both import TICK
from tests.backtest.scripted import CANCEL, REPLACE
from tests.backtest.scripted_joint import JointCase, compiled, plain
from tests.backtest.test_against_plain import command
from tests.backtest.test_against_plain import draw as draw_one


def draw(seed: int, steps: int = 60, commands: int = 22, instruments: int | None = None):
    """Instruments with markets, sessions and settings of their own, and one script."""
    rng = random.Random(seed)
    n = instruments or rng.choice([1, 2, 2, 3])
    reading = rng.choice(["exact", "exact", "optimistic", "pessimistic"])
    cases = []
    limits = draw_limits(rng)
    currencies = tuple(rng.choice(["USD", "USD", "EUR"]) for _ in range(n))
    for k in range(n):
        case = draw_one(7 * seed + k, steps + rng.randint(0, 40), 0)
        tick = rng.choice([TICK, TICK, PRICE_SCALE // 2])
        fees = (tick // 4, tick // 2, 0)
        money = Money(tick, Fraction(rng.choice([1, 5, 50]), rng.choice([1, 1, 4])), (fees, fees))
        cases.append(but(case, reading=reading, money=money, limits=limits))
    latest = max(case.tape.rows[-1][1] for case in cases)
    own: list[list[int]] = [[] for _ in range(n)]
    whole: list[tuple[int, ...]] = []
    for ts in sorted(rng.randint(1, max(2, latest)) for _ in range(commands)):
        to = rng.randrange(n)
        row = command(rng, ts, whole, own[to])
        whole.append(row)
    where = _receivers(rng, whole, own)
    rows = [(*row, rng.randrange(n), to) for row, to in zip(whole, where, strict=True)]
    changes = []
    for case in cases:
        flags = [row[5] for row in case.tape.rows]
        ends = [k + 1 for k, f in enumerate(flags[:-1]) if f & F_LAST and not f & F_SNAPSHOT]
        changes.append(tuple(sorted(rng.sample(ends, min(len(ends), rng.choice([0, 0, 1, 2]))))))
    hedge, cut = rng.random() < 0.5, rng.choice([10**9, 1, 17])
    return JointCase(cases, rows, hedge, changes, cut, currencies)


def draw_limits(rng):
    """Limits of the run, tight enough to be reached now and then."""
    if rng.random() < 0.4:
        return Limits()
    return Limits(
        order_size=rng.choice([None, None, 4]),
        position=rng.choice([None, None, 5]),
        orders_per_second=rng.choice([None, None, 12]),
        session_loss=rng.choice([None, 3 * PRICE_SCALE + 7, 20 * PRICE_SCALE + 7]),
        run_loss=rng.choice([None, 5 * PRICE_SCALE + 7, 30 * PRICE_SCALE + 7]),
    )


def _receivers(rng, whole, own):
    """Orders go where they were drawn for; cancels and replacements mostly to their order's."""
    where = [rng.randrange(len(own)) for _ in whole]
    for to, sent in enumerate(own):
        for k in sent:
            where[k] = to
    for k, row in enumerate(whole):
        if row[1] in (CANCEL, REPLACE):
            of = row[4] if row[1] == CANCEL else row[5]
            where[k] = where[of]
    return where


def check(joint: JointCase):
    """Both agree in everything; what they say."""
    expected, words = plain(joint)
    got, heard = compiled(joint)
    for mine, theirs in zip(got, expected, strict=True):
        for name in ("orders", "fills", "marks"):
            assert mine[name] == theirs[name], name
    assert heard == words
    times = [word[0] for word in heard]
    assert times == sorted(times)
    return got, heard


@settings(max_examples=40, deadline=None, derandomize=True)
@given(some.integers(0, 2**32 - 1), some.integers(5, 60), some.integers(1, 30))
def test_both_agree(seed, steps, commands):
    check(draw(seed, steps, commands))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(8))
def test_both_agree_in_thousands_of_markets(block):
    reasons, fills, ties, kills = set(), 0, 0, 0
    for seed in range(block * 150, block * 150 + 150):
        got, heard = check(draw(seed))
        reasons |= {order["reason"] for one in got for order in one["orders"]}
        fills += sum(len(one["fills"]) for one in got)
        kills += sum("kill" in str(one["marks"]) for one in got)
        ties += sum(a[0] == b[0] and a[1] != b[1] for a, b in pairwise(heard))
    assert reasons > {"book_cleared", "closed", "session_end", "end_of_data", "flattening"}
    assert fills > 500
    assert kills > 50
    assert ties > 500
