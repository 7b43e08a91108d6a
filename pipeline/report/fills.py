"""Fills to draw on the price, and those few whose book is shown.

All fills of a small run are drawn.  Of a big one evenly spread ones are, and which fills get their
book shown is decided over all: the best, the worst, those with the worst markouts, and some by lot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.backtest.tables import MARKOUT_HORIZONS
from pipeline.report.curves import Drawn
from pipeline.report.thinning import rounded, spread
from pipeline.units import NS_PER_MS, PRICE_SCALE

MARKERS: Final = 6000
"""Fills drawn on a page; of a run and reading at least 200, at most 2,000."""

REASONS: Final = {
    "asked": "asked for",
    "best": "largest net profit realised",
    "worst": "largest net loss realised",
    "adverse": "most adverse markout after 10 s",
    "lot": "by lot",
    "all": "in the order of time",
}
"""Why a fill's book is shown."""

_KEYS: Final = ("dataset", "symbol", "fill")
_NET: Final = pl.col("realised") - pl.col("fee")


@dataclass(frozen=True)
class Chosen:
    """Fills whose book is shown: their keys, reading and why, in the order of the list."""

    rows: pl.DataFrame
    """``dataset symbol fill why``"""
    of: int
    """How many fills there are to choose from."""


def choose_fills(drawn: Drawn, most: int, wanted: Sequence[int] = ()) -> Chosen:
    """Choose among the fills of the primary reading, the same ones every time.

    ``wanted`` are numbers of fills that are chosen whatever else is.
    """
    own = drawn.admits(drawn.run.fills.filter(pl.col("reading") == drawn.primary))
    rows = own.select(*_KEYS, "ts", _NET.alias("net"), "markout_10s", "realised").collect()
    rows = rows.sort("ts", "symbol", "fill")
    if len(rows) <= most:
        return Chosen(rows.select(*_KEYS, why=pl.lit("all")), len(rows))
    closing = rows.filter(pl.col("realised") != 0)
    lot = np.random.default_rng(int(drawn.run.run_id, 16)).permutation(len(rows))
    quota = most // 4
    ranked = {
        "best": closing.filter(pl.col("net") > 0).sort("net", descending=True, maintain_order=True),
        "worst": closing.filter(pl.col("net") < 0).sort("net", maintain_order=True),
        "adverse": rows.filter(pl.col("markout_10s") < 0).sort("markout_10s", maintain_order=True),
    }
    picked = rows.clear().select(*_KEYS, why=pl.lit(""))
    asked = rows.filter(pl.col("fill").is_in(list(wanted)))
    picked = picked.vstack(asked.select(*_KEYS, why=pl.lit("asked")))
    for why, candidates in ranked.items():
        fresh = candidates.select(_KEYS).join(picked, on=_KEYS, how="anti", maintain_order="left")
        picked = picked.vstack(fresh.head(quota).select(*_KEYS, why=pl.lit(why)))
    rest = rows[lot.tolist()].select(_KEYS).join(
        picked, on=_KEYS, how="anti", maintain_order="left"
    )  # fmt: skip
    by_lot = rest.head(max(0, most - len(picked))).select(*_KEYS, why=pl.lit("lot"))
    return Chosen(picked.vstack(by_lot), len(rows))


def markers(drawn: Drawn, chosen: Chosen, most: int) -> list[dict[str, Any]]:
    """Fills to draw, by reading: columns of equal length, and how many there are in all."""
    found = []
    for reading in drawn.readings:
        own = drawn.admits(drawn.run.fills.filter(pl.col("reading") == reading))
        count = int(own.select(pl.len()).collect().item())
        numbered = own.with_row_index("row")
        kept = pl.col("row").is_in(spread(count, most).astype(np.uint32).tolist())
        if reading == drawn.primary:
            keys = chosen.rows.select(_KEYS).lazy()
            wanted = numbered.join(keys, on=_KEYS, how="semi").select("row").collect()["row"]
            kept |= pl.col("row").is_in(wanted.to_list())
        rows = numbered.filter(kept).collect().sort("ts", "symbol", "fill")
        found.append({"reading": reading, "of": count, **_columns(drawn, rows)})
    return found


def markers_for(parts: int) -> int:
    """How many fills are drawn of each of so many runs and readings."""
    return min(2000, max(200, MARKERS // max(1, parts)))


def _columns(drawn: Drawn, rows: pl.DataFrame) -> dict[str, Any]:
    number = {(s.dataset, s.name): i for i, s in enumerate(drawn.shown)}
    symbols = [number[key] for key in zip(rows["dataset"], rows["symbol"], strict=True)]
    ticks = np.array([drawn.shown[i].contract.tick for i in symbols], float)
    times = rows["ts"].cast(pl.Int64).to_numpy() // NS_PER_MS
    return {
        "symbol": symbols,
        "fill": rows["fill"].to_list(),
        "order": rows["order"].to_list(),
        "t": np.diff(times, prepend=0).tolist(),
        "price": rounded(rows["price"].to_numpy() / PRICE_SCALE),
        "size": [
            size if side == "B" else -size
            for side, size in zip(rows["side"], rows["size"], strict=True)
        ],
        "role": rows["role"].to_list(),
        "reason": rows["reason"].to_list(),
        "position": rows["position"].to_list(),
        "realised": rounded(rows["realised"].cast(pl.Float64).to_numpy()),
        "fee": rounded(rows["fee"].cast(pl.Float64).to_numpy()),
        "markouts": [
            [None if value is None else rounded([value / tick])[0] for value, tick in pairs]
            for pairs in (
                list(zip(rows[name].to_list(), ticks.tolist(), strict=True))
                for name in MARKOUT_HORIZONS
            )
        ],
    }
