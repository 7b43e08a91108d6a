"""Columns of `order_life`, and the texts of its codes."""

from __future__ import annotations

import pyarrow as pa

from pipeline.columns import INSTRUMENT, PRICE, PUBLISHER, SIZE, TEXT, TS, Column, col

LIFE_ENTERED = ("add", "modify", "snapshot", "carried")
"""Text of ``order_life.entered`` by its code in kernels."""

LIFE_OUTCOMES = ("filled", "cancelled", "replaced", "cleared", "snapshot", "resting")
"""Text of ``order_life.outcome`` by its code in kernels."""


def _many(name: str, unit: str, description: str, *, null: bool = False) -> Column:
    return col(name, pa.uint64(), unit, description, null=null)


def _moment(prefix: str, what: str) -> tuple[Column, ...]:
    """Event and times of something that may not have happened, or not been seen."""
    return (
        col(f"{prefix}_event", pa.int64(), "", f"event {what}", "delta", null=True),
        col(f"{prefix}_ts_recv", TS, "ns", "when that could be known", "delta", null=True),
        col(f"{prefix}_ts_event", TS, "ns", "the venue's time of its record", "delta", null=True),
    )


def _joined(prefix: str, then: str) -> tuple[Column, ...]:
    """Where an order stood once it had joined a queue."""
    behind = "behind its side's touch before the event; negative: better"
    return (
        _many(f"{prefix}_ahead_orders", "orders", f"in the queue before it {then}", null=True),
        _many(f"{prefix}_ahead_size", "contracts", "their size", null=True),
        col(f"{prefix}_distance", PRICE, "1e-9", f"its price {behind}", null=True),
        col(
            f"{prefix}_opposite",
            PRICE,
            "1e-9",
            "from its price to the other side's touch before the event; 0 or less: marketable",
            null=True,
        ),
    )


LIFE_COLUMNS: tuple[Column, ...] = (
    PUBLISHER,
    INSTRUMENT,
    col("order_id", pa.uint64(), "", "the venue's order number", "split"),
    col("side", TEXT, "", "B bid, A ask; of its last place"),
    col("entered", TEXT, "", "add, modify (of an unknown order), snapshot or carried"),
    *_moment("entered", "in which it entered; null: entered before it was seen"),
    *_joined("entered", "at entry"),
    col("first_price", PRICE, "1e-9", "limit price when first seen"),
    col("first_size", SIZE, "contracts", "displayed size when first seen"),
    *_moment("place", "in which it took its last place; null: before it was seen"),
    col("price", PRICE, "1e-9", "limit price of its last place"),
    col("place_size", SIZE, "contracts", "displayed size as it took that place", null=True),
    *_joined("place", "there"),
    col("valid", pa.bool_(), "", "the book was complete then: what stood ahead is exact"),
    _many("modifies_kept", "records", "M that kept its place, fills apart"),
    _many("modifies_lost", "records", "M that lost its place, refills apart"),
    _many("reprices", "records", "those that changed its price or side"),
    _many("partial_cancels", "records", "C of a part of the size, fills apart"),
    _many("refills", "records", "M that showed more again after an F, at the same price"),
    _many("refill_size", "contracts", "size they showed anew"),
    _many("fills", "fills", "F records that name it"),
    _many("fill_size", "contracts", "their size"),
    _many("queue_fills", "fills", "those in normal trading that an aggressor met in its queue"),
    _many("fills_out_of_turn", "fills", "those of them while orders ahead were not filled"),
    *_moment("first_fill", "of its first F of the day"),
    _many(
        "first_fill_ahead_orders",
        "orders",
        "ahead then, not yet filled; null: not met in its queue (auction, modified to cross)",
        null=True,
    ),
    _many("first_fill_ahead_size", "contracts", "their size not yet filled", null=True),
    col(
        "lost_ts_recv",
        TS,
        "ns",
        "when it first lost its place, as `modifies_lost` counts it; null: never",
        "delta",
        null=True,
    ),
    _many("max_size", "contracts", "largest displayed size"),
    _many("size_added", "contracts", "growth of the displayed size, refills included"),
    _many("size_executed", "contracts", "displayed size that F took away"),
    _many("size_cancelled", "contracts", "displayed size that C and M took away besides"),
    col(
        "outcome",
        TEXT,
        "",
        "filled, cancelled, replaced, cleared, snapshot (not in it) or resting",
    ),
    *_moment("left", "in which it left; null: rests at the day's end"),
    col("left_size", SIZE, "contracts", "displayed size just before it left, or at the end"),
    _many("left_ahead_orders", "orders", "in the queue before it then"),
    _many("left_ahead_size", "contracts", "their size"),
    _many("left_queue_orders", "orders", "in the whole queue then, itself included"),
    _many("left_queue_size", "contracts", "their size"),
    col(
        "known_at",
        TS,
        "ns",
        "when the row could be known: left_ts_recv, or the end of the UTC day",
        "delta",
    ),
)
