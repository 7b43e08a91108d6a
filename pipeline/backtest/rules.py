"""The fill rules (DESIGN.md 5): which market record fills which of our resting orders.

Three readings, each a simulation of its own.  **exact**: our place in the queue, order by order.
**optimistic**: as if nothing were ahead of us.  **pessimistic**: only an F at a strictly worse
price fills us.

An event is taken record by record: an F fills at once, what comes to rest and T records without
F are judged at the event's end.  What we get of an event never exceeds what its aggressors
executed or left resting; better-priced orders of ours come first, then earlier ones.
"""

from __future__ import annotations

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.state import Sim
from pipeline.backtest.venue import end_all, fill, remaining
from pipeline.book import orders as ob
from pipeline.book.layout import Scalar
from pipeline.jit import inline, inner
from pipeline.units import UNDEF_PRICE


@inline
def any_live(sim: Sim) -> Scalar:
    """Number of our resting orders."""
    return sim.meta[st.N_LIVE] + sim.meta[st.N_LIVE + 1]


@inline
def event_in_progress(sim: Sim) -> Scalar:
    """Key of the event under way."""
    return sim.meta[st.EVENT_BASE] + sim.meta[st.EVENT_NUMBER] + 1


# --- the queue ahead ------------------------------------------------------------------------------


@inner
def shrink_ahead(sim: Sim, change: ob.Change) -> None:
    """Size that left a queue, or went to its tail, is no longer ahead of those behind it."""
    side = change.old_side
    left = change.old_size
    if change.effect == ob.KEPT or change.effect == ob.REDUCED:
        left -= change.new_size
    for i in range(sim.meta[st.N_LIVE + side]):
        row = sim.live[side, i]
        if (
            sim.own[row, st.O_PRICE] == change.old_price
            and change.old_priority <= sim.own[row, st.O_MARKER]
        ):
            sim.own[row, st.O_AHEAD] -= left


@inner
def save_queues(sim: Sim) -> None:
    """Before a snapshot: remember who is ahead of us, and what we took, by order id."""
    book, meta, saved = sim.book, sim.meta, sim.saved
    n = np.int64(0)
    for side in range(2):
        for i in range(meta[st.N_LIVE + side]):
            row = sim.live[side, i]
            price = sim.own[row, st.O_PRICE]
            later = i + 1 < meta[st.N_LIVE + side]
            if later and sim.own[sim.live[side, i + 1], st.O_PRICE] == price:
                continue  # the last of ours at a price has all that is ahead of any of them
            level = ob.find_level(book, side, price)
            if level < 0:
                continue
            slot = ob.first_order(book, level)
            while slot >= 0:
                if book.orders[slot, ob.PRIORITY] <= sim.own[row, st.O_MARKER]:
                    saved[n, 0] = book.orders[slot, ob.ORDER_ID]
                    saved[n, 1] = book.orders[slot, ob.PRIORITY]
                    saved[n, 2] = price
                    saved[n, 3] = side
                    n += 1
                slot = ob.next_order(book, slot)
    meta[st.N_SAVED] = n
    if meta[st.TAKEN_ANY]:
        for side in range(2):
            for depth in range(ob.n_levels(book, side)):
                slot = ob.first_order(book, ob.level_at(book, side, depth))
                while slot >= 0:
                    if sim.taken[slot] > 0:
                        saved[n, 0] = book.orders[slot, ob.ORDER_ID]
                        saved[n, 1] = sim.taken[slot]
                        n += 1
                    slot = ob.next_order(book, slot)
        sim.taken[:] = 0
    meta[st.N_SAVED_ALL] = n
    meta[st.SNAPPING] = 1


@inner
def restore_queues(sim: Sim) -> None:
    """After a snapshot: those ahead of us that are still there are ahead again, by id."""
    book, meta, saved = sim.book, sim.meta, sim.saved
    for k in range(meta[st.N_SAVED_ALL]):
        slot = ob.find(book, saved[k, 0])
        if slot < 0:
            continue
        if k >= meta[st.N_SAVED]:
            sim.taken[slot] = min(saved[k, 1], book.orders[slot, ob.SIZE])
        elif ob.order_price(book, slot) == saved[k, 2] and ob.order_side(book, slot) == saved[k, 3]:
            book.orders[slot, ob.PRIORITY] = saved[k, 1]
    for side in range(2):
        for i in range(meta[st.N_LIVE + side]):
            row = sim.live[side, i]
            ahead = np.int64(0)
            level = ob.find_level(book, side, sim.own[row, st.O_PRICE])
            if level >= 0:
                slot = ob.first_order(book, level)
                while slot >= 0:
                    if book.orders[slot, ob.PRIORITY] <= sim.own[row, st.O_MARKER]:
                        ahead += book.orders[slot, ob.SIZE]
                    slot = ob.next_order(book, slot)
            sim.own[row, st.O_AHEAD] = ahead
    meta[st.SNAPPING] = meta[st.N_SAVED] = meta[st.N_SAVED_ALL] = 0


@inner
def lose_book(sim: Sim) -> None:
    """A clear that is no snapshot: the venue dropped all orders, ours too."""
    end_all(sim, np.int64(st.CANCELLED), np.int64(st.WHY_CLEARED), np.int64(-1))
    sim.taken[:] = 0
    sim.meta[st.TAKEN_ANY] = 0


# --- executions -----------------------------------------------------------------------------------


@inner
def _meet(
    sim: Sim, side: Scalar, price: Scalar, size: Scalar, priority: Scalar, record: Scalar
) -> None:
    """An F at a price met an order of ``priority`` (-1: unknown); ours before it come first."""
    own, reading = sim.own, sim.conf[st.READING]
    key = ob.key_of(side, price)
    left, i = size, np.int64(0)
    while left > 0 and i < sim.meta[st.N_LIVE + side]:
        row = sim.live[side, i]
        ours = ob.key_of(side, own[row, st.O_PRICE])
        if ours < key:
            return
        reason = np.int64(st.BY_WORSE_PRICE)
        if ours == key:
            if reading == st.PESSIMISTIC:
                return
            reason = np.int64(st.BY_NOTHING_AHEAD)
            if priority > own[row, st.O_MARKER]:
                reason = np.int64(st.BY_BEHIND)
            elif reading == st.EXACT:
                i += 1
                continue
        part = min(left, remaining(sim, row))
        whole = part == remaining(sim, row)
        price_here = own[row, st.O_PRICE]
        fill(sim, row, part, price_here, np.int64(st.MAKER), reason, event_in_progress(sim), record)
        left -= part
        if not whole:
            return


@inner
def auction(sim: Sim, record: Scalar) -> None:
    """The auction of this event fills what is priced better than it, up to its volume."""
    own, meta = sim.own, sim.meta
    price = meta[st.E_AUCTION_PRICE]
    for side in range(2):
        i = np.int64(0)
        while i < meta[st.N_LIVE + side]:
            row = sim.live[side, i]
            left = meta[st.E_AUCTION_SIZE] - meta[st.E_AUCTION_USED + side]
            better = ob.key_of(side, own[row, st.O_PRICE]) > ob.key_of(side, price)
            if left <= 0 or not better:
                break
            part = min(left, remaining(sim, row))
            meta[st.E_AUCTION_USED + side] += part
            whole = part == remaining(sim, row)
            fill(
                sim, row, part, price, np.int64(st.AUCTION), np.int64(st.BY_AUCTION),
                event_in_progress(sim), record,
            )  # fmt: skip
            if not whole:
                break


@inner
def _auction_queue(
    sim: Sim, side: Scalar, price: Scalar, size: Scalar, priority: Scalar, record: Scalar
) -> None:
    """An F of the auction at our very limit: ours before that order come first."""
    own, meta, reading = sim.own, sim.meta, sim.conf[st.READING]
    if reading == st.PESSIMISTIC:
        return
    left, i = size, np.int64(0)
    while left > 0 and i < meta[st.N_LIVE + side]:
        row = sim.live[side, i]
        at_limit = own[row, st.O_PRICE] == price
        let_in = reading == st.OPTIMISTIC or priority > own[row, st.O_MARKER]
        left = min(left, meta[st.E_AUCTION_SIZE] - meta[st.E_AUCTION_USED + side])
        if not at_limit or not let_in or left <= 0:
            i += 1
            continue
        part = min(left, remaining(sim, row))
        whole = part == remaining(sim, row)
        meta[st.E_AUCTION_USED + side] += part
        fill(
            sim, row, part, price, np.int64(st.AUCTION), np.int64(st.BY_AUCTION_QUEUE),
            event_in_progress(sim), record,
        )  # fmt: skip
        left -= part
        if not whole:
            return


@inline
def on_trade(sim: Sim, side: Scalar, price: Scalar, size: Scalar) -> None:
    """A T record: says who attacked; fills nobody by itself."""
    meta = sim.meta
    meta[st.E_PRINT_SIDE] = side
    meta[st.E_HAS_PRINT] = 1
    if price != UNDEF_PRICE:
        if meta[st.E_TRADED] == 0:
            meta[st.TRADE_HIGH] = meta[st.TRADE_LOW] = price
        meta[st.TRADE_HIGH] = max(meta[st.TRADE_HIGH], price)
        meta[st.TRADE_LOW] = min(meta[st.TRADE_LOW], price)
        meta[st.E_TRADED] += size
        meta[st.TRADE_PRICE] = price
        meta[st.TRADE_SIZE] = size
        meta[st.TRADE_SIDE] = 0
        if side != ob.NO_SIDE:
            meta[st.TRADE_SIDE] = 1 if side == ob.BID else -1
    if side == ob.NO_SIDE:
        meta[st.E_AUCTION_PRICE] = price
        meta[st.E_AUCTION_SIZE] += size
    elif sim.conf[st.READING] == st.OPTIMISTIC and any_live(sim) > 0:
        k = meta[st.N_PRINTS]
        sim.prints[k, 0] = price
        sim.prints[k, 1] = size
        sim.prints[k, 2] = side
        meta[st.N_PRINTS] = k + 1


@inner
def _judge(sim: Sim, slot: Scalar, side: Scalar, price: Scalar, size: Scalar, rec: Scalar) -> None:
    """An F while orders of ours rest."""
    meta, book = sim.meta, sim.book
    of_auction = meta[st.E_PRINT_SIDE] == ob.NO_SIDE and (
        meta[st.E_HAS_PRINT] != 0 or side == ob.NO_SIDE
    )
    priority = np.int64(-1)
    if slot >= 0:
        if side == ob.NO_SIDE:
            side = ob.order_side(book, slot)
        if ob.order_side(book, slot) == side and ob.order_price(book, slot) == price:
            priority = book.orders[slot, ob.PRIORITY]
    if of_auction:
        # The auction that ends a crossed pre-open belongs to the open.
        if meta[st.VALID] == 0 or meta[st.PHASE] == st.PHASE_CLOSED:
            return
        auction(sim, rec)
        if side != ob.NO_SIDE:
            # An order whose limit is better than the auction's price is ahead: -1.
            _auction_queue(sim, side, price, size, priority, rec)
        return
    # An aggressor that was resting before (modified to cross) prints an F on its own side.
    own_print = meta[st.E_HAS_PRINT] and side == meta[st.E_PRINT_SIDE]
    if meta[st.E_ALLOWED] and side != ob.NO_SIDE and not own_print:
        _meet(sim, side, price, size, priority, rec)


@inline
def on_fill(
    sim: Sim, side: Scalar, price: Scalar, size: Scalar, order_id: Scalar, record: Scalar
) -> None:
    """An F record: a resting order was executed; tells whom the aggressor met."""
    slot = ob.find(sim.book, order_id)
    sim.meta[st.E_HAS_FILL] = 1
    if slot >= 0:
        ob.note_fill(sim.book, slot, size)
    if any_live(sim) > 0 and price != UNDEF_PRICE:
        _judge(sim, slot, side, price, size, record)


# --- what comes to rest ---------------------------------------------------------------------------


@inline
def on_change(sim: Sim, change: ob.Change, order_id: Scalar) -> None:
    """After an A, C or M: queues ahead shrink, taken sizes end, and who may have met us."""
    meta = sim.meta
    if meta[st.TAKEN_ANY] and change.slot >= 0:
        sim.taken[change.slot] = 0
    if any_live(sim) == 0:
        return
    if change.old_side != ob.NO_SIDE and meta[st.N_LIVE + change.old_side] > 0:
        shrink_ahead(sim, change)
    if change.effect != ob.MOVED and not ob.ADDED <= change.effect <= ob.ADDED_BY_MODIFY:
        return  # nothing came to the tail of a queue
    other = 1 - change.new_side
    if meta[st.N_LIVE + other] > 0:
        best = sim.own[sim.live[other, 0], st.O_PRICE]
        # At or through our price: no worse for us than our limit.
        if ob.key_of(other, change.new_price) <= ob.key_of(other, best):
            k = meta[st.N_RESTED]
            sim.rested[k] = order_id
            meta[st.N_RESTED] = k + 1


@inner
def came_to_rest(sim: Sim, record: Scalar) -> None:
    """At the event's end: opposite orders that now rest at or through our prices met us first."""
    own, meta, book = sim.own, sim.meta, sim.book
    for k in range(meta[st.N_RESTED]):
        slot = ob.find(book, sim.rested[k])
        if slot < 0:
            continue
        side = 1 - ob.order_side(book, slot)
        price = ob.order_price(book, slot)
        while meta[st.N_LIVE + side] > 0:
            row = sim.live[side, 0]
            left = book.orders[slot, ob.SIZE] - sim.taken[slot]
            if left <= 0 or ob.key_of(side, price) > ob.key_of(side, own[row, st.O_PRICE]):
                break
            part = min(left, remaining(sim, row))
            sim.taken[slot] += part
            meta[st.TAKEN_ANY] = 1
            fill(
                sim, row, part, own[row, st.O_PRICE], np.int64(st.MAKER),
                np.int64(st.BY_CAME_TO_REST), event_in_progress(sim), record,
            )  # fmt: skip


@inner
def prints_alone(sim: Sim, record: Scalar) -> None:
    """Optimistic: T records of an execution without any F count as if they had met us.

    Called when the next execution begins: on some venues T and F are events of their own.
    """
    own, meta = sim.own, sim.meta
    if meta[st.E_HAS_FILL] or meta[st.E_ALLOWED] == 0:
        meta[st.N_PRINTS] = 0
    for k in range(meta[st.N_PRINTS]):
        side = 1 - sim.prints[k, 2]
        left = sim.prints[k, 1]
        while left > 0 and meta[st.N_LIVE + side] > 0:
            row = sim.live[side, 0]
            if ob.key_of(side, own[row, st.O_PRICE]) < ob.key_of(side, sim.prints[k, 0]):
                break
            part = min(left, remaining(sim, row))
            left -= part
            fill(
                sim, row, part, own[row, st.O_PRICE], np.int64(st.MAKER),
                np.int64(st.BY_PRINT_ONLY), meta[st.LAST_EVENT], record,
            )  # fmt: skip
    meta[st.N_PRINTS] = 0
