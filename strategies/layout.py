"""What an event strategy and the simulator share: one block of memory, and a few tables.

The block is an array of int64 words; the words named in ``REAL`` hold the bits of a float64.
Prices are in 1e-9 units, times in ns, UTC.  What a strategy sees is what had reached it: ``bid``
is the best bid of the last event *received*, ``position`` counts the fills it has heard of.
Strategies use :class:`strategies.market.Market`, never the numbers of the words.
"""

from __future__ import annotations

from typing import Final

NO_PRICE: Final = 2**63 - 1
"""A price that is not there, as everywhere in kernels."""

_NAMES: Final = (
    # who and when
    "now", "instrument", "instruments", "words", "session", "event",
    # the book as received
    "bid", "ask", "bid_size", "ask_size", "bid_orders", "ask_orders", "valid", "crossed", "open",
    # prints: the last one, and those of the last event
    "last_price", "last_size", "last_side", "last_ts", "traded",
    # us, as far as we have heard
    "position", "cash", "fees", "working",
    # the instrument and the session
    "tick", "multiplier", "maker_fee", "taker_fee", "opens_at", "closes_at",
    # commands of this callback
    "n_commands", "next_order", "overflow", "first_known",
    # the fill or the order that a callback is about
    "fill_order", "fill_price", "fill_size", "fill_side", "fill_role", "fill_left",
    "update_order", "update_state", "update_reason", "timer",
    # how long the tables are
    "commands_rows", "known_rows", "has_book",
)  # fmt: skip

WORD: Final = {name: place for place, name in enumerate(_NAMES)}
"""Number of a word by its name."""

REAL: Final = frozenset({"fees", "multiplier", "maker_fee", "taker_fee"})
"""Words that hold a float64."""
FLAGS: Final = frozenset({"valid", "crossed", "open", "has_book"})
"""Words that are true or false."""

BLOCK_WORDS: Final = 64
assert len(_NAMES) <= BLOCK_WORDS

# --- callbacks ------------------------------------------------------------------------------------
INITIALIZE, SESSION_START, MARKET_EVENT, TIMER, FILL, ORDER, REJECT = range(7)
CALLBACKS: Final = (
    "initialize",
    "on_session_start",
    "on_market_event",
    "on_timer",
    "on_fill",
    "on_order",
    "on_reject",
)
"""Methods of a strategy by the number the simulator calls them by."""

# --- when on_market_event is called ---------------------------------------------------------------
WAKES: Final = ("event", "touch", "trade", "never")
WAKE_EVENT, WAKE_TOUCH, WAKE_TRADE, WAKE_NEVER = range(4)

# --- orders ---------------------------------------------------------------------------------------
BUY: Final = 1
SELL: Final = -1
LIMIT, MARKET, STOP, STOP_LIMIT, PEGGED = range(5)
GTC, IOC, DAY, FOK = range(4)
MAKER, TAKER, AUCTION = range(3)
PENDING, WORKING, DONE, CANCELLED, REJECTED, EXPIRED = range(6)
"""States of an order as far as we have heard: sent, resting, filled, ...; codes of the venue's."""

# --- commands: int64[n, 12] -----------------------------------------------------------------------
(
    C_KIND,
    C_ORDER,
    C_SIDE,
    C_TYPE,
    C_TIF,
    C_PRICE,
    C_SIZE,
    C_STOP,
    C_POST_ONLY,
    C_OFFSET,
) = range(10)
COMMAND_COLUMNS: Final = 12
COMMANDS: Final = 256
"""Commands a callback can give; one more is an error, never a drop."""
PLACE, CANCEL, REPLACE, CANCEL_ALL, SET_TIMER = range(5)

# --- what is known of an order: int64[n, 8], a row an order, row = number - first_known ----------
K_STATE, K_SIDE, K_PRICE, K_SIZE, K_FILLED, K_MARKER = range(6)
KNOWN_COLUMNS: Final = 8
