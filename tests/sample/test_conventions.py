"""Every convention of real records occurs in the sample, and only in its right form."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.sample.conftest import IDS, Sample
from tests.sample.replay import LAST, SNAPSHOT, Book, events, patterns


@pytest.fixture(scope="module")
def live(sample: Sample) -> np.ndarray:
    mbo = sample.of("SIMM5")
    return mbo[(mbo["flags"] & SNAPSHOT) == 0]


@pytest.fixture(scope="module")
def by_event(live: np.ndarray) -> list[np.ndarray]:
    return list(events(live))


def sides(event: np.ndarray, action: bytes) -> set[bytes]:
    return set(event["side"][event["action"] == action].tolist())


@pytest.mark.parametrize(
    "pattern", ["A", "C", "M", "TFC", "TFM", "TFFCC", "TFAC", "TFCA", "CA", "TN"]
)
def test_the_event_patterns_of_real_files_occur(live: np.ndarray, pattern: str) -> None:
    assert patterns(live).get(pattern, 0) > 0


def test_flags_are_last_or_nothing_outside_snapshots(live: np.ndarray) -> None:
    assert set(live["flags"].tolist()) == {0, LAST}


def test_t_names_the_aggressor_and_f_the_resting_side(by_event: list[np.ndarray]) -> None:
    simple = [event for event in by_event if event["action"].tolist()[:3] == [b"T", b"F", b"C"]]
    assert simple
    for event in simple:
        trade, fill, gone = event[:3]
        assert trade["side"] in (b"B", b"A")
        assert fill["side"] == gone["side"] != trade["side"]
        assert trade["size"] == fill["size"]
        assert trade["price"] == fill["price"] == gone["price"]
        assert fill["order_id"] == gone["order_id"] != trade["order_id"] > 0


def test_prints_and_fills_agree_in_every_event(by_event: list[np.ndarray]) -> None:
    for event in by_event:
        trade = event[event["action"] == b"T"]
        fill = event[event["action"] == b"F"]
        if not len(fill):
            continue
        for side, other in ((b"B", b"A"), (b"A", b"B")):
            printed = trade["size"][trade["side"] == side].sum()
            assert fill["size"][fill["side"] == other].sum() in (printed, 0) or printed == 0


def test_sweeps_go_through_three_levels_and_more(by_event: list[np.ndarray]) -> None:
    levels = [
        len(np.unique(event["price"][event["action"] == b"T"]))
        for event in by_event
        if sides(event, b"T") in ({b"A"}, {b"B"})
    ]
    assert max(levels) >= 3
    assert sum(n >= 2 for n in levels) > 10


def test_some_sweeps_settle_each_level_before_the_next_print(
    by_event: list[np.ndarray],
) -> None:
    names = [b"".join(event["action"].tolist()) for event in by_event]
    assert any(b"CT" in name or b"MT" in name for name in names)


def test_two_aggressors_may_share_an_event(by_event: list[np.ndarray]) -> None:
    aggressors = [
        len(set(event["order_id"][event["action"] == b"T"].tolist())) for event in by_event
    ]
    assert max(aggressors) == 2


def test_the_opening_auction_prints_side_n_and_fills_both_sides(sample: Sample) -> None:
    for symbol in IDS:
        mbo = sample.of(symbol)
        auctions = [
            event for event in events(mbo[(mbo["flags"] & SNAPSHOT) == 0])
            if sides(event, b"T") == {b"N"}
        ]  # fmt: skip
        assert len(auctions) == 1, symbol
        (event,) = auctions
        trade, fills = event[0], event[event["action"] == b"F"]
        assert trade["order_id"] == 0
        assert trade["ts_event"] % (86_400 * 10**9) == 22 * 3_600 * 10**9
        assert set(fills["side"].tolist()) == {b"N"}
        assert fills["size"].sum() == 2 * trade["size"]
        assert {b"A", b"B"} == sides(event, b"C") | sides(event, b"M")
        assert len(set(event["sequence"].tolist())) > 1


def test_nothing_trades_in_the_pre_open_and_no_cancels_at_its_end(live: np.ndarray) -> None:
    second = live["ts_event"] // 10**9 % 86_400
    pre_open = live[(second >= 78_300) & (second < 79_200)]
    assert len(pre_open) > 100
    assert set(pre_open["action"].tolist()) == {b"A", b"C", b"M"}
    last = live[(second >= 79_170) & (second < 79_200)]
    assert set(last["action"].tolist()) == {b"A"}


def test_modifies_keep_and_lose_priority(live: np.ndarray) -> None:
    book, kinds = Book(), Counter[str]()
    for record in live[np.isin(live["action"], [b"A", b"C", b"M", b"R"])]:
        action, order_id = bytes(record["action"]), int(record["order_id"])
        old = book.orders.get(order_id)
        if action == b"M" and old is not None:
            if old.price != record["price"]:
                kinds["moved"] += 1
            elif record["size"] > old.size:
                kinds["larger"] += 1
            else:
                assert record["size"] < old.size
                kinds["smaller"] += 1
        if action != b"A" or old is None:
            book.apply(
                action, order_id, bytes(record["side"]), int(record["price"]), int(record["size"])
            )
    assert min(kinds["moved"], kinds["larger"], kinds["smaller"]) > 100


def test_a_modify_that_crosses_prints_its_own_fill(by_event: list[np.ndarray]) -> None:
    crossing = []
    for event in by_event:
        trade, fill = event[event["action"] == b"T"], event[event["action"] == b"F"]
        if len(trade) and len(fill) and sides(event, b"T") <= sides(event, b"F") != {b"N"}:
            own = fill[fill["side"] == trade["side"][0]]
            assert set(own["order_id"].tolist()) == set(trade["order_id"].tolist())
            assert own["size"].sum() == trade["size"].sum()
            crossing.append(event)
    assert len(crossing) >= 5


def test_icebergs_refill_under_the_same_order_id(by_event: list[np.ndarray]) -> None:
    refilled = again = larger = 0
    for event in by_event:
        fills = event[event["action"] == b"F"]
        if not len(fills) or sides(event, b"T") == {b"N"}:
            continue
        adds = set(event["order_id"][event["action"] == b"A"].tolist())
        if adds & set(fills["order_id"].tolist()):
            refilled += 1
        ids = fills["order_id"].tolist()
        again += len(ids) > len(set(ids))
        for change in event[event["action"] == b"M"]:
            done = fills["size"][fills["order_id"] == change["order_id"]].sum()
            larger += bool(done and change["size"] > done and len(fills) == 1)
    assert refilled > 0
    assert again > 0


def test_an_event_may_span_packets_and_a_packet_hold_events(live: np.ndarray) -> None:
    end = (live["flags"] & LAST) != 0
    same = np.diff(live["sequence"].astype(np.int64)) == 0
    assert (~same & ~end[:-1]).sum() > 100  # within an event, another sequence
    assert (same & end[:-1]).sum() > 100  # another event, the same sequence


def test_records_tie_in_time_and_come_in_bursts(live: np.ndarray) -> None:
    gap = np.diff(live["ts_recv"].astype(np.int64))
    end = (live["flags"][:-1] & LAST) != 0
    assert (gap[end] == 0).mean() > 0.02
    # A Poisson stream has a coefficient of variation of 1.
    assert gap[end].std() / gap[end].mean() > 1.5


def test_clocks_and_sequences_only_go_forward(sample: Sample) -> None:
    for day in sample.days:
        mbo = sample.read(day, "mbo")
        rows = mbo[(mbo["flags"] & SNAPSHOT) == 0]
        for name in ("ts_recv", "ts_event", "sequence"):
            assert (np.diff(rows[name].astype(np.int64)) >= 0).all(), name
        assert (rows["ts_recv"] > rows["ts_event"]).all()
        sent = rows["ts_recv"] - rows["ts_in_delta"].astype(np.uint64)
        assert (sent >= rows["ts_event"]).all()
        midnight = mbo["ts_recv"][0] // (86_400 * 10**9)
        assert set((mbo["ts_recv"] // (86_400 * 10**9)).tolist()) == {midnight}


def test_orders_rest_hundreds_of_ticks_from_the_touch(sample: Sample) -> None:
    mbo = sample.read("20250602", "mbo")
    own = mbo[(mbo["instrument_id"] == IDS["SIMM5"]) & (mbo["flags"] & SNAPSHOT != 0)][1:]
    distance = np.abs(own["price"] - np.median(own["price"])) // 250_000_000
    assert distance.max() > 300


def test_the_spread_has_negative_prices_on_its_own_tick(sample: Sample) -> None:
    mbo = sample.of("SIMM5-SIMU5")
    prices = mbo["price"][mbo["price"] != 2**63 - 1]
    assert (prices < 0).mean() > 0.9
    assert (prices % 50_000_000 == 0).all()
    assert (prices % 250_000_000 != 0).any()


def test_the_outrights_differ_in_liquidity(sample: Sample) -> None:
    busy, thin = sample.of("SIMM5", "mbp-10"), sample.of("SIMU5", "mbp-10")
    assert len(busy) > 2 * len(thin)
    assert busy["bid_sz_00"].mean() > 1.3 * thin["bid_sz_00"].mean()


def test_nothing_happens_in_the_break(weeks: Sample) -> None:
    mbo = weeks.all("mbo")
    rows = mbo[(mbo["flags"] & SNAPSHOT) == 0]
    second = rows["ts_event"] // 10**9 % 86_400
    assert not ((second > 21 * 3_600) & (second < 78_300)).any()
    expired = rows[second == 21 * 3_600]
    assert set(expired["action"].tolist()) == {b"C"}


def test_status_tells_the_session(weeks: Sample) -> None:
    rows = weeks.read("20250603", "status")
    own = rows[rows["instrument_id"] == IDS["SIMM5"]]
    told = [
        (int(r["ts_event"] // 10**9 % 86_400), int(r["action"]), int(r["trading_event"]))
        for r in own
    ]
    assert told == [
        (22 * 3_600, 7, 0),  # at midnight the state that holds, since yesterday's open
        (21 * 3_600, 12, 0),
        (78_300, 1, 0),
        (79_170, 1, 1),
        (79_200, 7, 0),
    ]
    assert own["is_trading"].tolist() == [b"Y", b"N", b"N", b"N", b"Y"]


def test_a_halt_is_told_and_kept(sample: Sample) -> None:
    rows = sample.read("20250602", "status")
    own = rows[rows["instrument_id"] == IDS["SIMU5"]]
    begin = int(own["ts_event"][own["action"] == 8][0])
    end = int(own["ts_event"][(own["action"] == 7) & (own["reason"] == 2)][0])
    mbo = sample.of("SIMU5")
    assert end - begin == 20 * 10**9
    assert not ((mbo["ts_event"] >= begin) & (mbo["ts_event"] < end)).any()


def test_the_day_has_a_busy_cash_open(sample: Sample) -> None:
    mbo = sample.read("20250602", "mbo")
    half_hour = mbo["ts_recv"] // (1_800 * 10**9) % 48
    count = np.bincount(half_hour.astype(int), minlength=48)
    assert count[27] > 5 * count[8]  # 13:30 against 04:00 UTC


def test_about_as_many_records_as_asked_for(sample: Sample) -> None:
    mbo = sample.all("mbo")
    own = mbo[(mbo["flags"] & SNAPSHOT) == 0]
    assert 23_000 < len(own) < 27_000
