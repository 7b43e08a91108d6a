"""MBO records as the references play them, and how they fall into events."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

UNDEF = 2**63 - 1
LARGEST = 2**32 - 1
LAST, TOB, SNAPSHOT, MBP, BAD_TS, MAYBE_BAD = 128, 64, 32, 16, 8, 4
SIDES = {"B": "bid", "A": "ask"}
OTHER = {"B": "A", "A": "B"}


class Rec(NamedTuple):
    """An MBO record."""

    ts_recv: int
    ts_event: int
    sequence: int
    order_id: int
    price: int
    size: int
    flags: int
    channel_id: int
    action: str
    side: str
    record: int
    publisher_id: int = 1
    instrument_id: int = 1


def split_events(records: list[Rec]) -> tuple[list[list[Rec]], list[list[Rec]]]:
    """Events in the order in which they end, and what has not ended."""
    done: list[list[Rec]] = []
    waiting: dict[tuple[int, int], list[Rec]] = defaultdict(list)
    for rec in records:
        key = (rec.publisher_id, rec.instrument_id)
        event = waiting[key]
        if event and event[-1].flags & SNAPSHOT and not rec.flags & SNAPSHOT:
            done.append(event)
            event = waiting[key] = []
        event.append(rec)
        if rec.flags & LAST:
            done.append(event)
            waiting[key] = []
    return done, [event for event in waiting.values() if event]
