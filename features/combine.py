"""Ways to combine the statistics of past sessions into a fit.

Each takes the pairs of the sessions that have any, oldest first, and the least number of sessions
that was asked for; it returns the pairs of the fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.components import F64, Combine, Pairs
from features.gatherers import MINUTES, SKETCH

WIDEST = 15
"""Minutes on either side that a minute of the day may borrow from."""


def histogram_quantiles(*shares: float) -> Combine:
    """Of histograms: the smallest number with at least a share of all at or below it.

    Key k holds the quantile of the k-th share.
    """

    def combine(past: Sequence[Pairs], _minimum: int) -> Pairs:
        numbers = np.concatenate([pairs.keys for pairs in past])
        counts = np.concatenate([pairs.values for pairs in past])
        order = np.argsort(numbers, kind="stable")
        upto = np.cumsum(counts[order])
        # Shares are decimal fractions: 0.99 of 100 is 99, whatever the rounding.
        wanted = np.array(shares) * upto[-1] * (1 - 1e-12)
        at = np.searchsorted(upto, wanted, side="left")
        return Pairs.of(np.arange(len(shares)), numbers[order][at])

    return combine


def mean_by_key(past: Sequence[Pairs], minimum: int) -> Pairs:
    """Mean over the sessions that have the key, for keys that enough of them have."""
    keys, which = np.unique(np.concatenate([p.keys for p in past]), return_inverse=True)
    sums, counts = np.zeros(keys.size), np.zeros(keys.size)
    np.add.at(sums, which, np.concatenate([p.values for p in past]))
    np.add.at(counts, which, 1)
    enough = counts >= minimum
    return Pairs.of(keys[enough], sums[enough] / counts[enough])


def minute_values(past: Sequence[Pairs], minimum: int) -> Pairs:
    """All values of each minute of the day; where fewer than ``minimum`` sessions have the
    minute, also those of the minutes around it, as many as it takes (at most ``WIDEST``).
    """
    table = np.full((len(past), MINUTES), np.nan)
    for day, pairs in enumerate(past):
        table[day, pairs.keys] = pairs.values
    known = ~np.isnan(table)
    keys, values = [], []
    for minute in range(MINUTES):
        for width in range(WIDEST + 1):
            around = np.arange(minute - width, minute + width + 1) % MINUTES
            if known[:, around].any(axis=1).sum() >= minimum:
                found = np.sort(table[:, around][known[:, around]])
                keys.append(np.full(found.size, minute))
                values.append(found)
                break
    if not keys:
        return Pairs.of([], [])
    return Pairs.of(np.concatenate(keys), np.concatenate(values))


def minute_medians(past: Sequence[Pairs], minimum: int) -> Pairs:
    """Median of the values of :func:`minute_values`, by minute of the day."""
    pooled = minute_values(past, minimum)
    keys, starts = np.unique(pooled.keys, return_index=True)
    groups = np.split(pooled.values, starts[1:]) if keys.size else []
    return Pairs.of(keys, [float(np.median(group)) for group in groups])


def pooled(past: Sequence[Pairs]) -> tuple[F64, F64]:
    """Points of all sketches, ascending, and the share of values that each stands for."""
    points = np.concatenate([pairs.values[1:] for pairs in past])
    weights = np.repeat([pairs.values[0] / SKETCH for pairs in past], SKETCH)
    order = np.argsort(points, kind="stable")
    return points[order], weights[order] / weights.sum()


def weighted_quantile(points: F64, weights: F64, share: float) -> float:
    """A point with a share of the weight below it; between two such points, their middle.

    Seen from the other side it is the same point.
    """
    upto = np.cumsum(weights)
    wanted = share * upto[-1]
    # Sums of weights are rounded: what differs by less is the same share.
    ends = [np.searchsorted(upto, wanted + gap) for gap in (-1e-9, 1e-9)]
    first, last = (points[min(int(at), points.size - 1)] for at in ends)
    return float((first + last) / 2)


CENTRE, SPREAD, LOW, HIGH = range(4)
"""Keys of :func:`robust`: median, 1.4826 times the median absolute deviation, q01, q99."""


def robust(past: Sequence[Pairs], _minimum: int) -> Pairs:
    """Of sketches: median, scaled median absolute deviation, and the 1 % and 99 % quantiles."""
    points, weights = pooled(past)
    centre = weighted_quantile(points, weights, 0.5)
    away = np.abs(points - centre)
    order = np.argsort(away, kind="stable")
    deviation = 1.4826 * weighted_quantile(away[order], weights[order], 0.5)
    low, high = (weighted_quantile(points, weights, share) for share in (0.01, 0.99))
    return Pairs.of([CENTRE, SPREAD, LOW, HIGH], [centre, deviation, low, high])
