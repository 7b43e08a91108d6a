"""Tables of the backtest: ``runs``, ``orders``, ``fills``, ``equity``, ``breakdowns``.

``run_id`` is their partition key, and for orders, fills and equity ``dataset`` and ``symbol``, too.
Money is decimal with nine digits, in the ledger's currency; prices are Int64 in 1e-9 units.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from pipeline.columns import MONEY, PRICE, SIZE, TEXT, TS, Column, col
from pipeline.tables import Table

MIN_SESSIONS: Final = 20
"""Ratios of returns are null under so many sessions."""
SESSIONS_A_YEAR: Final = 252

READINGS: Final = ("optimistic", "exact", "pessimistic")
"""Text of ``reading`` by its code in kernels; see :mod:`pipeline.backtest.rules`."""

ORDER_TYPES: Final = ("limit", "market", "stop", "stop_limit", "pegged")
"""Text of ``type`` by its code in kernels."""

TIMES_IN_FORCE: Final = ("gtc", "ioc", "day", "fok")
"""Text of ``tif`` by its code; DAY orders end with their session, GTC orders rest on."""

ORDER_STATUS: Final = ("sent", "resting", "filled", "cancelled", "rejected", "expired")
"""Text of ``status`` by its code in kernels."""

ORDER_REASONS: Final = (
    "none",
    "asked",
    "no_depth",
    "session_end",
    "book_cleared",
    "closed",
    "crossed",
    "invalid",
    "end_of_data",
    "too_late",
    "would_take",
    "not_whole",
    "self_match",
    "stop_passed",
    "risk_size",
    "risk_position",
    "risk_rate",
    "risk_loss",
    "flattening",
    "bad_order",
)
"""Text of ``orders.reason``: why an order ended without being filled whole."""

FILL_REASONS: Final = (
    "behind",
    "worse_price",
    "came_to_rest",
    "auction",
    "auction_queue",
    "nothing_ahead",
    "print_only",
    "took_depth",
)
"""Text of ``fills.reason``: the rule that filled us, see ``docs/fills.md``."""

ROLES: Final = ("maker", "taker", "auction")
"""Text of ``role`` by its code."""

MARKOUT_HORIZONS: Final = {
    "markout_100ms": 100_000_000,
    "markout_1s": 1_000_000_000,
    "markout_10s": 10_000_000_000,
    "markout_60s": 60_000_000_000,
}
"""Columns of ``fills`` and their horizons, ns of the venue's clock."""

ADVERSE_HORIZONS: Final = {"adverse_1s": "markout_1s", "adverse_10s": "markout_10s"}
"""Columns of ``runs`` and the markouts whose negative share they are."""

SPLITS: Final = {
    "session": "trading session",
    "hour": "hour of the day on the exchange's clock",
    "symbol": "instrument",
    "direction": "long or short, of the position",
    "side": "B or A, of the fills",
    "role": "maker, taker or auction, of the fills",
}
"""Ways in which ``breakdowns`` takes a run apart, and what a part is."""


_READING = col("reading", TEXT, "", "optimistic, exact or pessimistic: one simulation each")
_SESSION = col("session", pa.date32(), "", "trading session")
_SIDE = col("side", TEXT, "", "B we buy, A we sell")
_CURRENCY = col("currency", TEXT, "", "ISO 4217 code of the money")

ORDERS = Table(
    "orders",
    "run",
    1,
    "order of ours",
    (
        _READING,
        col("order", pa.int64(), "", "our number of the order, from 0 in each reading", "delta"),
        _SESSION,
        _SIDE,
        col("type", TEXT, "", "limit, market, stop, stop_limit or pegged"),
        col("tif", TEXT, "", "day (ends with its session), gtc, ioc or fok"),
        col("price", PRICE, "1e-9", "limit, after the last replacement", null=True),
        col("size", SIZE, "contracts", "size in all, after the last replacement"),
        col("filled", SIZE, "contracts", "executed of it"),
        col("status", TEXT, "", "filled, cancelled, rejected or expired"),
        col("reason", TEXT, "", "why it ended otherwise than filled"),
        col("ts_decided", TS, "ns", "our clock: the decision", "delta"),
        col("ts_arrived", TS, "ns", "venue: it was due there", "delta", null=True),
        col("ts_ended", TS, "ns", "venue: filled, cancelled, rejected or expired", "delta"),
        col("event_arrived", pa.int64(), "", "last event before it arrived", "delta", null=True),
        col("ahead_at_entry", pa.int64(), "contracts", "size ahead at its price", null=True),
        col("orders_ahead", pa.int64(), "orders", "orders ahead when it joined", null=True),
        col("replaced", pa.uint32(), "", "replacements the venue carried out"),
        col("bid_px", PRICE, "1e-9", "best bid when it arrived", null=True),
        col("ask_px", PRICE, "1e-9", "best ask when it arrived", null=True),
    ),
)

FILLS = Table(
    "fills",
    "run",
    1,
    "fill of an order of ours",
    (
        _READING,
        col("fill", pa.int64(), "", "number of the fill, from 0 in each reading", "delta"),
        col("order", pa.int64(), "", "the order it belongs to", "delta"),
        _SESSION,
        col("ts", TS, "ns", "venue: when it happened", "delta"),
        col("ts_known", TS, "ns", "our clock: when we learned of it", "delta"),
        col("event", pa.int64(), "", "event that caused it; for a taker the last one", "delta"),
        col("record", pa.uint64(), "", "market record that caused it", "delta"),
        _SIDE,
        col("price", PRICE, "1e-9", "execution price"),
        col("size", SIZE, "contracts", "executed size"),
        col("role", TEXT, "", "maker, taker or auction"),
        col("reason", TEXT, "", "the fill rule that applied"),
        col("ahead_at_entry", pa.int64(), "contracts", "ahead when it joined", null=True),
        col("ahead", pa.int64(), "contracts", "still ahead at the fill", null=True),
        col("position", pa.int64(), "contracts", "position after the fill"),
        col("fee", MONEY, "currency", "fee of the fill; positive is paid"),
        col("realised", MONEY, "currency", "gross profit the fill realised, first in first out"),
        _CURRENCY,
        col("bid_px", PRICE, "1e-9", "best bid at the last event end before it", null=True),
        col("ask_px", PRICE, "1e-9", "best ask then", null=True),
        *(
            col(name, PRICE, "1e-9", f"mid minus price, signed for us, {name[8:]} later", null=True)
            for name in MARKOUT_HORIZONS
        ),
    ),
)

EQUITY = Table(
    "equity",
    "run",
    1,
    "mark: every minute of a session and at its end",
    (
        _READING,
        _SESSION,
        col("ts", TS, "ns", "venue: the mark", "delta"),
        col("event", pa.int64(), "", "last event then", "delta"),
        col("kind", TEXT, "", "clock, session_end or kill_switch"),
        col("position", pa.int64(), "contracts", "position"),
        col("mark_2x", PRICE, "2e-9", "bid plus ask marked with: twice the mid", null=True),
        col("cash", MONEY, "currency", "money from fills, fees apart"),
        col("value", MONEY, "currency", "position at the mid"),
        col("fees", MONEY, "currency", "fees paid so far"),
        col("equity", MONEY, "currency", "cash + value - fees, exactly"),
        col("realised", MONEY, "currency", "gross realised so far, first in first out"),
        col(
            "unrealised", MONEY, "currency", "gross of the open lots; realised + it - fees = equity"
        ),
        _CURRENCY,
    ),
)


def _money(name: str, description: str, *, null: bool = False) -> Column:
    return col(name, MONEY, "currency", description, null=null)


def _figure(name: str, unit: str, description: str) -> Column:
    return col(name, pa.float64(), unit, description, "plain", null=True)


_TRIPS = "from flat back to flat, or through it"
_MARKOUTS = tuple(
    _figure(name, "ticks", f"mean markout a contract, {name[8:]} after fills")
    for name in MARKOUT_HORIZONS
)
_ADVERSE = tuple(
    _figure(name, "share", f"maker contracts with a negative markout after {name[8:]}")
    for name in ADVERSE_HORIZONS
)
_AHEAD_AT_FILL = _figure(
    "ahead_at_fill", "contracts", "mean size still ahead of a contract executed while resting"
)

RUNS = Table(
    "runs",
    "run",
    2,
    "reading and currency of a run: what it was and how it went",
    (
        _READING,
        _CURRENCY,
        col("strategy", TEXT, "", "name of the strategy"),
        col("params", TEXT, "", "its parameters, JSON"),
        col("settings", TEXT, "", "latencies, fees, feature set, options, JSON"),
        col("source", TEXT, "", "sha256 of the strategy's file"),
        col("dataset", TEXT, "", "dataset, or several with commas"),
        col("symbols", TEXT, "", "symbols with commas"),
        col(
            "queue_model", TEXT, "", "exact, or approx where the match algorithm is not known FIFO"
        ),
        col("simulated", pa.bool_(), "", "the data are the built-in sample market"),
        col("first_session", pa.date32(), "", "first session traded", null=True),
        col("last_session", pa.date32(), "", "last session traded", null=True),
        col("sessions", pa.uint32(), "", "sessions traded"),
        col("skipped", TEXT, "", "sessions left out and why, JSON"),
        _money("net", "profit after fees: realised + unrealised - fees"),
        _money("gross", "profit before fees: realised + unrealised"),
        _money("fees", "fees paid"),
        _money("realised", "gross profit of what was closed, first in first out"),
        _money("unrealised", "gross profit of what is open at the last mark"),
        _money("net_long", "net profit of long positions, what is open included"),
        _money("net_short", "net profit of short positions; with net_long it makes net"),
        _money("capital", "starting equity that ratios refer to"),
        _money("turnover", "price times size times multiplier of all fills, absolute"),
        _money("max_drawdown", "largest fall of equity from its peak, over the marks", null=True),
        col("drawdown_peak", TS, "ns", "its peak; the first mark if the start is", null=True),
        col("drawdown_trough", TS, "ns", "where it was deepest", null=True),
        col("drawdown_recovery", TS, "ns", "equity back at the peak, if it came back", null=True),
        _figure("drawdown_s", "s", "from its peak to its recovery, or to the last mark"),
        _figure("drawdown_sessions", "sessions", "sessions it lasted, begun ones count"),
        _figure("underwater_s", "s", "longest time from a peak to the recovery, or last mark"),
        _figure("underwater_sessions", "sessions", "sessions of that spell"),
        _figure("sharpe", "1/sqrt(year)", "session returns, 252 a year; null under 20 sessions"),
        _figure("sortino", "1/sqrt(year)", "the same over downside deviation"),
        _figure("calmar", "1/year", "net profit of 252 mean sessions over the largest drawdown"),
        _figure("exposure", "share", "trading time with a position, of all symbols' together"),
        _figure("mean_position", "contracts", "absolute position of a symbol, mean over time"),
        col("max_position", pa.uint64(), "contracts", "largest position in any symbol"),
        _figure("mean_notional", "currency", "absolute value of positions, mean of clock marks"),
        _money("max_notional", "the same, largest at any mark", null=True),
        col("orders", pa.uint64(), "", "orders sent"),
        col("rejected", pa.uint64(), "", "orders rejected"),
        col("fills", pa.uint64(), "", "fills"),
        col("contracts", pa.uint64(), "contracts", "contracts executed"),
        _figure("fill_ratio", "share", "executed share of the size of orders that rested"),
        _figure("maker_share", "share", "share of contracts executed while resting"),
        _figure("ahead_at_entry", "contracts", "mean size ahead when orders joined a queue"),
        _AHEAD_AT_FILL,
        col("trades", pa.uint64(), "", f"round trips: {_TRIPS}"),
        col("trades_long", pa.uint64(), "", "of them long"),
        col("trades_short", pa.uint64(), "", "of them short"),
        _figure("hit_rate", "share", "round trips with net profit above 0"),
        _figure("profit_factor", "", "net profit of winners over net loss of losers"),
        _figure("average_trade", "currency", "net profit a round trip: the expectancy"),
        _figure("average_win", "currency", "net profit a winning round trip"),
        _figure("average_loss", "currency", "net profit a losing round trip; negative"),
        _figure("holding_s", "s", "mean duration of a round trip"),
        _figure("holding_median_s", "s", "median duration"),
        _figure("holding_max_s", "s", "longest duration"),
        *_MARKOUTS,
        *(
            _figure(f"{role}_{name}", "ticks", f"the same, {role} fills alone")
            for role in ("maker", "taker")
            for name in MARKOUT_HORIZONS
        ),
        *_ADVERSE,
    ),
)

BREAKDOWNS = Table(
    "breakdowns",
    "run",
    1,
    "reading, currency and part of a run: a session, an hour of the day, a symbol, ...",
    (
        _READING,
        _CURRENCY,
        col("split", TEXT, "", f"how the run is taken apart: {', '.join(SPLITS)}"),
        col("part", TEXT, "", "2025-05-01; 17 for 17:00 to 18:00; ESM5; long; B; maker; ..."),
        col("zone", TEXT, "", "time zone of an hour", null=True),
        col("rank", pa.int32(), "", "place in the split: an exchange's day begins at its open"),
        _money("net", "profit after fees; null for sides and roles", null=True),
        _money("gross", "profit before fees", null=True),
        _money("fees", "fees paid"),
        _money("turnover", "price times size times multiplier of fills, absolute", null=True),
        col("fills", pa.uint64(), "", "fills", null=True),
        col("contracts", pa.uint64(), "contracts", "contracts executed", null=True),
        _figure("maker_share", "share", "share of contracts executed while resting"),
        _AHEAD_AT_FILL,
        *_MARKOUTS,
        *_ADVERSE,
        col("trades", pa.uint64(), "", f"round trips closed: {_TRIPS}", null=True),
        _figure("hit_rate", "share", "round trips with net profit above 0"),
        _figure("profit_factor", "", "net profit of winners over net loss of losers"),
        _figure("average_trade", "currency", "net profit a round trip"),
        _figure("holding_s", "s", "mean duration of a round trip"),
        _figure("exposure", "share", "time with a position"),
        _figure("mean_position", "contracts", "absolute position, mean over time"),
    ),
)
"""What a part cannot have is null: a role has no profit, a direction no fills."""

TABLES: tuple[Table, ...] = (RUNS, ORDERS, FILLS, EQUITY, BREAKDOWNS)
