"""Orders in queues by side and price: what a book is made of."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import Any


@dataclass
class Order:
    order_id: int
    side: str
    price: int
    size: int
    entry: int
    printed: int = 0


class Queues:
    """Both sides of a book; the first of a queue is first in line."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.orders: dict[int, Order] = {}
        self.queues: dict[str, dict[int, list[Order]]] = {"B": {}, "A": {}}
        self.prices: dict[str, list[int]] = {"B": [], "A": []}  # ascending, those with orders

    def join(self, order: Order) -> None:
        self.orders[order.order_id] = order
        if order.price not in self.queues[order.side]:
            insort(self.prices[order.side], order.price)
        self.queues[order.side].setdefault(order.price, []).append(order)

    def leave(self, order: Order) -> None:
        del self.orders[order.order_id]
        queue = self.queues[order.side][order.price]
        queue[:] = [other for other in queue if other is not order]
        if not queue:
            del self.queues[order.side][order.price]
            self.prices[order.side].remove(order.price)

    def clear(self) -> None:
        self.orders = {}
        self.queues = {"B": {}, "A": {}}
        self.prices = {"B": [], "A": []}

    def levels(self, side: str, depth: int | None = None) -> list[int]:
        """Prices, best first."""
        prices = self.prices[side]
        if side == "A":
            return prices[:depth]
        return prices[::-1] if depth is None else prices[-1 : -depth - 1 : -1]

    def top(self, depth: int | None = None) -> dict[str, list[tuple[int | None, int, int]]]:
        depth = depth or self.depth
        result: dict[str, list[tuple[int | None, int, int]]] = {}
        for side in "BA":
            rows: list[tuple[int | None, int, int]] = []
            for price in self.levels(side, depth):
                queue = self.queues[side][price]
                rows.append((price, sum(o.size for o in queue), len(queue)))
            result[side] = rows + [(None, 0, 0)] * (depth - len(rows))
        return result

    def touch(self, side: str) -> tuple[int | None, int]:
        return self.top(1)[side][0][:2]

    def queue_order(self) -> list[tuple[Any, ...]]:
        return [
            (side, price, place, o.order_id, o.size, o.printed, o.entry)
            for side in "BA"
            for price in self.levels(side)
            for place, o in enumerate(self.queues[side][price])
        ]
