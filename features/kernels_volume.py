"""Loops over traded volume: buckets of equal volume, and the volume at each price."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.jit import inline, kernel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@kernel
def bucket_imbalance(
    buy: I64, sell: I64, first: Bool, size: int, open_: I64, ring: F64, bought: F64, out: F64
) -> None:
    """Mean of abs(buys - sells) / size over the last ``ring.size`` buckets of ``size`` contracts.

    An event that fills a bucket is split at its boundary, its buys and sells in proportion.
    Buckets restart with a segment; not a number before the ring is full.  Kept between calls:
    ``open_`` = contracts in the open bucket, buckets completed; ``bought[0]`` = buys in the open
    one, ``bought[1]`` = the mean; ``ring`` = the last buckets' imbalances.
    """
    for i in range(buy.size):
        if first[i]:
            open_[0] = 0
            open_[1] = 0
            bought[0] = 0.0
            bought[1] = np.nan
        left = buy[i] + sell[i]
        if left > 0:
            share = buy[i] / left
            completed = False
            while open_[0] + left >= size:
                part = size - open_[0]
                bought[0] += part * share
                ring[open_[1] % ring.size] = abs(2.0 * bought[0] - size) / size
                open_[1] += 1
                open_[0] = 0
                bought[0] = 0.0
                left -= part
                completed = True
            open_[0] += left
            bought[0] += left * share
            if completed and open_[1] >= ring.size:
                total = 0.0
                for k in range(ring.size):
                    total += ring[k]
                bought[1] = total / ring.size
        out[i] = bought[1]


@inline
def _slot(prices: I64, count: int, price: int) -> int:
    """Position of the first price at or above this one among the first ``count``."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) // 2
        if prices[middle] < price:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def volume_profile(
    ends: I64,
    price: I64,
    volume: I64,
    percent: int,
    prices: I64,
    volumes: I64,
    kept: I64,
    out: I64,
) -> None:
    """Volume at each price so far, and what follows from it after each event.

    Event i has the prints ``ends[i - 1]`` .. ``ends[i]`` - 1.  ``prices`` ascend, ``volumes`` are
    theirs; both must have room for all new prints.  ``kept``: prices in use, total volume, then
    the rows of ``out``: price with the most volume (of equals the one that got there first), low
    and high end of the value area, volume at the first, volume at the last print's price.  The
    value area grows from that price to the neighbour with more volume, both where they are
    equal, until it holds ``percent`` of the volume.
    """
    start = 0
    for i in range(ends.size):
        for j in range(start, ends[i]):
            if volume[j] <= 0:
                continue
            at = _slot(prices, kept[0], price[j])
            if at == kept[0] or prices[at] != price[j]:
                for k in range(kept[0], at, -1):
                    prices[k] = prices[k - 1]
                    volumes[k] = volumes[k - 1]
                prices[at] = price[j]
                volumes[at] = 0
                kept[0] += 1
            volumes[at] += volume[j]
            kept[1] += volume[j]
            if volumes[at] > kept[5]:
                kept[2] = price[j]
                kept[5] = volumes[at]
            kept[6] = volumes[at]
        if ends[i] > start and kept[0] > 0:
            low = _slot(prices, kept[0], kept[2])
            high = low
            inside = volumes[low]
            while inside * 100 < percent * kept[1]:
                below = volumes[low - 1] if low > 0 else 0
                above = volumes[high + 1] if high + 1 < kept[0] else 0
                if below >= above:
                    low -= 1
                    inside += below
                if above >= below:
                    high += 1
                    inside += above
            kept[3] = prices[low]
            kept[4] = prices[high]
        start = ends[i]
        for k in range(out.shape[0]):
            out[k, i] = kept[2 + k]


def compile_volume() -> None:
    """Compile both loops (or load them from the cache)."""
    one = np.zeros(1, dtype=np.int64)
    flag = np.ones(1, dtype=np.bool_)
    bucket_imbalance(
        one, one, flag, 1, np.zeros(2, np.int64), np.zeros(1), np.zeros(2), np.zeros(1)
    )
    kept = np.zeros(7, dtype=np.int64)
    volume_profile(one, one, one, 70, one, one.copy(), kept, np.zeros((5, 1), dtype=np.int64))
