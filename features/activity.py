"""How busy the book is, and with what (catalogue M03, M05-M11).

Events at the touch are of six kinds, for each side of the book (Eisler, Bouchaud and Kockelkoren
2012): trades against it, orders that join or improve it, orders cancelled from it, each moving
the best price or not.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from features.clock import changed
from features.columns import TOUCH, add, if_ok_flow, imbalance, mid_ticks, px, ratio, size
from features.costs import HIT
from features.grids import DECAY, SIDES, ZONES
from features.messages import flow
from features.nodes import window as parse_window
from features.registry import Choice, Parameter, Windows, feature
from features.windows import ew_sum, previous, rate, window_sum

_FAR = 2**62
_TAKER = {side: aggressor for aggressor, side in HIT.items()}

KINDS = ("market", "market_move", "limit", "limit_move", "cancel", "cancel_move")

_HOUR = 3600.0
_MINUTES = Windows(("10s", "60s", "300s"))
_MODIFIES: dict[str, Parameter] = {
    "side": SIDES,
    "zone": ZONES,
    "priority": Choice(("keep", "lose")),
    "window": Windows(("10s", "60s"), half_life=("10s",)),
}


@feature(
    "modify_rate_{side}_{zone}_{priority}_{window}",
    catalogue="M03",
    unit="orders/s",
    source="venue rules",
    tier=2,
    params=_MODIFIES,
    range=(0, None),
    mirror="swap",
)
def modify_rate(side: str, zone: str, priority: str, window: str) -> pl.Expr:
    """Orders modified a second, by side and zone: cut in size, or losing their priority.

    An order that moves to another price or grows loses it, and counts where it left.
    """
    return rate(flow(side, zone, f"modify_{priority}", "ct"), window)


def _all(*kinds: str) -> pl.Expr:
    """Orders of some kinds, on both sides and in all zones."""
    return add(
        flow(side, zone, kind, "ct")
        for side in SIDES.values
        for zone in ZONES.values
        for kind in kinds
    )


_MESSAGES = _all("add", "cancel", "modify_keep", "modify_lose") + pl.col("trade_ct")
_PAIRS = {
    "cancel_add": (_all("cancel"), _all("add")),
    "cancel_trade": (_all("cancel"), pl.col("trade_ct")),
    "message_trade": (_MESSAGES, pl.col("trade_ct")),
}
_RATIOS: dict[str, Parameter] = {"pair": Choice(tuple(_PAIRS)), "window": Windows(("60s",))}


@feature(
    "{pair}_ratio_{window}",
    catalogue="M05",
    source="SEC MIDAS",
    tier=2,
    params=_RATIOS,
    range=(0, None),
)
def message_ratio(pair: str, window: str) -> pl.Expr:
    """Cancels over adds, cancels over prints, or all messages over prints, in a window.

    Null where the latter are none.
    """
    top, bottom = _PAIRS[pair]
    return ratio(window_sum(top, window), window_sum(bottom, window))


@feature(
    "{pair}_ratio_plus1_{window}",
    catalogue="M05",
    source="SEC MIDAS",
    tier=2,
    params=_RATIOS,
    range=(0, None),
)
def message_ratio_plus1(pair: str, window: str) -> pl.Expr:
    """The same ratios with one added to either number, so that they are always defined."""
    top, bottom = _PAIRS[pair]
    return (window_sum(top, window) + 1) / (window_sum(bottom, window) + 1)


@cache
def _price_moved(side: str) -> tuple[pl.Expr, pl.Expr]:
    """True at events that improved the best price of a side, and at those that worsened it."""
    now = px(side).fill_null({"bid": -_FAR, "ask": _FAR}[side])
    before = previous(if_ok_flow(now))
    up = pl.col("ok_flow") & (now > before).fill_null(value=False)
    down = pl.col("ok_flow") & (now < before).fill_null(value=False)
    return (up, down) if side == "bid" else (down, up)


@cache
def happened(kind: str, side: str) -> pl.Expr:
    """1 at events of a kind at a side's touch, else 0."""
    better, worse = _price_moved(side)
    traded = pl.col(f"{_TAKER[side]}_orders") > 0
    joined = flow(side, "l1", "add", "ct") + flow(side, "l1", "modify_join", "ct")
    left = add(flow(side, "l1", k, "ct") for k in ("cancel", "modify_keep", "modify_lose"))
    kinds = {
        "market": traded & ~worse,
        "market_move": traded & worse,
        "limit": (joined > 0) & ~better,
        "limit_move": (joined > 0) & better,
        "cancel": (left > 0) & ~(worse & ~traded),
        "cancel_move": (left > 0) & worse & ~traded,
    }
    return kinds[kind].cast(pl.Int64)


@feature(
    "event_rate_{kind}_{side}_{half_life}",
    catalogue="M06",
    unit="1/s",
    source="Eisler, Bouchaud and Kockelkoren 2012",
    params={"kind": Choice(KINDS), "side": SIDES, "half_life": Windows(half_life=("1s", "10s"))},
    range=(0, None),
    mirror="swap",
)
def event_rate(kind: str, side: str, half_life: str) -> pl.Expr:
    """Events a second of one of six kinds at a side's touch: ln2/h times their decayed count.

    ``market`` trades against it, ``limit`` orders that join or improve it, ``cancel`` orders
    that leave it or shrink; with ``_move`` those that moved the best price.  Read at events of
    its own kind it is ln2/h higher on average than in between.
    """
    return rate(happened(kind, side), half_life)


@feature(
    "intensity_imbalance_{half_life}",
    catalogue="M07",
    source="Bacry, Mastromatteo and Muzy 2015",
    params={"half_life": DECAY},
    range=(-1, 1),
    mirror="odd",
)
def intensity_imbalance(half_life: str) -> pl.Expr:
    """Intensity of what lifts the price over what presses it: (buyish - sellish) / (sum).

    Buyish are orders added to the bid's touch, orders cancelled from the ask's, and buyers'
    aggressive orders.
    """

    def pressing(own: str, other: str, aggressor: str) -> pl.Expr:
        orders = pl.col(f"{aggressor}_orders")
        return ew_sum(
            flow(own, "l1", "add", "ct") + flow(other, "l1", "cancel", "ct") + orders, half_life
        )

    return imbalance(pressing("bid", "ask", "buy"), pressing("ask", "bid", "sell"))


_EVENTS = pl.when(~pl.col("first")).then(1).otherwise(0)


@feature(
    "event_speed_{half_life}",
    catalogue="M08",
    unit="1/s",
    source="catalogue",
    params={"half_life": DECAY},
    range=(0, None),
)
def event_speed(half_life: str) -> pl.Expr:
    """Events of the book a second: ln2/h times their decayed count."""
    return rate(_EVENTS, half_life)


@feature(
    "burst_{short}_{long}",
    catalogue="M08",
    source="catalogue",
    params={"short": Windows(half_life=("100ms", "1s")), "long": Windows(half_life=("10s",))},
    range=(0, None),
)
def burst(short: str, long: str) -> pl.Expr:
    """Speed of events at a short half-life over that at a long one."""
    return ratio(rate(_EVENTS, short), rate(_EVENTS, long))


@feature(
    "mid_change_rate_{window}",
    catalogue="M09",
    unit="1/s",
    source="Hasbrouck and Saar 2009",
    tier=2,
    params={"window": _MINUTES},
    range=(0, None),
)
def mid_change_rate(window: str) -> pl.Expr:
    """Changes of the mid a second."""
    return rate(changed(mid_ticks()).cast(pl.Int64), window)


@feature(
    "touch_update_rate_{window}",
    catalogue="M09",
    unit="1/s",
    source="Hasbrouck and Saar 2009",
    tier=2,
    params={"window": _MINUTES},
    range=(0, None),
)
def touch_update_rate(window: str) -> pl.Expr:
    """Events a second that changed a best price or its size."""
    changes = [changed(pl.col(name).fill_null(-_FAR)) for name in TOUCH]
    return rate(pl.any_horizontal(changes).cast(pl.Int64), window)


@cache
def _moves(side: str, within: int) -> tuple[pl.Expr, pl.Expr]:
    """1 at moves of a best price, and at those that take back the move before in time."""
    price = if_ok_flow(px(side).fill_null(-_FAR))
    before = previous(price)
    moved = price != before
    origin, when = pl.when(moved).then(before), pl.when(moved).then(pl.col("ts"))
    soon = pl.col("ts") - previous(when) <= within
    back = moved & (price == previous(origin)) & soon
    return moved.cast(pl.Int64), back.cast(pl.Int64)


@feature(
    "flicker_{delay}_{window}",
    catalogue="M09",
    source="Hasbrouck and Saar 2013",
    tier=2,
    params={"delay": Windows(("100ms",)), "window": _MINUTES},
    range=(0, 1),
)
def flicker(delay: str, window: str) -> pl.Expr:
    """Share of the moves of the best prices that took back the move before within a delay.

    A reversal counts when it happens, which is when it is known; null without moves.
    """
    sides = [_moves(side, parse_window(delay).size) for side in SIDES.values]
    moves, backs = (add(window_sum(side[k], window) for side in sides) for k in (0, 1))
    return ratio(backs, moves)


@cache
def _depletion(side: str, half_life: str) -> pl.Expr:
    gone = add(
        flow(side, "l1", kind, "sz") for kind in ("cancel", "modify_keep", "modify_lose", "fill")
    )
    come = flow(side, "l1", "add", "sz") + flow(side, "l1", "modify_join", "sz")
    net = rate(gone - come, half_life)
    queue = if_ok_flow(pl.when(px(side).is_not_null()).then(size(side)))
    time = pl.when(net > 0).then((queue / net).clip(upper_bound=_HOUR)).otherwise(_HOUR)
    return pl.when(net.is_not_null() & queue.is_not_null()).then(time)


@feature(
    "depletion_time_{side}_{half_life}",
    catalogue="M10",
    unit="s",
    source="catalogue",
    params={"side": SIDES, "half_life": Windows(half_life=("10s",))},
    range=(0, 3600),
    mirror="swap",
)
def depletion_time(side: str, half_life: str) -> pl.Expr:
    """Time until a side's queue is used up at its present net rate of loss, at most an hour.

    Queue / (cancelled + executed - added contracts a second at the touch); an hour where more
    comes than goes.
    """
    return _depletion(side, half_life)


@feature(
    "depletion_ratio_{half_life}",
    catalogue="M10",
    unit="log",
    source="catalogue",
    params={"half_life": Windows(half_life=("10s",))},
    mirror="odd",
)
def depletion_ratio(half_life: str) -> pl.Expr:
    """Log of the bid's expected time to depletion over the ask's."""
    bid, ask = (_depletion(side, half_life) for side in SIDES.values)
    return ratio(bid, ask).log()


@feature(
    "event_entropy_{window}",
    catalogue="M11",
    unit="nats",
    source="Shannon 1948",
    tier=3,
    params={"window": Windows(("10s", "60s"))},
    range=(0, 2.485),
)
def event_entropy(window: str) -> pl.Expr:
    """Entropy of the mix of the twelve kinds of events at the touch (six a side) in a window."""
    counts = [window_sum(happened(kind, side), window) for kind in KINDS for side in SIDES.values]
    everything = add(counts)
    shares = [pl.when(c > 0).then(c / everything) for c in counts]
    return pl.when(everything > 0).then(-add((p * p.log()).fill_null(0.0) for p in shares))
