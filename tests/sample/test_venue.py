"""The venue's arrays stay consistent, and its hours are those of CME index futures."""

from __future__ import annotations

from collections import Counter
from datetime import date, time, timedelta
from itertools import pairwise

import numpy as np
import pytest

from pipeline.errors import RequestError
from pipeline.sample import state as s
from pipeline.sample.instruments import INSTRUMENTS, fill_market
from pipeline.sample.phases import auction, publish_whole, run_pre_open, seed_orders
from pipeline.sample.schedule import (
    QUIET_NS,
    Kind,
    segments,
    session_dates,
    utc_midnight,
    utc_ns,
)
from pipeline.sample.trading import run

NS = 10**9


def check(market: s.Market) -> None:
    """Levels are what their queues hold; touches and counts are right."""
    orders = market.orders[: market.clock[s.USED]]
    live = orders[orders[:, s.OWNER] == 1]
    for i in range(len(market.inst)):
        own = live[live[:, s.INST] == i]
        assert len(own) == market.inst[i, s.N_ORDERS]
        assert (own[:, s.SIZE] > 0).all()
        for side in (0, 1):
            mine = own[own[:, s.SIDE] == side]
            levels = market.levels[i, side]
            count = Counter(mine[:, s.PLACE].tolist())
            assert {p: int(levels[p, s.COUNT]) for p in np.flatnonzero(levels[:, s.COUNT])} == count
            assert market.inst[i, s.LEVELS_BID + side] == len(count)
            best = (max if side == 0 else min)(count, default=s.LADDER if side else -1)
            assert market.inst[i, s.BEST_BID + side] == best
            for place in count:
                slot, rank, total = int(levels[place, s.HEAD]), -1, 0
                while slot >= 0:
                    order = market.orders[slot]
                    assert order[s.RANK] > rank
                    rank, total = int(order[s.RANK]), total + int(order[s.SIZE])
                    slot = int(order[s.NEXT])
                assert total == levels[place, s.TOTAL]


def trade_out(market: s.Market, null: bool) -> None:
    while market.clock[s.QUOTA] > 0:
        end = int(market.clock[s.NOW]) + 3_600 * NS
        while not run(market, end, null):
            market.clock[[s.N_MBO, s.N_MBP]] = 0
        market.clock[[s.N_MBO, s.N_MBP]] = 0


@pytest.mark.parametrize("null", [False, True])
def test_the_book_is_consistent_after_every_phase(null: bool) -> None:
    market = s.new_market(len(INSTRUMENTS), seed=11)
    fill_market(market, INSTRUMENTS)
    for i in range(len(INSTRUMENTS)):
        seed_orders(market, i, 300)
        publish_whole(market, i)
    check(market)
    market.clock[s.QUOTA] = 3_000
    assert run_pre_open(market, 900 * NS, True)
    check(market)
    assert market.inst[0, s.BEST_BID] > market.inst[0, s.BEST_ASK]
    for i in range(len(INSTRUMENTS)):
        auction(market, i, 900 * NS, null)
        assert market.inst[i, s.BEST_BID] < market.inst[i, s.BEST_ASK]
    check(market)
    market.clock[[s.N_MBO, s.N_MBP]] = 0
    market.clock[s.QUOTA] = 60_000
    trade_out(market, null)
    check(market)


def test_auction_takes_the_price_of_most_volume() -> None:
    market = s.new_market(1, seed=5)
    fill_market(market, INSTRUMENTS[:1])
    seed_orders(market, 0, 50)
    market.clock[s.QUOTA] = 400
    run_pre_open(market, 900 * NS, True)
    size = market.levels[0, :, :, s.TOTAL]
    volume = np.minimum(size[0][::-1].cumsum()[::-1], size[1].cumsum())
    market.clock[[s.N_MBO, s.N_MBP]] = 0
    auction(market, 0, 900 * NS, False)
    trade = market.mbo[0]
    place = int(trade[3]) // int(market.inst[0, s.TICK]) - int(market.inst[0, s.BASE])
    assert int(trade[4]) & 0xFFFF_FFFF == volume.max() == volume[place]


def test_sessions_are_weekdays_from_the_first_monday() -> None:
    dates = session_dates(6)
    assert dates[0] == date(2025, 6, 2)
    assert dates[-1] == date(2025, 6, 9)
    with pytest.raises(RequestError, match="1 to 13"):
        session_dates(14)


def test_a_session_runs_from_five_in_the_evening_to_four_in_chicago() -> None:
    for session in session_dates(13):
        plan = [one for one in segments(13) if one.session == session]
        opened = next(one for one in plan if one.kind is Kind.OPEN)
        closed = next(one for one in plan if one.kind is Kind.CLOSE)
        # Chicago is five hours behind UTC in June.
        assert opened.begin == utc_midnight(session) - 2 * 3_600 * NS
        assert closed.begin == utc_midnight(session) + 21 * 3_600 * NS
        trading = [one for one in plan if one.kind is Kind.TRADING]
        assert trading[0].begin == opened.begin
        assert trading[-1].end == closed.begin
        for one, following in pairwise(trading):
            assert 0 <= following.begin - one.end <= QUIET_NS


def test_no_segment_crosses_a_utc_midnight_and_all_are_in_order() -> None:
    at = 0
    for one in segments(13):
        assert utc_midnight(one.day) <= one.begin <= one.end
        assert one.end <= utc_midnight(one.day + timedelta(days=1))
        assert one.begin >= at
        at = one.end


def test_daylight_saving_is_right() -> None:
    summer, winter = date(2025, 6, 2), date(2025, 1, 6)
    assert utc_ns(summer, time(17)) - utc_midnight(summer) == 22 * 3_600 * NS
    assert utc_ns(winter, time(17)) - utc_midnight(winter) == 23 * 3_600 * NS
