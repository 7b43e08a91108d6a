"""What holds in any market, whatever is sent: queues, what an event can fill, the readings."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace as but
from itertools import pairwise

from pipeline.backtest import state as st
from pipeline.units import F_LAST, F_SNAPSHOT
from strategies.layout import BUY, GTC, SELL
from tests.backtest.both import compiled, of_compiled
from tests.backtest.scripted import LIMIT, order
from tests.backtest.test_against_plain import READINGS, draw


def test_what_is_ahead_never_grows_while_an_order_stands():
    shrunk = 0
    for seed in range(12):
        case = draw(seed)
        flags = [row[5] for row in case.tape.rows]
        seen: list[dict[tuple[int, ...], int]] = [{}]

        def look(replay, seen=seen):
            own = replay.sim.own[: replay.sim.meta[st.N_OWN]]
            rests = (own[:, st.O_STATUS] == st.RESTING) & (own[:, st.O_MARKER] >= 0)
            seen.append(
                {
                    (row, *own[row, [st.O_MARKER, st.O_REPLACED]].tolist()): int(
                        own[row, st.O_AHEAD]
                    )
                    for row in rests.nonzero()[0].tolist()
                }
            )

        compiled(case, chunk=1, after=look)
        for k, (before, now) in enumerate(pairwise(seen)):
            if (flags[k] | flags[max(k - 1, 0)]) & F_SNAPSHOT:
                continue  # says anew how large orders are
            for key in now.keys() & before.keys():
                assert now[key] <= before[key], (seed, key)
                shrunk += now[key] < before[key]
    assert shrunk > 30


def test_an_event_fills_no_more_than_it_executed_or_left_resting():
    reasons = Counter()
    for seed in range(120):
        case = draw(seed)
        got = of_compiled(compiled(case))
        filled, auctioned, rested = Counter(), Counter(), Counter()
        for fill in got["fills"]:
            size, reason = abs(fill["size"]), fill["reason"]
            reasons[reason] += size
            if reason in ("behind", "worse_price", "nothing_ahead"):
                filled[fill["record"]] += size
            elif reason.startswith("auction"):
                auctioned[fill["ts"], fill["size"] > 0] += size
            elif reason == "came_to_rest":
                rested[fill["record"], fill["size"] > 0] += size
        rows = case.tape.rows
        for record, size in filled.items():
            assert chr(rows[record][6]) == "F", seed
            assert size <= rows[record][4], seed
        for (ts, _), size in auctioned.items():
            printed = [r[4] for r in rows if r[1] == ts and (chr(r[6]), chr(r[7])) == ("T", "N")]
            assert size <= sum(printed), seed
        for (record, bought), size in rested.items():
            first = record
            while first and not rows[first - 1][5] & F_LAST:
                first -= 1
            side = "A" if bought else "B"
            of_event = rows[first : record + 1]
            came = [r[4] for r in of_event if chr(r[6]) in "AM" and chr(r[7]) == side]
            assert size <= sum(came), seed
    assert min(reasons[r] for r in ("behind", "worse_price", "auction", "came_to_rest")) > 10


def test_readings_fill_an_order_in_their_order():
    """The same order that only waits: optimistic is never behind exact, exact never behind
    pessimistic.
    """
    apart = 0
    for seed in range(120):
        rng = random.Random(seed)
        side = rng.choice([BUY, SELL])
        price = (100 if side == BUY else 101) - side * rng.choice([0, 0, 1, 2])
        row = order(rng.randint(1, 60), LIMIT, side, rng.randint(1, 9), price, tif=GTC, post=True)
        case = but(draw(seed), rows=[row], jitter=(0, 0, 0), flatten_before=None)
        sums = {}
        for reading in READINGS:
            fills = of_compiled(compiled(but(case, reading=reading)))["fills"]
            sums[reading] = [(f["ts"], abs(f["size"])) for f in fills]

        for ts in {ts for fills in sums.values() for ts, _ in fills}:
            exact, optimistic, pessimistic = (
                sum(size for at, size in sums[reading] if at <= ts) for reading in READINGS
            )
            assert optimistic >= exact >= pessimistic, (seed, ts)
            apart += optimistic > exact > pessimistic
    assert apart > 5
