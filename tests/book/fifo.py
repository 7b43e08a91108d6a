"""Why an order was filled while others stood before it: each such F with its reason."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tests.reference.records import LAST, Rec


class Passed(NamedTuple):
    """An F of an order that was not first in its queue, met there by an aggressor."""

    record: int
    reason: str


def passed_over(records: list[Rec]) -> list[Passed]:
    """Every F in normal trading of an order with unfilled orders before it.

    The reason is what becomes of those before it by the end of the event, the least innocent:

    - ``listed``: all are filled whole in the same event, which lists its fills in another order;
    - ``cancelled``: some are cancelled whole in it without a fill (self-match prevention takes
      away the aggressor's own orders that it meets);
    - ``part``: some are filled in part, and cancelled or left;
    - ``stayed``: some stay as they are: no first in, first out.
    """
    queues: dict[tuple[str, int], dict[int, int]] = {}  # (side, price) -> {id: size}, in order
    where: dict[int, tuple[str, int]] = {}
    found: list[Passed] = []
    event: list[Rec] = []
    for r in records:
        event.append(r)
        if r.flags & LAST:
            found += _play(event, queues, where)
            event = []
    return found


def _play(
    event: list[Rec],
    queues: dict[tuple[str, int], dict[int, int]],
    where: dict[int, tuple[str, int]],
) -> list[Passed]:
    taker = "N"
    printed: Counter[int] = Counter()
    total = Counter(dict.fromkeys((x.order_id for x in event), 0))
    for x in event:
        total[x.order_id] += x.size * (x.action == "F")
    cancelled = {x.order_id for x in event if x.action == "C"}
    normal = any(x.action == "F" for x in event) and _normal(queues)
    found = []
    for x in event:
        if x.action == "R":
            queues.clear()
            where.clear()
        if x.action == "T":
            taker = x.side
        if x.action == "F":
            if x.order_id in where and normal and {x.side, taker} == {"A", "B"}:
                reasons = set()
                for oid, size in queues[where[x.order_id]].items():
                    if oid == x.order_id:
                        break
                    if printed[oid] < size:
                        reasons.add(_fate(size, total[oid], gone=oid in cancelled))
                if reasons:
                    found.append(Passed(x.record, max(reasons, key=_WORSE.index)))
            printed[x.order_id] += x.size
        if x.action in "CM" and x.order_id in where:
            old = queues[where[x.order_id]]
            left = old[x.order_id] - printed[x.order_id]
            kept = x.action == "M" and where[x.order_id] == (x.side, x.price) and x.size <= left
            if kept or (x.action == "C" and 0 < x.size < old[x.order_id]):
                old[x.order_id] = x.size if kept else old[x.order_id] - x.size
                printed[x.order_id] = 0
                continue
            del old[x.order_id], where[x.order_id]
        if x.action in "AM":
            if x.order_id in where:
                del queues[where[x.order_id]][x.order_id]
            queues.setdefault((x.side, x.price), {})[x.order_id] = x.size
            where[x.order_id] = (x.side, x.price)
            printed[x.order_id] = 0
    return found


def _normal(queues: dict[tuple[str, int], dict[int, int]]) -> bool:
    bids = [price for (side, price), queue in queues.items() if side == "B" and queue]
    asks = [price for (side, price), queue in queues.items() if side == "A" and queue]
    return bool(bids and asks) and max(bids) < min(asks)


_WORSE = ("listed", "cancelled", "part", "stayed")


def _fate(size: int, filled: int, *, gone: bool) -> str:
    if filled >= size:
        return "listed"
    if filled:
        return "part"
    return "cancelled" if gone else "stayed"
