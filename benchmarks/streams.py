"""Synthetic MBO streams for measuring: the action mix of real ES, as many live orders as asked.

The stream is legal: adds never cross, executions take the head of the best queue (`T F C`, or
`T F M` for a part), cancels and modifies hit resting orders, most of them recent.  Not a market:
nothing in it can be predicted or traded, it only has the shape of the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.book import orders as ob
from pipeline.jit import njit

TICK = 250_000_000
START = 5_000 * 10**9
FIRST_CLOCK = 1_700_000_000 * 10**9
ACTION_SHARES = {"A": 34, "C": 30, "M": 20, "F": 11, "T": 5}
"""Per cent of records on ES, 2023-12-25, after the snapshot; what the generator aims at."""


@dataclass(frozen=True)
class Stream:
    """Columns of records, as the kernels take them."""

    ts_recv: npt.NDArray[np.int64]
    ts_event: npt.NDArray[np.int64]
    order_id: npt.NDArray[np.int64]
    price: npt.NDArray[np.int64]
    size: npt.NDArray[np.uint32]
    sequence: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]
    action: npt.NDArray[np.uint8]
    side: npt.NDArray[np.uint8]


class Generator:
    """Draws one endless stream, block by block."""

    def __init__(self, live_orders: int = 12_000, seed: int = 1) -> None:
        self.book = ob.new_book(orders=2 * live_orders + 4096, levels=65_536)
        self.ring = np.zeros(4096, np.int64)
        self.state = np.array(
            [seed * 2_654_435_769 + 88_172_645_463_325_252, 0, live_orders, 0, 0, FIRST_CLOCK]
        )

    def block(self, records: int) -> Stream:
        """The next records of the stream (the first block starts by filling the book)."""
        ints = np.empty((4, records), np.int64)
        small = np.empty((2, records), np.uint32)
        byte = np.empty((3, records), np.uint8)
        _draw(self.book, self.ring, self.state, ints, small, byte)
        return Stream(ints[0], ints[1], ints[2], ints[3], small[0], small[1], *byte)


@njit
def _random(state, below):
    x = state[0]
    x ^= x << 13
    x ^= (x >> 7) & 0x1FFFFFFFFFFFFFF
    x ^= x << 17
    state[0] = x
    return ((x >> 11) & 0x7FFFFFFFFFFF) % below


@njit
def _pick(book, ring, state):
    """Slot of a resting order, nearly always a recent one."""
    if _random(state, 100) < 90:
        for _ in range(8):
            back = _random(state, min(ring.shape[0], state[1] + 1))
            slot = ob.find(book, ring[(state[1] - back) % ring.shape[0]])
            if slot >= 0:
                return slot
    while True:
        slot = _random(state, book.meta[ob.USED_ORDERS])
        if ob.find(book, book.orders[slot, ob.ORDER_ID]) == slot:
            return slot


@njit
def _new_price(book, state, side):
    """A price that does not cross: mostly near the touch, now and then far behind it."""
    here, there = book.meta[side], book.meta[1 - side]
    back = np.int64(0)
    while _random(state, 100) < 62 and back < 40:
        back += 1
    if _random(state, 100) < 4:
        back += _random(state, 800)
    if here == 0 or there == 0:
        distance = (1 + back) * TICK
        return START - distance if side == 0 else START + distance
    own, opposite = ob.best_price(book, side), ob.best_price(book, 1 - side)
    sign = 1 if side == 0 else -1
    inner = own + sign * TICK
    if back == 0 and (opposite - inner) * sign > 0 and _random(state, 100) < 60:
        return inner
    return own - sign * back * TICK


@njit
def _draw(book, ring, state, ints, small, byte):
    n = ints.shape[1]
    i = 0
    clock = state[5]
    while i < n:
        live = book.meta[ob.N_ORDERS]
        draw = _random(state, 1000)
        side = np.int64(_random(state, 2))
        filling = live < state[2] - 64
        # Gaps between events vary by orders of magnitude, as they do on a venue.
        clock += 200 + _random(state, np.int64(1) << (4 + _random(state, 24)))
        last = i
        add = filling or draw < 400
        if live > state[2] + 64:
            add = False
        if add or book.meta[0] < 5 or book.meta[1] < 5 or i + 3 > n:
            if book.meta[0] < 5 or book.meta[1] < 5:
                side = np.int64(book.meta[1] < book.meta[0])
            price = _new_price(book, state, side)
            state[1] += 1
            order_id = 6_412_000_000_000 + state[1] * 7
            size = 1 + _random(state, 8)
            ob.add(book, side, price, size, order_id, clock)
            ring[state[1] % ring.shape[0]] = order_id
            _put(ints, small, byte, i, 65, side, price, size, order_id)
            i += 1
        elif draw < 700:
            slot = _pick(book, ring, state)
            order_id, side = book.orders[slot, ob.ORDER_ID], ob.order_side(book, slot)
            price, size = ob.order_price(book, slot), book.orders[slot, ob.SIZE]
            ob.remove(book, slot)
            _put(ints, small, byte, i, 67, side, price, size, order_id)
            i += 1
        elif draw < 940:
            slot = _pick(book, ring, state)
            order_id, side = book.orders[slot, ob.ORDER_ID], ob.order_side(book, slot)
            price, size = ob.order_price(book, slot), book.orders[slot, ob.SIZE]
            if size > 1 and _random(state, 100) < 25:
                size -= 1
                ob.resize(book, slot, size)
            else:
                price = _new_price(book, state, side)
                ob.move(book, slot, side, price, size, clock)
            _put(ints, small, byte, i, 77, side, price, size, order_id)
            i += 1
        else:
            fills = 1 + min(_random(state, 4), _random(state, 4))
            if i + 1 + 2 * fills > n:
                fills = 1
            trade = i
            total = np.int64(0)
            i += 1
            for k in range(fills):
                level = ob.level_at(book, side, 0)
                slot = ob.first_order(book, level)
                order_id, size = book.orders[slot, ob.ORDER_ID], book.orders[slot, ob.SIZE]
                price = book.levels[level, ob.PRICE]
                done = size
                if k == fills - 1 and size > 1 and _random(state, 100) < 50:
                    done = size - 1
                _put(ints, small, byte, i, 70, side, price, done, order_id)
                if done == size:
                    ob.remove(book, slot)
                    _put(ints, small, byte, i + 1, 67, side, price, size, order_id)
                else:
                    ob.resize(book, slot, size - done)
                    _put(ints, small, byte, i + 1, 77, side, price, size - done, order_id)
                i += 2
                total += done
            _put(ints, small, byte, trade, 84, 1 - side, price, total, 0)
        received = max(clock + 15_000 + _random(state, 40_000), state[4])
        state[4] = received
        for k in range(last, i):
            ints[0, k] = received
            ints[1, k] = clock
            small[1, k] = state[3] & 0xFFFFFFFF
        state[3] += 1
        byte[0, i - 1] = 128
    state[5] = clock


@njit
def _put(ints, small, byte, i, action, side, price, size, order_id):
    ints[2, i] = order_id
    ints[3, i] = price
    small[0, i] = size
    byte[0, i] = 0
    byte[1, i] = action
    byte[2, i] = 66 if side == 0 else 65
