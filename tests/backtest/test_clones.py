"""Clones right behind real orders: the simulator, the market's own F records, `order_life` and
mbo-queue say the same of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.backtest import state as st
from pipeline.book.columns import chunk_of_structs
from pipeline.sample import SampleOptions, write_sample
from tests.backtest.clones import Array, Clone, account, simulate
from tests.backtest.scenario import Session
from tests.book.support import read_raw
from tests.book.test_life import run_lives

MINUTE = 60 * 10**9


@dataclass
class Stretch:
    """Records of one instrument, and the hours in which clones are placed."""

    records: Array
    session: Session

    def __post_init__(self) -> None:
        flags = self.records["flags"]
        ends = (flags & 128) != 0
        # A snapshot is an event, with F_LAST or without.
        ends[:-1] |= ((flags[:-1] & 32) != 0) & ((flags[1:] & 32) == 0)
        self.numbers = np.cumsum(ends) - ends + 1
        """Number of each record's event."""

    def clones(self, sizes: random.Random) -> list[Clone]:
        """One of every order added in continuous trading: of its size, or of one contract."""
        records = self.records
        live = (records["flags"] & 32) == 0
        open_ = (records["ts_event"] > self.session.segments[0][0]) & live
        found = []
        for i in np.flatnonzero(open_ & (records["action"] == b"A")).tolist():
            one = records[i]
            size = int(one["size"]) if sizes.random() < 0.5 else 1
            clone = Clone(
                int(one["order_id"]), one["side"].decode(), int(one["price"]), size,
                int(one["ts_event"]), int(self.numbers[i]),
            )  # fmt: skip
            found.append(clone)
        return found


def stretch(records: Array) -> Stretch:
    live = records[(records["flags"] & 32) == 0]
    auctions = live[(live["action"] == b"T") & (live["side"] == b"N")]
    opened = int(auctions["ts_event"].max() if len(auctions) else live["ts_event"].min())
    end = int(live["ts_event"].max()) + MINUTE
    return Stretch(records, Session(int(live["ts_recv"].min()) - MINUTE, end, ((opened, end),)))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Stretch:
    """A Monday of the sample market, from the snapshot at midnight on."""
    out = tmp_path_factory.mktemp("clones") / "raw"
    write_sample(SampleOptions(out=out, days=1, symbols=["SIMM5"], records=6000, seed=4), None)
    return stretch(read_raw(max(out.rglob("*.mbo.dbn.zst"))))


@pytest.fixture(scope="module")
def christmas(real_data: Path) -> Array:
    return read_raw(real_data / "esh4" / "glbx-mdp3-20231225.mbo.dbn.zst")


@dataclass
class Simulated:
    """A clone, and what the simulator made of it."""

    clone: Clone
    ahead: int
    fills: list[tuple[int, int, int]]
    """Time, size, contracts still ahead."""


def all_of(market: Stretch, clones: Sequence[Clone]) -> list[Simulated]:
    chunk = chunk_of_structs(market.records)
    found = []
    for clone in clones:
        order, fills = simulate(clone, chunk, market.session)
        assert not (fills[:, st.F_ROLE] == st.TAKER).any()
        rows = fills[:, [st.F_TS, st.F_SIZE, st.F_AHEAD]].tolist()
        found.append(Simulated(clone, int(order[st.O_ENTRY_AHEAD]), [tuple(r) for r in rows]))
    return found


def assert_same(simulated: Sequence[Simulated]) -> int:
    """Compare with the account; the number that were filled."""
    for one in simulated:
        assert (one.ahead, one.fills) == (one.clone.ahead, one.clone.fills), one.clone
    return sum(bool(one.fills) for one in simulated)


@pytest.fixture(scope="module")
def behind_all(sample: Stretch) -> list[Simulated]:
    """A clone behind every order of the sample's day, each in a simulation of its own."""
    return all_of(sample, account(sample.records, sample.clones(random.Random(1))))


def test_every_clone_of_the_sample_is_filled_as_the_market_says(behind_all):
    assert len(behind_all) > 1900
    assert assert_same(behind_all) > 1000
    assert {len(one.fills) for one in behind_all} >= {0, 1, 2}


def test_clones_of_the_real_hour_are_filled_as_the_market_says(christmas):
    market = stretch(christmas[:20_000])
    joined = account(market.records, market.clones(random.Random(2)))

    assert assert_same(all_of(market, random.Random(3).sample(joined, 250))) > 50


@pytest.mark.slow
def test_all_clones_of_the_real_hour(christmas):
    """About twenty thousand simulations of an hour: some minutes."""
    market = stretch(christmas)
    joined = account(market.records, market.clones(random.Random(2)))

    assert assert_same(all_of(market, joined)) > 5000


# --- order_life -----------------------------------------------------------------------------------


def lives(market: Stretch) -> pl.DataFrame:
    times = pl.col(pl.Datetime("ns", "UTC")).cast(pl.Int64)
    return pl.DataFrame(pl.from_arrow(run_lives(market.records))).with_columns(times)


def check_lives(market: Stretch, simulated: Sequence[Simulated]) -> dict[str, int]:
    """What `order_life` says of the real order before a clone, and of the next one behind it."""
    # An iceberg's number has a life for each time it was shown anew.
    columns = [
        "order_id", "side", "first_price", "first_size", "entered_event", "entered_ts_event",
        "entered_ahead_size", "modifies_lost", "refills", "left_ts_event",
        "first_fill_ts_event", "first_fill_ahead_size",
    ]  # fmt: skip
    frame = lives(market).select(columns).iter_rows(named=True)
    rows = {(row["order_id"], row["entered_ts_event"]): row for row in frame}
    queues: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows.values():
        queues.setdefault((row["side"], row["first_price"]), []).append(row)
    records_of = np.bincount(market.numbers)
    seen = {"directly": 0, "filled": 0, "next": 0}
    for one in simulated:
        clone, real = one.clone, rows[one.clone.number, one.clone.ts]
        entered = [
            r for r in queues[clone.side, clone.price]
            if r["entered_ts_event"] == clone.ts and r["entered_event"] > real["entered_event"]
        ]  # fmt: skip
        # Where its event has other records, they may have shortened the queue after it.
        if not entered and records_of[clone.event] == 1:
            assert one.ahead == real["entered_ahead_size"] + real["first_size"]
            seen["directly"] += 1
        if one.fills:
            # Not before the real order has gone: executed, cancelled or moved.
            moved = real["modifies_lost"] + real["refills"] > 0
            assert moved or real["left_ts_event"] <= one.fills[0][0]
            seen["filled"] += 1
        for later in queues[clone.side, clone.price]:
            behind = (later["entered_ts_event"] or 0) > clone.ts and later["modifies_lost"] == 0
            if behind and later["first_fill_ahead_size"] is not None:
                # It was met in its queue: the clone, before it, had been met already.
                assert one.fills
                assert one.fills[0][0] <= later["first_fill_ts_event"]
                seen["next"] += 1
    return seen


def test_clones_fit_the_lives_of_the_orders_around_them(sample, behind_all):
    seen = check_lives(sample, behind_all)
    assert seen["directly"] > 1500
    assert seen["filled"] > 1000
    assert seen["next"] > 1000


# --- mbo-queue ------------------------------------------------------------------------------------


def test_queue_ahead_at_entry_is_that_of_mbo_queue(sample, behind_all):
    """All that rests at the price when a clone joins, by a program written by somebody else."""
    fast = pytest.importorskip("mboq.fast", reason="mbo-queue is not installed (extra `oracles`)")
    names = ("ts_event", "order_id", "price", "size", "flags", "action", "side")
    compared = behind_all[::3]
    times = sorted({one.clone.ts for one in compared})
    found = fast.run(
        {name: sample.records[name] for name in names},
        tick=250_000_000, queue_times=times, queue_levels=1_000_000,
    )["queue"]  # fmt: skip
    # Columns: time, id, side, price, ..., size, ahead.
    last: dict[tuple[int, int, int], int] = {}
    for row in found.tolist():
        key = (times[row[0]], row[2], row[3])
        last[key] = max(last.get(key, 0), row[6] + row[7])
    for one in compared:
        side = 1 if one.clone.side == "B" else -1
        assert one.ahead == last[one.clone.ts, side, one.clone.price]
