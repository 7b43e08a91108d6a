"""Yardsticks: the same records through a plain Python book, and through other libraries.

nautilus_trader and hftbacktest are never required: ``pip install nautilus_trader hftbacktest``
in an environment of their own (they pin other versions) and start the benchmark from there.
What a library needs before it can start (objects, a format of its own) is not counted.
"""

from __future__ import annotations

import importlib
import time
from bisect import bisect_left, insort
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.figures import Figure
from pipeline.book.tape import Records
from pipeline.units import F_LAST, UNDEF_PRICE

PLAIN_RECORDS: Final = 300_000
NAUTILUS_RECORDS: Final = 500_000
HFTBACKTEST_RECORDS: Final = 2_000_000
MINUTE: Final = 60_000_000_000
MAKER_STEP: Final = 10_000_000
"""How often hftbacktest's maker looks, in ns."""
A, C, F, M, N, R, T = (ord(letter) for letter in "ACFMNRT")


def first(records: Records, count: int) -> Records:
    """The first whole events of at most so many records."""
    flags = records.flags[:count]
    stop = int(np.flatnonzero(flags & F_LAST)[-1]) + 1
    return Records._make(column[:stop] for column in records)


class PlainBook:
    """Orders and queues (in order of arrival) in dictionaries, prices in sorted lists."""

    def __init__(self) -> None:
        self.orders: dict[int, list[int]] = {}
        self.sides: tuple[dict[int, dict[int, int]], dict[int, dict[int, int]]] = ({}, {})
        self.prices: tuple[list[int], list[int]] = ([], [])

    def add(self, order_id: int, side: int, price: int, size: int) -> None:
        """An order joins its queue."""
        self.orders[order_id] = [side, price]
        queues = self.sides[side]
        if price not in queues:
            queues[price] = {}
            insort(self.prices[side], price)
        queues[price][order_id] = size

    def remove(self, order_id: int) -> None:
        """An order leaves."""
        side, price = self.orders.pop(order_id)
        queue = self.sides[side][price]
        del queue[order_id]
        if not queue:
            del self.sides[side][price]
            prices = self.prices[side]
            del prices[bisect_left(prices, price)]

    def apply(self, action: int, order_id: int, side: int, price: int, size: int) -> None:
        """One record."""
        if action == A:
            self.add(order_id, side, price, size)
        elif action == C:
            if order_id in self.orders:
                self.remove(order_id)
        elif action == M:
            old = self.orders.get(order_id)
            if old is None:
                self.add(order_id, side, price, size)
            elif old == [side, price] and self.sides[side][price][order_id] >= size:
                self.sides[side][price][order_id] = size
            else:
                self.remove(order_id)
                self.add(order_id, side, price, size)
        elif action == R:
            self.__init__()  # type: ignore[misc]

    def touch(self) -> tuple[int | None, int | None]:
        """Best bid and ask."""
        bids, asks = self.prices
        return bids[-1] if bids else None, asks[0] if asks else None


def plain_python(records: Records) -> Figure:
    """A book of dictionaries, queue order kept; the touch is looked at after every event."""
    part = first(records, PLAIN_RECORDS)
    columns = (part.action, part.order_id, part.side != ord("B"), part.price, part.size)
    rows = list(zip(*(c.tolist() for c in columns), (part.flags & F_LAST).tolist(), strict=True))
    book = PlainBook()
    started = time.thread_time()
    for action, order_id, side, price, size, last in rows:
        book.apply(action, order_id, side, price, size)
        if last:
            book.touch()
    return Figure("plain Python book, touch", len(rows), time.thread_time() - started)


def nautilus(records: Records) -> Figure | None:
    """nautilus_trader's level-3 ``OrderBook``, deltas made beforehand; None where not installed."""
    if find_spec("nautilus_trader") is None:
        return None
    data = importlib.import_module("nautilus_trader.model.data")
    enums = importlib.import_module("nautilus_trader.model.enums")
    objects = importlib.import_module("nautilus_trader.model.objects")
    book_type = importlib.import_module("nautilus_trader.model.book").OrderBook
    identifier = importlib.import_module("nautilus_trader.model.identifiers").InstrumentId
    instrument = identifier.from_str("ES.GLBX")
    part = first(records, NAUTILUS_RECORDS)
    actions = {A: enums.BookAction.ADD, C: enums.BookAction.DELETE, M: enums.BookAction.UPDATE}
    deltas = []
    for i in range(len(part.flags)):
        action = actions.get(int(part.action[i]))
        if action is None or part.price[i] == UNDEF_PRICE:
            continue
        side = enums.OrderSide.BUY if part.side[i] == ord("B") else enums.OrderSide.SELL
        order = data.BookOrder(
            side,
            objects.Price.from_raw(int(part.price[i]) * 10 ** (objects.FIXED_PRECISION - 9), 2),
            objects.Quantity.from_int(int(part.size[i])),
            int(part.order_id[i]),
        )
        received = int(part.ts_recv[i])
        deltas.append(data.OrderBookDelta(instrument, action, order, 0, i, received, received))
    book = book_type(instrument, enums.BookType.L3_MBO)
    started = time.thread_time()
    for delta in deltas:
        book.apply_delta(delta)
    seconds = time.thread_time() - started
    note = "levels; order of queues not kept everywhere"
    return Figure("nautilus_trader OrderBook", len(part.flags), seconds, note=note)


def hftbacktest(records: Records) -> Figure | None:
    """hftbacktest replaying level-3 events, already converted; None where not installed."""
    if find_spec("hftbacktest") is None:
        return None
    hbt = importlib.import_module("hftbacktest")
    events = hftbacktest_events(hbt, first(records, HFTBACKTEST_RECORDS))
    _replay(hbt, events[:1000])  # compiles
    seconds = _replay(hbt, events)
    note = "replay without a strategy, converted beforehand"
    return Figure("hftbacktest L3 replay", len(events), seconds, note=note)


def hftbacktest_maker(records: Records) -> Figure | None:
    """A market maker at the touch in hftbacktest, exact level-3 queue; None where not installed."""
    if find_spec("hftbacktest") is None:
        return None
    hbt = importlib.import_module("hftbacktest")
    events = hftbacktest_events(hbt, first(records, HFTBACKTEST_RECORDS))
    quote = _maker(hbt)
    quote(_backtest(hbt, events[:1000]), MAKER_STEP)  # compiles
    run = _backtest(hbt, events)
    started = time.thread_time()
    orders = quote(run, MAKER_STEP)
    seconds = time.thread_time() - started
    note = "looks every 10 ms, converted beforehand"
    return Figure("hftbacktest, a maker at the touch", len(events), seconds, rows=orders, note=note)


def _maker(hbt: Any) -> Any:
    """One contract on each side of the touch, following it; at most five held."""
    numba = importlib.import_module("numba")
    good_till_crossing, limit, buy = hbt.GTX, hbt.LIMIT, hbt.BUY

    def quote(run, step):
        sent = 0
        while run.elapse(step) == 0:
            run.clear_inactive_orders(0)
            depth, position = run.depth(0), run.position(0)
            bid_there = ask_there = False
            orders = run.orders(0).values()
            while orders.has_next():
                order = orders.get()
                if order.side == buy:
                    stays = order.price_tick == depth.best_bid_tick and position < 5
                    bid_there = True
                else:
                    stays = order.price_tick == depth.best_ask_tick and position > -5
                    ask_there = True
                if not stays and order.cancellable:
                    run.cancel(0, order.order_id, False)
            if not bid_there and position < 5 and depth.best_bid > 0:
                sent += 1
                number = np.uint64(2**62 + sent)
                run.submit_buy_order(
                    0, number, depth.best_bid, 1.0, good_till_crossing, limit, False
                )
            if not ask_there and position > -5 and depth.best_ask > 0:
                sent += 1
                number = np.uint64(2**62 + sent)
                run.submit_sell_order(
                    0, number, depth.best_ask, 1.0, good_till_crossing, limit, False
                )
        return sent

    return numba.njit(quote)


def _replay(hbt: Any, events: npt.NDArray[Any]) -> float:
    """Seconds to play events through, without orders of ours."""
    run = _backtest(hbt, events)
    started = time.thread_time()
    while run.elapse(MINUTE) == 0:
        pass
    return time.thread_time() - started


def _backtest(hbt: Any, events: npt.NDArray[Any]) -> Any:
    """One future, latencies of a millisecond, first in first out."""
    asset = (
        hbt.BacktestAsset()
        .data([events])
        .linear_asset(50.0)
        .constant_order_latency(1_000_000, 1_000_000)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(0.25)
        .lot_size(1.0)
    )
    return hbt.HashMapMarketDepthBacktest([asset])


def hftbacktest_events(hbt: Any, records: Records) -> npt.NDArray[Any]:
    """Records in hftbacktest's format; what it has no event for (F, N) is left out."""
    kinds = {
        A: hbt.ADD_ORDER_EVENT, C: hbt.CANCEL_ORDER_EVENT, M: hbt.MODIFY_ORDER_EVENT,
        T: hbt.TRADE_EVENT, R: hbt.DEPTH_CLEAR_EVENT,
    }  # fmt: skip
    kept = np.isin(records.action, list(kinds))
    part = Records._make(column[kept] for column in records)
    kind = np.zeros(256, np.uint64)
    for action, event in kinds.items():
        kind[action] = event
    events = np.zeros(len(part.flags), hbt.event_dtype)
    side = np.where(part.side == ord("B"), np.uint64(hbt.BUY_EVENT), np.uint64(hbt.SELL_EVENT))
    both = np.uint64(hbt.EXCH_EVENT | hbt.LOCAL_EVENT)
    events["ev"] = kind[part.action] | side | both
    # Its two clocks must each be in order.
    events["exch_ts"] = np.maximum.accumulate(np.minimum(part.ts_event, part.ts_recv))
    events["local_ts"] = np.maximum.accumulate(part.ts_recv)
    events["px"] = np.where(part.price == UNDEF_PRICE, np.nan, part.price / 1e9)
    events["qty"] = part.size
    events["order_id"] = part.order_id.view(np.uint64)
    return events
