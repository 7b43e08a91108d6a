"""Small random markets in the shape of the lake's tables, with everything that goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from fractions import Fraction

import numpy as np
import polars as pl

from features.events import Tables
from features.source import Context, Publication, Source
from pipeline.tables import FLOW_KINDS, SIDES, ZONES, flow_column
from pipeline.units import NS_PER_DAY, NS_PER_MS, NS_PER_S
from tests.features.orders import make_lives, make_queue, scaled_queue

TICK = 250_000_000
FEW = 10_000
"""Larger worlds have no table `queue`: its rows are drawn order by order."""
MIDNIGHT = 1_741_132_800 * NS_PER_S  # 2025-03-05, in the middle of the session
DEPTH = 10

FAST = (0, 0, NS_PER_MS, 40 * NS_PER_MS, 300 * NS_PER_MS, NS_PER_S, 4 * NS_PER_S)
SLOW = (0, NS_PER_S, 7 * NS_PER_S, 60 * NS_PER_S, 200 * NS_PER_S)

FLOW_COLUMNS = tuple(
    flow_column(side, zone, kind, measure)
    for side in SIDES
    for zone in ZONES
    for kind in FLOW_KINDS
    for measure in ("ct", "sz")
)


def make_world(
    seed: int,
    rows: int = 160,
    gaps: tuple[int, ...] = FAST,
    *,
    level: int = 20_000,
    invalid: float = 0.015,
    prints: bool = True,
    peers: bool = False,
    lives: bool = False,
) -> Tables:
    """A session of two stretches of trading hours over midnight, pre-open and all.

    Ties, empty sides, locked and crossed rows, missing deep levels, invalid rows, a change of
    the instrument id, a snapshot at midnight (same touch or another), times going back.
    """
    rng = np.random.default_rng(seed)
    ts = np.cumsum(rng.choice(gaps, rows)).astype(np.int64)
    # Midnight falls on a row a third into the day; hours begin a little after the first row.
    ts += MIDNIGHT - ts[rows // 3]
    ts[rows // 3 + 1 :] += 1
    span = ts[-1] - ts[0]
    hours = (
        (int(ts[3]), int(ts[0] + span * 6 // 10)),
        (int(ts[0] + span * 7 // 10), int(ts[-1] - span // 50)),
    )
    received = ts.copy()
    back = rng.random(rows) < 0.02
    back[rows // 3] = False
    received[back] -= NS_PER_MS
    book = _book(rng, rows, level)
    event = np.cumsum(rng.integers(1, 4, rows))
    book = book.with_columns(
        pl.Series("event", event),
        pl.Series("ts_recv", received).cast(pl.Datetime("ns", "UTC")),
        pl.Series("valid", rng.random(rows) > invalid),
        pl.Series("instrument_id", np.where(np.arange(rows) < rows * 9 // 10, 1, 2)).cast(
            pl.UInt32
        ),
        pl.lit(1, pl.UInt16).alias("publisher_id"),
    )
    if rng.random() < 0.5:  # the snapshot shows what stood before it
        touch = [c for c in book.columns if c[4:7] in ("px_", "sz_", "ct_")] + ["state"]
        at = rows // 3
        order = np.arange(rows)
        order[at] = at - 1
        book = book.with_columns(book.select(touch)[order].get_columns())
    flow = pl.DataFrame(
        {name: rng.choice([0, 0, 0, 1, 2, 9], rows).astype(np.uint32) for name in FLOW_COLUMNS}
    )
    context = Context(
        dataset="GLBX.MDP3",
        symbol="ESH5",
        session=date(2025, 3, 5),
        tick=TICK,
        segments=hours,
        announced_close=hours[-1][1] + 5 * NS_PER_S,  # trading ended before it was to
        rth=(int(ts[rows // 2]), int(ts[rows * 4 // 5])),
        local_offset=-6 * 3600 * NS_PER_S,
        expiration=MIDNIGHT + 16 * NS_PER_DAY,
        business_days_left=12,
        peer_tolerance=20 * NS_PER_S,
        expiry_week=0,
        volume_before=1_200_000,
        next_volume_before=400_000,
        multiplier=Fraction(50),
        depth=DEPTH,
        published=_published(np.random.default_rng((seed, 3)), ts, level),
    )
    trades = _trades(rng, book if prints else book.head(0), level)
    few = rows <= FEW
    queue = make_queue(np.random.default_rng((seed, 1)), book) if few else None
    others = _peers(seed, rows, gaps, invalid) if peers else {}
    world = Tables(context, book, flow, trades, queue=queue, peers=others)
    if lives:
        rng = np.random.default_rng((seed, 2))
        world = replace(world, order_life=make_lives(rng, book, TICK))
    return world


def _published(rng: np.random.Generator, ts: np.ndarray, level: int) -> dict[str, Publication]:
    """Revisions of a settlement price, received with events and between them; one withdrawn."""
    times = np.sort(rng.choice(ts[len(ts) // 8 :], 6) + rng.choice([-1, 0, 0, 1], 6))
    values: list[int | None] = [(level + int(rng.integers(-9, 9))) * TICK for _ in times]
    values[int(rng.integers(1, 5))] = None
    return {"settle_px": Publication(tuple(times.tolist()), tuple(values))}


def _republished(world: Tables, change: Callable[[int], int]) -> Context:
    """The context with what was published changed."""
    published = {
        name: replace(one, values=tuple(v if v is None else change(v) for v in one.values))
        for name, one in world.context.published.items()
    }
    return replace(world.context, published=published)


def _peers(seed: int, rows: int, gaps: tuple[int, ...], invalid: float) -> dict[str, Source]:
    """Other instruments at the same times and in between, in chunks of their own."""
    found: dict[str, Source] = {}
    for number, name in enumerate(("peer", "far", "listed")):
        other = make_world(seed + 7919 * (number + 1), rows, gaps, level=15_000, invalid=invalid)
        context = replace(
            other.context,
            symbol=name,
            tick=TICK if number else TICK // 2,
            multiplier=Fraction(20, number + 1),
        )
        found[name] = replace(other, context=context, chunk=37 + number)
    return found


def _book(rng: np.random.Generator, rows: int, level: int) -> pl.DataFrame:
    state = rng.choice(
        ["normal", "one_sided", "locked", "crossed"], rows, p=[0.86, 0.06, 0.03, 0.05]
    )
    state[:3] = "crossed"
    mid = level + np.cumsum(rng.choice([-1, 0, 0, 0, 1], rows))
    spread = rng.choice([1, 1, 1, 2, 3], rows)
    spread = np.where(state == "locked", 0, np.where(state == "crossed", -2, spread))
    deep = rng.integers(1, DEPTH + 1, (2, rows))
    empty = rng.integers(0, 3, rows)  # which side of a one-sided book is empty; 2: both
    columns: dict[str, pl.Series] = {}
    for s, (side, sign) in enumerate((("bid", -1), ("ask", 1))):
        gone = (state == "one_sided") & ((empty == s) | (empty == 2))
        best = mid if side == "bid" else mid + spread
        distance = np.zeros(rows, dtype=np.int64)
        for i in range(DEPTH):
            there = (deep[s] > i) & ~gone
            price = (best + sign * distance) * TICK
            size = np.where(there, rng.integers(1, 40, rows), 0)
            count = np.minimum(size, rng.integers(1, 9, rows))
            name = f"_{i:02d}"
            columns[f"{side}_px{name}"] = pl.select(
                pl.when(pl.Series(there)).then(pl.Series(price))
            ).to_series()
            columns[f"{side}_sz{name}"] = pl.Series(size).cast(pl.UInt32)
            columns[f"{side}_ct{name}"] = pl.Series(count).cast(pl.UInt32)
            distance = distance + rng.integers(1, 3, rows)
    frame = pl.DataFrame(columns).with_columns(pl.Series("state", state))
    # Often nothing but a size changes: let the touch stand still for a while.
    still = np.flatnonzero(rng.random(rows) < 0.3)
    order = np.arange(rows)
    order[still[still > 0]] -= 1
    return frame[order]


def _trades(rng: np.random.Generator, book: pl.DataFrame, level: int) -> pl.DataFrame:
    prints = []
    for event in book["event"]:
        for _ in range(int(rng.choice([0, 0, 0, 1, 1, 2, 3]))):
            price = (level + int(rng.integers(-5, 6))) * TICK
            size, side = int(rng.integers(1, 12)), str(rng.choice(["A", "B", "B", "N"]))
            prints.append((event, price, size, side))
    schema = {"event": pl.Int64, "price": pl.Int64, "size": pl.UInt32, "side": pl.String}
    return pl.DataFrame(prints, schema=schema, orient="row")


def _others(world: Tables, change: Callable[[Tables], Tables]) -> dict[str, Source]:
    """The peers, each changed."""
    others = {name: peer for name, peer in world.peers.items() if isinstance(peer, Tables)}
    return {name: change(peer) for name, peer in others.items()}


def mirrored(world: Tables) -> Tables:
    """The same market seen from the other side: sides swapped, prices negated."""
    assert world.flow is not None
    assert world.queue is not None
    assert world.trades is not None
    swap = {"bid": "ask", "ask": "bid"}

    def renamed(frame: pl.DataFrame) -> pl.DataFrame:
        names = {c: swap[c[:3]] + c[3:] for c in frame.columns if c[:3] in swap}
        return frame.rename(names).select(frame.columns)

    book = renamed(world.book)
    book = book.with_columns(-pl.col(c) for c in book.columns if "_px_" in c)
    side = pl.col("side").replace({"A": "B", "B": "A"})
    trades = world.trades.with_columns(-pl.col("price"), side)
    queue = renamed(world.queue)
    peers = _others(world, mirrored)
    if (lives := world.order_life) is not None:
        lives = lives.with_columns(side)
    return replace(
        world,
        context=_republished(world, lambda price: -price),
        book=book,
        flow=renamed(world.flow),
        trades=trades,
        queue=queue,
        peers=peers,
        order_life=lives,
    )


def scaled(world: Tables, factor: int) -> Tables:
    """All sizes multiplied, counts as they were."""
    assert world.flow is not None
    assert world.queue is not None
    assert world.trades is not None
    book = world.book.with_columns(
        pl.col(c) * pl.lit(factor, pl.UInt32) for c in world.book.columns if "_sz_" in c
    )
    flow = world.flow.with_columns(
        pl.col(c) * pl.lit(factor, pl.UInt32) for c in world.flow.columns if c.endswith("_sz")
    )
    trades = world.trades.with_columns(pl.col("size") * pl.lit(factor, pl.UInt32))
    queue = scaled_queue(world.queue, factor)
    peers = _others(world, lambda peer: scaled(peer, factor))
    return replace(world, book=book, flow=flow, trades=trades, queue=queue, peers=peers)


def shifted(world: Tables, ticks: int) -> Tables:
    """All prices higher by some ticks, those of peers by the same money."""
    assert world.trades is not None
    up = ticks * TICK
    book = world.book.with_columns(pl.col(c) + up for c in world.book.columns if "_px_" in c)
    trades = world.trades.with_columns(pl.col("price") + up)
    peers = _others(world, lambda peer: shifted(peer, ticks))
    return replace(
        world,
        context=_republished(world, lambda price: price + up),
        book=book,
        trades=trades,
        peers=peers,
    )
