"""Traces that single orders leave: lives, hidden size, successors, placement (catalogue group Q).

All of it comes from the table ``queue``, made on request (``mbo book --queue``).  What a row tells
became known with it: an order's life with its end, a new level's growth 100 ms after its birth.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from features.columns import add, if_ok, orders, ratio
from features.grids import SIDES
from features.queues import MICROS, OVER, of
from features.registry import Choice, Numbers, feature
from features.windows import last, rate, total
from pipeline.book.queue_columns import LIFE_CLASSES
from pipeline.units import NS_PER_MS

OUTCOMES: Final = Choice(("filled", "cancelled"))

# --- Q05: lives ----------------------------------------------------------------------------------


def _lives(outcome: str, window: str) -> list[pl.Expr]:
    """Orders that ended in a window, by class of lifetime."""
    return [total(pl.col(f"{outcome}_{name}_ct"), window) for name in LIFE_CLASSES]


@feature(
    "order_life_{outcome}_{window}",
    catalogue="Q05",
    unit="s",
    source="catalogue",
    params={"outcome": OUTCOMES, "window": OVER},
    range=(0, None),
)
def order_life(outcome: str, window: str) -> pl.Expr:
    """Mean life of the orders that were filled or cancelled in a window."""
    return ratio(total(pl.col(f"{outcome}_life"), window), add(_lives(outcome, window))) / MICROS


AGES: Final = Choice(("2ms", "50ms", "1s"))


@feature(
    "fleeting_share_{age}_{window}",
    catalogue="Q05",
    source="Hasbrouck and Saar 2009",
    params={"age": AGES, "window": OVER},
    range=(0, 1),
)
def fleeting_share(age: str, window: str) -> pl.Expr:
    """Share of the cancelled orders that had lived shorter than so long."""
    counts = _lives("cancelled", window)
    return ratio(add(counts[: AGES.values.index(age) + 1]), add(counts))


EDGES: Final = (0.0, 0.002, 0.05, 1.0, 10.0, 60.0)
"""Classes of lifetimes in seconds: each begins where the one before ends."""


@feature(
    "order_life_q{percent}_{outcome}_{window}",
    catalogue="Q05",
    unit="s",
    source="catalogue",
    params={"percent": Numbers((25, 50, 75), 1, 99), "outcome": OUTCOMES, "window": OVER},
    range=(0, 60),
)
def order_life_quantile(percent: int, outcome: str, window: str) -> pl.Expr:
    """Quantile of the lives that ended in a window, linear within classes; null above 60 s.

    Classes end at 2 ms, 50 ms, 1 s, 10 s and 60 s.
    """
    counts = _lives(outcome, window)
    wanted = add(counts) * (percent / 100)
    value: pl.Expr = pl.lit(None, dtype=pl.Float64)
    for k in reversed(range(len(EDGES) - 1)):
        below = add(counts[:k]) if k else pl.lit(0)
        inside = EDGES[k] + (EDGES[k + 1] - EDGES[k]) * (wanted - below) / counts[k]
        value = (
            pl.when((counts[k] > 0) & (wanted <= below + counts[k])).then(inside).otherwise(value)
        )
    return pl.when(wanted > 0).then(value)


# --- Q11, Q12, Q13: more than is shown ---------------------------------------------------------


@feature(
    "refill_rate_{side}_{window}",
    catalogue="Q11",
    unit="1/s",
    source="Zotikov and Antonov 2019",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
)
def refill_rate(side: str, window: str) -> pl.Expr:
    """Refills a second: an order topped up by M at its price right after a fill."""
    return rate(of(side, "refill_ct"), window)


@feature(
    "refill_volume_rate_{side}_{window}",
    catalogue="Q11",
    unit="contracts/s",
    source="Zotikov and Antonov 2019",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def refill_volume_rate(side: str, window: str) -> pl.Expr:
    """Contracts a second that refills showed anew."""
    return rate(of(side, "refill_sz"), window)


@feature(
    "hidden_volume_rate_{side}_{window}",
    catalogue="Q11",
    unit="contracts/s",
    source="Zotikov and Antonov 2019",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def hidden_volume_rate(side: str, window: str) -> pl.Expr:
    """Contracts a second executed of orders beyond what they displayed."""
    return rate(of(side, "hidden_sz"), window)


@feature(
    "level_refills_{side}",
    catalogue="Q11",
    unit="records",
    source="Zotikov and Antonov 2019",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(0, None),
    mirror="swap",
)
def level_refills(side: str) -> pl.Expr:
    """Refills at the touch's price since the level opened."""
    return if_ok(of(side, "level_refill_ct"))


@feature(
    "reload_rate_{side}_{within}_{window}",
    catalogue="Q12",
    unit="1/s",
    source="Zotikov and Antonov 2019",
    params={"side": SIDES, "within": Choice(("10ms", "50ms")), "window": OVER},
    range=(0, None),
    mirror="swap",
)
def reload_rate(side: str, within: str, window: str) -> pl.Expr:
    """New orders a second with side, price and size of one filled so shortly before."""
    return rate(of(side, f"reload_{within}_ct"), window)


@feature(
    "reload_chain_{side}_{window}",
    catalogue="Q12",
    unit="orders",
    source="Zotikov and Antonov 2019",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
)
def reload_chain(side: str, window: str) -> pl.Expr:
    """Mean place of such successors in their chains (1: the first); null without any."""
    return ratio(total(of(side, "reload_chain"), window), total(of(side, "reload_50ms_ct"), window))


@feature(
    "level_gap_{side}",
    catalogue="Q13",
    unit="contracts",
    source="Zotikov and Antonov 2019",
    params={"side": SIDES},
    dtype=pl.Int64,
    mirror="swap",
    size_power=1,
)
def level_gap(side: str) -> pl.Expr:
    """Traded at the touch's price less displayed size fills took away, since the level opened."""
    return if_ok(of(side, "level_traded_sz") - of(side, "level_filled_sz"))


# --- Q14: modifications -------------------------------------------------------------------------


@feature(
    "mods_per_order_{side}",
    catalogue="Q14",
    unit="records",
    source="Hasbrouck and Saar 2013",
    params={"side": SIDES},
    range=(0, None),
    mirror="swap",
)
def mods_per_order(side: str) -> pl.Expr:
    """Mean number of modifications the touch's orders have seen, fills and refills apart."""
    return if_ok(ratio(of(side, "mods_ct"), orders(side)))


@feature(
    "mods_max_{side}",
    catalogue="Q14",
    unit="records",
    source="Hasbrouck and Saar 2013",
    params={"side": SIDES},
    dtype=pl.Int64,
    range=(0, None),
    mirror="swap",
)
def mods_max(side: str) -> pl.Expr:
    """Most modifications of any of the touch's orders."""
    return if_ok(of(side, "mods_max"))


@feature(
    "repeg_rate_{side}_{window}",
    catalogue="Q14",
    unit="1/s",
    source="Hasbrouck and Saar 2013",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
)
def repeg_rate(side: str, window: str) -> pl.Expr:
    """Modifies to another price a second."""
    return rate(of(side, "repeg_ct"), window)


@feature(
    "replace_rate_{side}_{window}",
    catalogue="Q14",
    unit="1/s",
    source="Hasbrouck and Saar 2013",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
)
def replace_rate(side: str, window: str) -> pl.Expr:
    """New orders a second of the size of one cancelled at another price within 50 ms."""
    return rate(of(side, "replace_ct"), window)


# --- Q15, Q16, Q17: placement -------------------------------------------------------------------

PLACES: Final = Choice(("better", "touch", "1", "2", "3_5", "6_10", "far"))


def _placed(side: str, window: str) -> pl.Expr:
    return total(add(of(side, f"add_{place}_ct") for place in PLACES.values), window)


@feature(
    "placement_{place}_{side}_{window}",
    catalogue="Q15",
    source="Bouchaud, Mezard and Potters 2002",
    params={"place": PLACES, "side": SIDES, "window": OVER},
    range=(0, 1),
    mirror="swap",
)
def placement(place: str, side: str, window: str) -> pl.Expr:
    """Share of new orders better than, at, or so many ticks behind the touch before the event."""
    return ratio(total(of(side, f"add_{place}_ct"), window), _placed(side, window))


@feature(
    "placement_distance_{side}_{window}",
    catalogue="Q15",
    unit="ticks",
    source="Bouchaud, Mezard and Potters 2002",
    params={"side": SIDES, "window": OVER},
    range=(-1000, 1000),
    mirror="swap",
)
def placement_distance(side: str, window: str) -> pl.Expr:
    """Mean distance of new orders behind the touch; one farther than 1,000 ticks counts so."""
    return ratio(total(of(side, "add_distance"), window), _placed(side, window))


def _born(side: str, what: str, window: str) -> pl.Expr:
    return ratio(total(of(side, what), window), total(of(side, "born_ct"), window))


@feature(
    "new_level_size_{side}_{window}",
    catalogue="Q16",
    unit="contracts",
    source="catalogue",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def new_level_size(side: str, window: str) -> pl.Expr:
    """Mean size, 100 ms after their birth, of levels born better than the touch; 0 where gone."""
    return _born(side, "born_sz", window)


@feature(
    "new_level_orders_{side}_{window}",
    catalogue="Q16",
    unit="orders",
    source="catalogue",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
)
def new_level_orders(side: str, window: str) -> pl.Expr:
    """Mean number of orders of such levels, 100 ms after their birth."""
    return _born(side, "born_orders", window)


@feature(
    "new_level_first_{side}_{window}",
    catalogue="Q16",
    unit="contracts",
    source="catalogue",
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def new_level_first(side: str, window: str) -> pl.Expr:
    """Mean size of the first orders of such levels; known 100 ms after their birth, too."""
    return _born(side, "born_first_sz", window)


@feature(
    "layering_{side}_{window}",
    catalogue="Q17",
    source="Do and Putnins 2023",
    tier=3,
    params={"side": SIDES, "window": OVER},
    range=(0, None),
    mirror="swap",
)
def layering(side: str, window: str) -> pl.Expr:
    """Cancelled at levels 2 to 10 within 500 ms of a trade on the other side, over placed there.

    Descriptive only.
    """
    aggressor = "buy" if side == "bid" else "sell"
    traded = last(pl.when(pl.col(f"{aggressor}_ct") > 0).then(pl.col("ts")))
    soon = pl.col("ts") - traded <= 500 * NS_PER_MS
    cancelled = pl.when(soon).then(of(side, "l2_10_cancel_sz")).otherwise(0)
    return ratio(total(cancelled, window), total(of(side, "l2_10_add_sz"), window))
