"""Integrated order flow (catalogue F06): ten levels weighted as they moved together in the past."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import polars as pl

from features.columns import add
from features.components import Component, Pairs, Statistic, declare
from features.gatherers import Products
from features.level_flow import LEVELS, common_depth, ofi_scaled
from features.registry import Windows, feature

WINDOWS = Windows(("10s", "60s"))

SHARE = LEVELS
"""Key of the share of variance that the first component explains; weights have keys 0 to 9."""


def first_component(past: Sequence[Pairs], _minimum: int) -> Pairs:
    """Weights w / sum |w| of the first principal component, sum w > 0, and its share (``SHARE``).

    Nothing where nothing varied.
    """
    n = LEVELS
    sums = np.zeros(1 + n + n * n)
    for pairs in past:
        sums[pairs.keys] += pairs.values
    means = sums[1 : n + 1] / sums[0]
    covariance = sums[n + 1 :].reshape(n, n) / sums[0] - np.outer(means, means)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    if not values[-1] > 0:
        return Pairs.of([], [])
    weights = vectors[:, -1] / np.abs(vectors[:, -1]).sum()
    if weights.sum() < 0:
        weights = -weights
    share = values[-1] / values[values > 0].sum()
    return Pairs.of(np.arange(n + 1), [*weights, share])


@cache
def weights(window: str) -> Component:
    """Weights of the ten levels' scaled flow over a window, at multiples of the window."""
    # Flow divided by the least depth, where there was none, would outweigh all the rest.
    usable = common_depth(window) > 1
    levels = tuple(pl.when(usable).then(ofi_scaled(level, window)) for level in range(LEVELS))
    statistic = Statistic(f"ofi_products_{window}", levels, Products, clock=f"grid:{window}")
    return declare(Component(f"ofi_weights_{window}", statistic, first_component))


@feature(
    "ofi_integrated_{window}",
    catalogue="F06",
    source="Cont, Cucuringu and Zhang 2023, eq 4",
    params={"window": WINDOWS},
    mirror="odd",
    size_power=None,  # none but where the scaled flow meets its least depth, one contract
    tags=("fitted",),
)
def ofi_integrated(window: str) -> pl.Expr:
    """Integrated OFI: w . (scaled OFI of ten levels) / sum |w|, w the first component of the past.

    The sign is fixed by sum w > 0; w is fitted on past sessions at multiples of the window.
    """
    component = weights(window)
    return add(component.at(pl.lit(m)) * ofi_scaled(m, window) for m in range(LEVELS))
