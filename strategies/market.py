"""What an event strategy sees and does: the argument ``m`` of its callbacks.

Everything is as *received*: at time ``now`` the book is that of the last event that had reached
us, ``position`` counts the fills we had heard of, an order is ``working`` until we hear of its
end.  Prices are whole numbers of 1e-9, times are ns UTC, sizes are contracts; an empty side of
the book has the price ``NO_PRICE``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pipeline.book import orders as ob
from pipeline.book.layout import Book, Scalar
from pipeline.errors import RequestError
from pipeline.jit import kernel
from pipeline.narrowing import not_whole, whole_parameters
from pipeline.structs import Floats1, Ints1, Ints2, Struct, Word, at_address, compilable, methods
from strategies import layout as la
from strategies.layout import (
    BUY,
    DAY,
    FOK,
    GTC,
    IOC,
    LIMIT,
    MARKET,
    NO_PRICE,
    PEGGED,
    SELL,
    STOP,
    STOP_LIMIT,
)

__all__ = ["BUY", "DAY", "FOK", "GTC", "IOC", "NO_PRICE", "SELL", "Market"]

_WORDS: Final = {
    name: Word("reals" if name in la.REAL else "block", place, name in la.FLAGS)
    for name, place in la.WORD.items()
}


_NOW, _OVERFLOW = la.WORD["now"], la.WORD["overflow"]
_N_COMMANDS, _NEXT_ORDER = la.WORD["n_commands"], la.WORD["next_order"]

READS_BOOK: Final = frozenset({"levels", "price_at", "size_at", "orders_at", "queue_ahead"})
"""Methods that need the book as received, not only its touch."""


class Market(Struct, words=_WORDS, read_only=True):
    """The market of one instrument, and our orders in it."""

    block: Ints1
    """The words of :mod:`strategies.layout`."""
    reals: Floats1
    """The same memory as float64."""
    commands: Ints2
    known: Ints2
    """What we know of our orders, a row an order."""
    features: Floats1
    """The last decision point's features, nan where undefined."""
    peers: Ints1
    """Addresses of the markets of all instruments of the run, this one's among them."""
    mail: Ints1
    """By instrument: whether this callback has given it commands."""
    seen: Book
    """The book as received; kept only where a strategy reads beyond the touch."""

    # The words, for editors and type checkers.
    now: int
    """Time of this callback, ns UTC."""
    instrument: int
    """Number of this instrument in the run, from 0; see :meth:`of`."""
    instruments: int
    session: int
    """Number of the session's date among those of the run, from 0: the same for all instruments."""
    event: int
    bid: int
    ask: int
    bid_size: int
    ask_size: int
    bid_orders: int
    ask_orders: int
    valid: bool
    """The contents of the book are known to be complete."""
    crossed: bool
    open: bool
    """Continuous trading: the session is open and no break is on."""
    last_price: int
    last_size: int
    last_side: int
    """1: a buyer was the aggressor of the last print, -1: a seller, 0: neither is known."""
    last_ts: int
    traded: int
    """Contracts printed in the event just received."""
    has_book: bool
    position: int
    cash: int
    """Minus price times size of all fills heard of, 1e-9 x contracts."""
    fees: float
    working: int
    """Orders sent whose end we have not heard of."""
    tick: int
    multiplier: float
    maker_fee: float
    """Of a contract that rested, in ticks, this session."""
    taker_fee: float
    """Of a contract that crossed, in ticks, this session."""
    opens_at: int
    closes_at: int
    """When the session is to end, by the calendar."""
    fill_order: int
    fill_price: int
    fill_size: int
    fill_side: int
    fill_role: int
    fill_left: int
    update_order: int
    update_state: int
    update_reason: int
    timer: int
    """In ``on_timer``: the tag it was set with."""

    # --- orders -----------------------------------------------------------------------------------

    def buy(self, price: int, size: int, tif: int = DAY, post_only: bool = False) -> int:
        """Send a limit order to buy; returns its number."""
        return _place(self, BUY, LIMIT, tif, price, size, 0, post_only, 0)

    def sell(self, price: int, size: int, tif: int = DAY, post_only: bool = False) -> int:
        """Send a limit order to sell; returns its number."""
        return _place(self, SELL, LIMIT, tif, price, size, 0, post_only, 0)

    def limit(
        self, side: int, price: int, size: int, tif: int = DAY, post_only: bool = False
    ) -> int:
        """Send a limit order of a side, BUY or SELL."""
        return _place(self, side, LIMIT, tif, price, size, 0, post_only, 0)

    def market(self, side: int, size: int) -> int:
        """Send a market order: what it does not find at once is cancelled."""
        return _place(self, side, MARKET, IOC, NO_PRICE, size, 0, False, 0)

    def stop(self, side: int, trigger: int, size: int, tif: int = DAY) -> int:
        """Send a stop: a market order once a trade prints at the trigger or beyond it."""
        return _place(self, side, STOP, tif, NO_PRICE, size, trigger, False, 0)

    def stop_limit(self, side: int, trigger: int, price: int, size: int, tif: int = DAY) -> int:
        """Send a stop that becomes a limit order."""
        return _place(self, side, STOP_LIMIT, tif, price, size, trigger, False, 0)

    def pegged(self, side: int, offset: int, size: int, tif: int = DAY) -> int:
        """Send an order that follows the touch of its side, ``offset`` (1e-9) behind it."""
        return _place(self, side, PEGGED, tif, NO_PRICE, size, 0, True, offset)

    def cancel(self, order: int) -> None:
        """Ask for an order's end."""
        _command(self, la.CANCEL, order, 0, 0)

    def replace(self, order: int, price: int, size: int) -> None:
        """Ask for another price (a stop's trigger, a peg's offset) and another size in all."""
        _command(self, la.REPLACE, order, price, size)

    def cancel_all(self) -> None:
        """Ask for the end of every working order of this instrument."""
        _command(self, la.CANCEL_ALL, -1, 0, 0)

    def set_timer(self, at: int, tag: int = 0) -> None:
        """Have ``on_timer`` called at a time, not before now; timers die with their session."""
        _command(self, la.SET_TIMER, tag, at, 0)

    # --- our orders -------------------------------------------------------------------------------

    def is_working(self, order: int) -> bool:
        """Whether an order was sent and its end has not been heard of."""
        return _known(self, order, la.K_STATE) <= la.WORKING

    def order_price(self, order: int) -> int:
        """Its limit, as last confirmed."""
        return _known(self, order, la.K_PRICE)

    def remaining(self, order: int) -> int:
        """Contracts of a working order not yet filled; 0 once it has ended."""
        if _known(self, order, la.K_STATE) > la.WORKING:
            return 0
        return _known(self, order, la.K_SIZE) - _known(self, order, la.K_FILLED)

    def queue_ahead(self, order: int) -> int:
        """Contracts ahead of a resting order in the book as received; -1 where it has no place."""
        if _known(self, order, la.K_STATE) != la.WORKING:
            return -1
        return _ahead(self, order)

    # --- the book ---------------------------------------------------------------------------------

    def levels(self, side: int) -> int:
        """Price levels of a side, BUY for bids."""
        _need_book(self)
        return ob.n_levels(self.seen, _side(side))  # type: ignore[no-any-return]

    def price_at(self, side: int, depth: int) -> int:
        """Price of the level ``depth`` steps behind the touch (0 is the touch)."""
        return _level(self, side, depth, ob.PRICE)

    def size_at(self, side: int, depth: int) -> int:
        """Contracts at that level, 0 where there is none."""
        return _level(self, side, depth, ob.TOTAL)

    def orders_at(self, side: int, depth: int) -> int:
        """Orders at that level, 0 where there is none."""
        return _level(self, side, depth, ob.COUNT)

    # --- money, features, other instruments -------------------------------------------------------

    def two_sided(self) -> bool:
        """The book is known, has both sides and is not crossed."""
        return self.valid and not self.crossed and self.bid != NO_PRICE and self.ask != NO_PRICE

    def mid_ticks(self) -> float:
        """Mid in ticks, nan without both sides."""
        if self.bid == NO_PRICE or self.ask == NO_PRICE:
            return np.nan
        return (self.bid + self.ask) / (2.0 * self.tick)

    def profit(self) -> float:
        """Net profit so far in currency: realised and, at the mid received, unrealised."""
        value = float(self.cash)
        if self.position != 0:
            if self.bid == NO_PRICE or self.ask == NO_PRICE:
                return np.nan
            value += self.position * (0.5 * self.bid + 0.5 * self.ask)
        return value * 1e-9 * self.multiplier - self.fees

    def feature(self, number: int) -> float:
        """A feature of the last decision point received; nan where undefined, or before any."""
        _inside(number, self.features.shape[0])
        return self.features[number]  # type: ignore[no-any-return]

    def of(self, instrument: int) -> Market:
        """The market of another instrument of the run."""
        return _market_of(self, instrument)


@compilable
def _inside(number: Any, n: Any) -> None:
    """Numbers below 0 count from an array's end elsewhere; here they are mistakes."""
    if number < 0 or number >= n:
        raise IndexError("out of bounds")


@compilable
def _side(side: Any) -> Any:
    return np.int64(ob.BID) if side > 0 else np.int64(ob.ASK)


@compilable
def _place(
    m: Any, side: Any, type_: Any, tif: Any, price: Any, size: Any, stop: Any, post_only: Any,
    offset: Any,
) -> int:  # fmt: skip
    k = m.n_commands
    if k >= m.commands_rows:
        m.block[_OVERFLOW] = 1
        return -1
    m.block[_N_COMMANDS] = k + 1
    m.mail[m.instrument] = 1
    order, rows = m.next_order, m.commands
    m.block[_NEXT_ORDER] = order + 1
    rows[k, la.C_KIND] = la.PLACE
    rows[k, la.C_ORDER] = order
    rows[k, la.C_SIDE] = side
    rows[k, la.C_TYPE] = type_
    rows[k, la.C_TIF] = tif
    rows[k, la.C_PRICE] = price
    rows[k, la.C_SIZE] = size
    rows[k, la.C_STOP] = stop
    rows[k, la.C_POST_ONLY] = post_only
    rows[k, la.C_OFFSET] = offset
    return order  # type: ignore[no-any-return]


@compilable
def _command(m: Any, kind: Any, order: Any, price: Any, size: Any) -> None:
    k = m.n_commands
    if k >= m.commands_rows:
        m.block[_OVERFLOW] = 1
        return
    m.block[_N_COMMANDS] = k + 1
    m.mail[m.instrument] = 1
    rows = m.commands
    rows[k, la.C_KIND] = kind
    rows[k, la.C_ORDER] = order
    rows[k, la.C_PRICE] = price
    rows[k, la.C_SIZE] = size


@compilable
def _known(m: Any, order: Any, column: Any) -> int:
    """What is known of an order; one whose end was heard of long ago counts as ended."""
    row = order - m.first_known
    if row < 0 or row >= m.known_rows:
        return la.DONE if column == la.K_STATE else 0
    return m.known[row, column]  # type: ignore[no-any-return]


@compilable
def _need_book(m: Any) -> None:
    if not m.has_book:
        raise RuntimeError(
            "the book is kept where the source of a strategy has m.levels and the like"
        )


@compilable
def _level(m: Any, side: Any, depth: Any, column: Any) -> int:
    _need_book(m)
    return _word_at(m.seen, _side(side), np.int64(depth), np.int64(column))  # type: ignore[no-any-return]


@compilable
def _ahead(m: Any, order: Any) -> int:
    _need_book(m)
    marker = _known(m, order, la.K_MARKER)
    if marker < 0:
        return -1  # a stop that waits, or a peg without a touch
    side = _side(_known(m, order, la.K_SIDE))
    return _before(m.seen, side, _known(m, order, la.K_PRICE), marker)  # type: ignore[no-any-return]


# Kept on disk as kernels are: strategies that read the book link them, and need not compile them.


@kernel
def _word_at(book: Book, side: Scalar, depth: Scalar, column: Scalar) -> Scalar:
    if depth < 0 or depth >= ob.n_levels(book, side):
        return np.int64(NO_PRICE) if column == ob.PRICE else np.int64(0)
    return book.levels[ob.level_at(book, side, depth), column]


@kernel
def _before(book: Book, side: Scalar, price: Scalar, marker: Scalar) -> Scalar:
    """Contracts at a price that joined its queue up to a marker."""
    level = ob.find_level(book, side, price)
    ahead = np.int64(0)
    if level >= 0:
        slot = ob.first_order(book, level)
        while slot >= 0:
            if book.orders[slot, ob.PRIORITY] <= marker:
                ahead += book.orders[slot, ob.SIZE]
            slot = ob.next_order(book, slot)
    return ahead


_at = at_address(Market)


@compilable
def _market_of(m: Any, instrument: Any) -> Market:
    _inside(instrument, m.instruments)
    peer = _at(m.peers[instrument])
    peer.block[_NOW] = m.now
    return peer  # type: ignore[no-any-return]


def _strict(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A method as Python calls it: floats are refused where compiled code refuses them."""
    names, whole = whole_parameters(function)

    @functools.wraps(function)
    def checked(m: Market, *args: Any, **others: Any) -> Any:
        for given, value in (*zip(names, args, strict=False), *others.items()):
            if given in whole and isinstance(value, float | np.floating):
                raise RequestError(not_whole(name, given))
        return function(m, *args, **others)

    return checked if whole else function


_METHODS: Final = {
    name: function
    for name, function in vars(Market).items()
    if callable(function) and not name.startswith("_")
}
methods(Market, _METHODS)
for _name, _function in _METHODS.items():
    setattr(Market, _name, _strict(_name, _function))
