"""The vendor's MBP rows held against its own emission rules, where there is no MBO to rebuild.

A row that is not a trade must end an event, show another top than the last such row, name in
``depth`` the first level that differs and in ``side`` the side that did (N: both).
"""

from __future__ import annotations

import polars as pl

from pipeline.units import F_LAST
from pipeline.verify.align import Difference, Tally
from pipeline.verify.rebuild import level_names
from pipeline.verify.rows import BOOK_KEY, N_SIDE

_NONE = 255


class RuleCheck:
    """Checks frames of one MBP table, in order."""

    def __init__(self, depth: int, *, side_named: bool, keep: int) -> None:
        self.tally = Tally()
        self._depth = depth
        self._side_named = side_named
        self._keep = keep
        self._before: pl.DataFrame | None = None

    def feed(self, frame: pl.DataFrame) -> None:
        """The next rows, as :func:`pipeline.verify.rows.vendor_rows` gives them."""
        ends = frame.filter(pl.col("trade") == 0).with_columns(_new=pl.lit(value=True))
        if ends.is_empty():
            return
        old = self._before
        both = (
            ends if old is None else pl.concat([old.with_columns(_new=pl.lit(value=False)), ends])
        )
        judged = both.with_columns(
            pl.col("record").shift(1).over(BOOK_KEY).is_not_null().alias("_follows"),
            self._first("bid").alias("_bid"),
            self._first("ask").alias("_ask"),
        ).filter("_new")
        self._before = both.group_by(BOOK_KEY, maintain_order=True).last().select(frame.columns)
        checked = judged.filter((pl.col("snapshot") == 0) & pl.col("_follows"))
        self._leave_out("row of a snapshot", judged.filter(pl.col("snapshot") != 0))
        self._leave_out(
            "first row: what was before it is not known",
            judged.filter((pl.col("snapshot") == 0) & ~pl.col("_follows")),
        )
        bad = checked.filter(~self._right())
        self.tally.equal += len(checked) - len(bad)
        self.tally.different += len(bad)
        for row in bad.head(self._keep - len(self.tally.first)).iter_rows(named=True):
            self.tally.first.append(Difference(None, row))

    def _first(self, side: str) -> pl.Expr:
        """First level of a side that differs from the last row's."""
        levels = []
        for name in level_names(self._depth):
            if name.startswith(side):
                changed = pl.col(name) != pl.col(name).shift(1).over(BOOK_KEY)
                levels.append(pl.when(changed).then(int(name[-2:])).otherwise(_NONE))
        return pl.min_horizontal(levels)

    def _right(self) -> pl.Expr:
        bid, ask = pl.col("_bid"), pl.col("_ask")
        side = (
            pl.when((bid < _NONE) & (ask < _NONE))
            .then(N_SIDE)
            .when(bid < _NONE)
            .then(ord("B"))
            .otherwise(ord("A"))
        )
        named = pl.col("side") == side
        if not self._side_named:
            named |= pl.col("side") == N_SIDE
        first = pl.min_horizontal(bid, ask)
        ends = pl.col("flags") & F_LAST != 0
        return ends & (first < _NONE) & (pl.col("depth") == first) & named

    def _leave_out(self, reason: str, rows: pl.DataFrame) -> None:
        if len(rows):
            self.tally.left_out[reason] += len(rows)
