"""The columns a feature may read at an event, and the small expressions built on them.

Every row is an event of one instrument in one session's trading hours, with a book that is known
to be complete (see ``features.events``).  Prices are Int64 in 1e-9, sizes and counts Int64.

========================== =====================================================================
``bid_px_00`` ...          the book after the event, in the names of the table ``book``
``bid_l1_add_sz`` ...      what happened since the row before, in the names of the table ``flow``
``bid_max_sz filled_life`` ... what single orders tell, in the names of the table ``queue``
``trade_ct trade_sz``      prints of the event, and their contracts
``buy_ct buy_sz``          of these, by an aggressive buyer; ``sell_ct sell_sz`` by a seller
``buy_orders sell_orders`` 1 if the event has prints of that aggressor: its orders
``buy_px_sz sell_px_sz``   sum of price (ticks) x contracts of either
``buy_levels sell_levels`` how many different prices either traded at
``trade_px``               price of the last print, null without one
``trade_px_sz``            sum of price (ticks) x contracts; ``trade_px2_sz``: price squared
``print_px print_sz``      price and contracts of every print, lists in order; null without one
``ts event``               the event's time (ns, running maximum of ts_recv) and key
``ok``                     the touch is two-sided, neither locked nor crossed
``ok_flow``                the same, but a side may be empty
``first``                  the row starts a segment: after the open, a halt or a gap in the data
``settle_px``              settlement price of the session before (1e-9), as it had been published
                           before the event; null before that, or once it was withdrawn
``t``                      the time of the decision (ns)
``tick``                   price step (1e-9), the same on every row; so are the session's times
                           ``session_open session_close rth_open rth_close`` (ns; null where there
                           are none), ``session_date`` (YYYYMMDD), ``local_offset`` (ns to add to
                           UTC), ``expiration`` (ns), ``business_days_left``, ``expiry_week`` (1 in
                           the week it expires), ``volume_before`` and ``next_volume_before``
                           (contracts that it, and the root's next delivery, traded in the session
                           before), ``peer_tolerance`` (ns) and ``money`` (the multiplier, 1e-9)
========================== =====================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import polars as pl

from features.windows import shared
from pipeline.units import NS_PER_S

BOOK_KEYS = ("event", "ts_recv", "valid", "state", "instrument_id", "publisher_id")
"""Columns of ``book`` that are always read, besides the touch."""

TOUCH = ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")

TRADE_COLUMNS = (
    "trade_ct",
    "trade_sz",
    "buy_ct",
    "buy_sz",
    "sell_ct",
    "sell_sz",
    "buy_orders",
    "sell_orders",
    "trade_px",
    "trade_px_sz",
    "trade_px2_sz",
    "buy_px_sz",
    "sell_px_sz",
    "buy_levels",
    "sell_levels",
    "print_px",
    "print_sz",
)

PRINT_LISTS = ("print_px", "print_sz")

TRADE_VALUES = ("trade_px", *PRINT_LISTS)
"""Of these, those that are no sums: null where an event has no print."""

SCALARS = (
    "tick",
    "session_open",
    "session_close",
    "rth_open",
    "rth_close",
    "session_date",
    "local_offset",
    "expiration",
    "business_days_left",
    "expiry_week",
    "peer_tolerance",
    "volume_before",
    "next_volume_before",
    "money",
)

PUBLISHED = ("settle_px",)
"""Columns that the vendor publishes now and then, apart from the book."""

EVENT_COLUMNS = ("ts", "event", "ok", "ok_flow", "first", "ended", "t")

OK = pl.col("ok")
OK_FLOW = pl.col("ok_flow")
TICK = pl.col("tick")


def px(side: str, level: int = 0) -> pl.Expr:
    """Price of a level in 1e-9; null where there is none."""
    return pl.col(f"{side}_px_{level:02d}")


def ticks(side: str, level: int = 0) -> pl.Expr:
    """Price of a level in ticks (Float64; exact for prices on the tick)."""
    return px(side, level) / TICK


def size(side: str, level: int = 0) -> pl.Expr:
    """Displayed size of a level, 0 where there is none."""
    return pl.col(f"{side}_sz_{level:02d}")


def orders(side: str, level: int = 0) -> pl.Expr:
    """Resting orders of a level, 0 where there is none."""
    return pl.col(f"{side}_ct_{level:02d}")


def depth(side: str, levels: int) -> pl.Expr:
    """Displayed size of the best ``levels`` levels."""
    return add(size(side, i) for i in range(levels))


def resting(side: str, levels: int) -> pl.Expr:
    """Resting orders of the best ``levels`` levels."""
    return add(orders(side, i) for i in range(levels))


def add(parts: Iterable[pl.Expr]) -> pl.Expr:
    """Sum of expressions, left to right."""
    total: pl.Expr | None = None
    for part in parts:
        total = part if total is None else total + part
    assert total is not None
    return total


def if_ok(x: pl.Expr) -> pl.Expr:
    """``x`` where the touch is two-sided and normal, else null."""
    return pl.when(OK).then(x)


def if_ok_flow(x: pl.Expr) -> pl.Expr:
    """``x`` where the touch is not locked or crossed, else null."""
    return pl.when(OK_FLOW).then(x)


@cache
def mid_ticks() -> pl.Expr:
    """(b_0 + a_0) / 2 in ticks; null unless ok.  Every feature's mid price."""
    return shared(if_ok((px("bid") + px("ask")) / (2 * TICK)))


def ratio(top: pl.Expr, bottom: pl.Expr) -> pl.Expr:
    """Top / bottom; null where the bottom is 0 (undefined is never 0)."""
    return pl.when(bottom != 0).then(top / bottom)


def imbalance(bid: pl.Expr, ask: pl.Expr) -> pl.Expr:
    """(bid - ask) / (bid + ask) in [-1, 1]; null where both are 0."""
    return ratio(bid - ask, bid + ask)


def seconds(ns: pl.Expr) -> pl.Expr:
    """Nanoseconds to seconds (Float64)."""
    return ns / NS_PER_S
