"""Columns of `queue`: what only single orders tell about the touch and about the flow.

The kernel fills one int64 for each of :data:`QUEUE_FIELDS`, in this order: ``event``, the
states of the bid and of the ask, the flows of the bid and of the ask, the flows of both.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from pipeline.columns import EVENT, SIZE, Column, col

LIFE_CLASSES: Final = ("2ms", "50ms", "1s", "10s", "60s", "long")
"""Classes of lifetimes: shorter than so long, and not shorter than the one before."""

_BEHIND = "ticks behind its side's touch before the event"

ORDER_SIZES: Final = (2, 3, 5, 10, 20, 50, 100, 200, 500)
"""Sizes from which the orders of the touch are counted."""

# name, kind, unit, meaning, null
_STATES: Final = (
    ("known_sz", "u", "contracts", "{side} touch: size of the orders whose age is known", False),
    ("known_ct", "u", "orders", "their number; the others are censored", False),
    ("age_sum", "i", "contracts us", "sum of their size x age in the queue", True),
    ("front_age", "i", "ns", "time the first order has stood in this queue", True),
    ("front_sz", "u", "contracts", "its size; 0 where the side is empty", False),
    ("median_age", "i", "ns", "the same of the order in the middle; null: not known", True),
    ("median_sz", "u", "contracts", "median order size; null: empty, over 512 orders", True),
    ("max_sz", "u", "contracts", "size of the touch's largest order", False),
    ("square_sz", "i", "contracts^2", "sum of the squared order sizes", True),
    ("mods_ct", "u", "records", "modifications the touch's orders have seen, refills apart", False),
    ("mods_max", "u", "records", "most of any one of them", False),
    ("level_refill_ct", "u", "records", "refills at this price since the level opened", False),
    ("level_traded_sz", "u", "contracts", "printed at this price since then", False),
    ("level_filled_sz", "u", "contracts", "displayed size fills took away since then", False),
    ("large_sz", "u", "contracts", "largest order within 10 ticks; null: no tick size", True),
    ("large_ticks", "u", "ticks", "how far behind the touch it is", True),
    ("large_age", "i", "ns", "time it has stood in its queue", True),
    *(
        (
            f"from_{size}_ct",
            "u",
            "orders",
            f"{{side}} touch: orders of {size} and more",
            True,
        )
        for size in ORDER_SIZES
    ),
)
_FLOWS: Final = (
    *(
        (f"cancel_{third}_{measure}", "u", unit, f"{{side}} touch: C in its {third} third", False)
        for third in ("front", "middle", "back")
        for measure, unit in (("ct", "records"), ("sz", "contracts"))
    ),
    ("refill_ct", "u", "records", "{side}: M that showed more after an F at its price", False),
    ("refill_sz", "u", "contracts", "size they showed anew", False),
    ("hidden_sz", "u", "contracts", "executed of orders beyond what they displayed", False),
    ("reload_10ms_ct", "u", "orders", "added as an equal one was filled, at most 10 ms ago", False),
    ("reload_50ms_ct", "u", "orders", "the same, at most 50 ms ago", False),
    ("reload_sz", "u", "contracts", "their size", False),
    ("reload_chain", "u", "orders", "sum of their places in their chains, 1 the first", False),
    ("repeg_ct", "u", "records", "M with another price or side", False),
    ("replace_ct", "u", "orders", "added as an equal one was cancelled elsewhere, 50 ms", False),
    ("add_better_ct", "u", "orders", "A better than its side's touch before the event", False),
    ("add_touch_ct", "u", "orders", "A at it", False),
    ("add_1_ct", "u", "orders", f"A 1 {_BEHIND.replace('ticks', 'tick')}", True),
    ("add_2_ct", "u", "orders", f"A 2 {_BEHIND}", True),
    ("add_3_5_ct", "u", "orders", f"A 3 to 5 {_BEHIND}", True),
    ("add_6_10_ct", "u", "orders", f"A 6 to 10 {_BEHIND}", True),
    ("add_far_ct", "u", "orders", f"A more than 10 {_BEHIND}", True),
    ("add_distance", "i", "ticks", "sum of their distances, each 1,000 at most", True),
    ("born_ct", "u", "levels", "levels that opened better than the touch, 100 ms ago", False),
    ("born_first_sz", "u", "contracts", "sizes of their first orders", False),
    ("born_sz", "u", "contracts", "their sizes 100 ms on; 0 where gone", False),
    ("born_orders", "u", "orders", "their orders then", False),
)
_BOTH: Final = tuple(
    part
    for outcome in ("filled", "cancelled")
    for part in (
        *(
            (
                f"{outcome}_{name}_ct",
                "u",
                "orders",
                f"{outcome} after a life of class {name}",
                False,
            )
            for name in LIFE_CLASSES
        ),
        (f"{outcome}_life", "i", "us", "sum of their lives", False),
    )
)

STATE_NAMES: Final = tuple(name for name, *_ in _STATES)
FLOW_NAMES: Final = tuple(name for name, *_ in _FLOWS)
BOTH_NAMES: Final = tuple(name for name, *_ in _BOTH)


def _column(prefix: str, part: tuple[str, str, str, str, bool]) -> Column:
    name, kind, unit, meaning, null = part
    text = meaning.format(side=prefix.rstrip("_"))
    if kind == "u":
        return col(prefix + name, SIZE, unit, text, "dict", "lz4", null=null)
    return col(prefix + name, pa.int64(), unit, text, "plain", "lz4", null=null)


QUEUE_COLUMNS: Final[tuple[Column, ...]] = (
    EVENT,
    *(_column(side, part) for side in ("bid_", "ask_") for part in _STATES),
    *(_column(side, part) for side in ("bid_", "ask_") for part in _FLOWS),
    *(_column("", part) for part in _BOTH),
)

QUEUE_FIELDS: Final = tuple(column.name for column in QUEUE_COLUMNS)

QUEUE_STATES: Final = QUEUE_FIELDS[1 : 1 + 2 * len(_STATES)]
"""Columns that show a state at the row; the others but ``event`` add up since the row before."""

QUEUE_FLOWS: Final = QUEUE_FIELDS[1 + 2 * len(_STATES) :]
