"""The table ``queue`` of a small random market: orders that fit its touch, and random traces."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from pipeline.book.queue_columns import QUEUE_COLUMNS, QUEUE_FLOWS, QUEUE_STATES
from pipeline.units import NS_PER_MS, NS_PER_S

TYPES = {
    column.name: pl.UInt32 if column.type.bit_width == 32 else pl.Int64 for column in QUEUE_COLUMNS
}
AGES = (0, 7 * NS_PER_MS, NS_PER_S, 90 * NS_PER_S)


def make_queue(rng: np.random.Generator, book: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``queue`` beside the rows of a book; orders' sizes add up to those of its touch."""
    columns: dict[str, list[Any]] = {name: [] for name in QUEUE_STATES}
    for row in book.iter_rows(named=True):
        for side in ("bid", "ask"):
            for name, value in _touch(rng, row[f"{side}_sz_00"], row[f"{side}_ct_00"]).items():
                columns[f"{side}_{name}"].append(value)
    for name in QUEUE_FLOWS:
        choices = [-3, 0, 0, 0, 2, 40] if name.endswith("_distance") else [0, 0, 0, 0, 1, 2, 9]
        columns[name] = rng.choice(choices, book.height).tolist()
    return pl.DataFrame(columns, schema={name: TYPES[name] for name in columns})


def _touch(rng: np.random.Generator, size: int, count: int) -> dict[str, int | None]:
    """Random orders of a touch, and what the table tells of them."""
    cuts = rng.choice(np.arange(1, size), count - 1, replace=False) if count > 1 else []
    edges = [0, *sorted(int(c) for c in cuts), size]
    sizes = [after - before for before, after in pairwise(edges)] if count else []
    ages = sorted((int(rng.choice(AGES)) for _ in sizes), reverse=True)
    known = [bool(rng.random() < 0.8) for _ in sizes]
    mods = [int(rng.integers(0, 4)) for _ in sizes]
    seen = [(q, a) for q, a, k in zip(sizes, ages, known, strict=True) if k]
    middle = (count - 1) // 2
    traded = int(rng.integers(0, 30))
    return {
        "known_sz": sum(q for q, _ in seen),
        "known_ct": len(seen),
        "age_sum": sum(q * (a // 1000) for q, a in seen),
        "front_age": ages[0] if count and known[0] else None,
        "front_sz": sizes[0] if count else 0,
        "median_age": ages[middle] if count and known[middle] else None,
        "median_sz": sorted(sizes)[middle] if count else None,
        "max_sz": max(sizes, default=0),
        "square_sz": sum(q * q for q in sizes),
        "mods_ct": sum(mods),
        "mods_max": max(mods, default=0),
        "level_refill_ct": int(rng.integers(0, 3)) if count else 0,
        "level_traded_sz": traded if count else 0,
        "level_filled_sz": int(rng.integers(0, traded + 1)) if count else 0,
        "large_sz": max(sizes) + 5 * int(rng.integers(0, 3)) if count else 0,
        "large_ticks": int(rng.integers(0, 11)) if count else None,
        "large_age": int(rng.choice(AGES)) if count and rng.random() < 0.9 else None,
    }


def scaled_queue(queue: pl.DataFrame, factor: int) -> pl.DataFrame:
    """All sizes multiplied."""
    power = {
        name: 2 if name.endswith("square_sz") else 1
        for name in queue.columns
        if name.endswith(("_sz", "_age_sum"))
    }
    return queue.with_columns(
        pl.col(name) * pl.lit(factor**p, TYPES[name]) for name, p in power.items()
    )
