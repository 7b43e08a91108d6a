"""Days written record by record, for claims about what single records do."""

from __future__ import annotations

from typing import Any

from tests.book.support import MIDNIGHT, Ran, plain, queue_order, run_engine
from tests.reference.records import LAST, UNDEF, Rec

UNDEFINED = {"price": UNDEF, "size": 0, "side": "N", "order_id": 0}


class Script:
    """Records written by hand, one event each unless ``more``."""

    def __init__(self) -> None:
        self.records: list[Rec] = []

    def __call__(
        self, action: str, side: str = "B", price: int = 100, size: int = 1, oid: int = 1,
        *, more: bool = False, flags: int = 0, at: int = 0,
    ) -> Script:  # fmt: skip
        n = len(self.records)
        at = at or (self.records[-1].ts_recv + 1 if n else MIDNIGHT + 1)
        bits = flags if more else flags | LAST
        self.records.append(Rec(at, at - 1, n, oid, price, size, bits, 0, action, side, n))
        return self

    def run(self, **options: Any) -> Ran:
        return run_engine(self.records, **options)


def queue(ran: Ran, side: str = "B") -> list[tuple[int, int]]:
    """(order id, size), best price and first place first."""
    [one] = ran.engine.books.values()
    return [(r[3], r[4]) for r in queue_order(one.book) if r[0] == side]


def flow(ran: Ran, row: int = -1) -> dict[str, int]:
    return {k: v for k, v in plain(ran.flow)[row].items() if v and k != "event"}


def start() -> Script:
    """R, then three bids of size 5 at 100 (ids 1 2 3) and an ask of 5 at 102 (id 4)."""
    script = Script()("R", "N", UNDEF, 0, 0)
    for oid in (1, 2, 3):
        script("A", "B", 100, 5, oid)
    return script("A", "A", 102, 5, 4)
