"""Message flow (catalogue group M).

Rates count what owners did: a cancel or a size cut that a fill caused is an execution, not a
cancel.  Zones are relative to the side's own touch before the event: ``l1`` at or better than
it, ``l2_10`` down to the tenth level, ``deep`` beyond.
"""

from __future__ import annotations

import polars as pl

from features.columns import imbalance
from features.grids import SIDES, TIME_AND_DECAY, TIME_WINDOWS, ZONES
from features.registry import Parameter, feature
from features.windows import rate, window_sum

_PARAMS: dict[str, Parameter] = {"side": SIDES, "zone": ZONES, "window": TIME_AND_DECAY}


def flow(side: str, zone: str, kind: str, measure: str) -> pl.Expr:
    """A column of the table ``flow``; measure is ``ct`` or ``sz``."""
    return pl.col(f"{side}_{zone}_{kind}_{measure}")


@feature(
    "add_rate_{side}_{zone}_{window}",
    catalogue="M01",
    unit="orders/s",
    source="Cont, Stoikov and Talreja 2010",
    params=_PARAMS,
    range=(0, None),
    mirror="swap",
)
def add_rate(side: str, zone: str, window: str) -> pl.Expr:
    """New orders a second, by side and zone."""
    return rate(flow(side, zone, "add", "ct"), window)


@feature(
    "add_volume_rate_{side}_{zone}_{window}",
    catalogue="M01",
    unit="contracts/s",
    source="Cont, Stoikov and Talreja 2010",
    params=_PARAMS,
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def add_volume_rate(side: str, zone: str, window: str) -> pl.Expr:
    """Contracts added a second by new orders, by side and zone."""
    return rate(flow(side, zone, "add", "sz"), window)


@feature(
    "cancel_rate_{side}_{zone}_{window}",
    catalogue="M02",
    unit="orders/s",
    source="Cont, Stoikov and Talreja 2010",
    params=_PARAMS,
    range=(0, None),
    mirror="swap",
)
def cancel_rate(side: str, zone: str, window: str) -> pl.Expr:
    """Orders cancelled by their owners a second, by side and zone."""
    return rate(flow(side, zone, "cancel", "ct"), window)


@feature(
    "cancel_volume_rate_{side}_{zone}_{window}",
    catalogue="M02",
    unit="contracts/s",
    source="Cont, Stoikov and Talreja 2010",
    params=_PARAMS,
    range=(0, None),
    mirror="swap",
    size_power=1,
)
def cancel_volume_rate(side: str, zone: str, window: str) -> pl.Expr:
    """Contracts cancelled by their owners a second, by side and zone."""
    return rate(flow(side, zone, "cancel", "sz"), window)


def provision(side: str, window: str) -> pl.Expr:
    """(v_add - v_cancel) / (v_add + v_cancel) at one side's touch; null without either."""
    added = window_sum(flow(side, "l1", "add", "sz"), window)
    return imbalance(added, window_sum(flow(side, "l1", "cancel", "sz"), window))


@feature(
    "net_provision_{side}_{window}",
    catalogue="M04",
    source="catalogue",
    params={"side": SIDES, "window": TIME_WINDOWS},
    range=(-1, 1),
    mirror="swap",
)
def net_provision(side: str, window: str) -> pl.Expr:
    """Net liquidity provision at the touch: (v_add - v_cancel) / (v_add + v_cancel).

    Null where a window has neither (the catalogue says 0; here undefined is null, never 0).
    """
    return provision(side, window)


@feature(
    "net_provision_diff_{window}",
    catalogue="M04",
    source="catalogue",
    params={"window": TIME_WINDOWS},
    range=(-2, 2),
    mirror="odd",
)
def net_provision_diff(window: str) -> pl.Expr:
    """Net liquidity provision at the bid less that at the ask."""
    return provision("bid", window) - provision("ask", window)
