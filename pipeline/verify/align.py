"""Two streams of rows side by side: which are equal, which differ, which have no counterpart.

Rows are paired by key; rows of the same key in their order.  Both streams are taken in as they
come and only rows whose counterpart may still come are kept, so that memory stays bounded: each
stream has a column that never falls (``clock``), and once the other stream is beyond a row's
clock, nothing can come for it any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

CLOCK = "clock"
"""Column of both streams that never falls."""

Excuse = Callable[[pl.DataFrame], npt.NDArray[np.bool_]]
"""Which of some rows cannot be held against anybody."""

Where = slice | npt.NDArray[Any]
"""Rows of a frame: the first few, or by index."""


@dataclass
class Difference:
    """Rows that should be equal: ``ours`` or ``theirs`` is None where there is none."""

    ours: dict[str, Any] | None
    theirs: dict[str, Any] | None
    columns: tuple[str, ...] = ()
    """Columns that differ, where there are both."""


@dataclass
class Tally:
    """What came out; ``equal + different + only_ours + only_theirs`` rows were compared."""

    equal: int = 0
    different: int = 0
    only_ours: int = 0
    only_theirs: int = 0
    uncertain: Counter[str] = field(default_factory=Counter)
    """Those of ``equal`` that an excuse would have covered, by reason."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that could not be compared, by reason."""
    first: list[Difference] = field(default_factory=list)

    @property
    def compared(self) -> int:
        return self.equal + self.differences

    @property
    def differences(self) -> int:
        return self.different + self.only_ours + self.only_theirs


class Aligner:
    """Compares a stream that is fed with one that is pulled.

    Parameters
    ----------
    key, values
        Columns that make up a row's key, and those to compare; in both streams, without nulls.
    theirs
        The other stream, with a ``clock`` of its own.
    keep
        How many differences to keep.
    ours_excuses, theirs_excuses
        By reason, which rows without a counterpart could not have one.
    pair_excuses
        By reason, which of our rows may differ from their counterparts.
    admit
        By column, the value that their row may have instead of ours.
    """

    def __init__(
        self,
        key: Sequence[str],
        values: Sequence[str],
        theirs: Iterator[pl.DataFrame],
        *,
        keep: int = 0,
        ours_excuses: Mapping[str, Excuse] | None = None,
        theirs_excuses: Mapping[str, Excuse] | None = None,
        pair_excuses: Mapping[str, Excuse] | None = None,
        admit: Mapping[str, int] | None = None,
    ) -> None:
        self.tally = Tally()
        self._key, self._values = list(key), list(values)
        self._theirs = theirs
        self._keep = keep
        self._ours_excuses = ours_excuses or {}
        self._theirs_excuses = theirs_excuses or {}
        self._pair_excuses = pair_excuses or {}
        self._admit = admit or {}
        self._a: pl.DataFrame | None = None
        self._b: pl.DataFrame | None = None
        self._a_clock: int | None = None
        self._b_clock: int | None = None
        self._ended = False

    def feed(self, ours: pl.DataFrame) -> None:
        """Take in the next rows of our stream."""
        if ours.is_empty():
            return
        self._a = ours if self._a is None else pl.concat([self._a, ours])
        self._a_clock = int(ours[CLOCK][-1])
        while not self._ended and (self._b_clock is None or self._b_clock <= self._a_clock):
            self._pull()
            self._settle()
        self._settle()

    def finish(self) -> Tally:
        """Our stream has ended; returns the result."""
        while not self._ended:
            self._settle(ours_ended=True)
            self._pull()
        self._settle(ours_ended=True)
        self.tally.first.sort(key=lambda d: (d.ours or d.theirs or {})[CLOCK])
        del self.tally.first[self._keep :]
        return self.tally

    def _pull(self) -> None:
        batch = next(self._theirs, None)
        if batch is None:
            self._ended = True
        elif not batch.is_empty():
            self._b = batch if self._b is None else pl.concat([self._b, batch])
            self._b_clock = int(batch[CLOCK][-1])

    # --- pairs --------------------------------------------------------------------------------

    def _settle(self, *, ours_ended: bool = False) -> None:
        """Compare what has a counterpart; give up on what cannot have one any more."""
        if self._a is not None and self._b is not None:
            i, j = self._pairs(self._a, self._b)
            self._compare(self._a[i], self._b[j])
            self._a, self._b = _without(self._a, i), _without(self._b, j)
        limit = None if self._ended else self._b_clock
        self._a, lost = _split(self._a, limit, everything=self._ended)
        if lost is not None:
            self.tally.only_ours += self._unpaired(lost, self._ours_excuses, mine=True)
        limit = None if ours_ended else self._a_clock
        self._b, lost = _split(self._b, limit, everything=ours_ended)
        if lost is not None:
            self.tally.only_theirs += self._unpaired(lost, self._theirs_excuses, mine=False)

    def _pairs(self, a: pl.DataFrame, b: pl.DataFrame) -> tuple[Where, Where]:
        """Rows that belong together, in one order."""
        n = min(len(a), len(b))
        if all((a[name][:n] == b[name][:n]).all() for name in self._key):
            return slice(n), slice(n)
        nth = pl.int_range(pl.len()).over(self._key).alias("_nth")
        keys = [
            frame.select(*self._key, nth).with_row_index(index)
            for frame, index in ((a, "_i"), (b, "_j"))
        ]
        both = keys[0].join(keys[1], on=[*self._key, "_nth"], how="inner").sort("_i")
        return both["_i"].to_numpy(), both["_j"].to_numpy()

    def _compare(self, a: pl.DataFrame, b: pl.DataFrame) -> None:
        """Compare rows that stand side by side."""
        if a.is_empty():
            return
        tally = self.tally
        excused = np.zeros(len(a), np.bool_)
        differs = np.zeros(len(a), np.bool_)
        for name in self._values:
            differs |= self._differs(a, b, name)
        for reason, excuse in self._pair_excuses.items():
            mine = excuse(a) & ~excused
            excused |= mine
            if count := int((mine & differs).sum()):
                tally.left_out[reason] += count
            if count := int((mine & ~differs).sum()):
                tally.uncertain[reason] += count
        tally.equal += int((~differs).sum())
        wrong = np.flatnonzero(differs & ~excused)
        tally.different += len(wrong)
        for at in wrong[: self._room()]:
            columns = tuple(
                name for name in self._values if self._differs(a[int(at)], b[int(at)], name).any()
            )
            tally.first.append(
                Difference(a.row(int(at), named=True), b.row(int(at), named=True), columns)
            )

    def _differs(self, a: pl.DataFrame, b: pl.DataFrame, name: str) -> npt.NDArray[np.bool_]:
        differs: npt.NDArray[np.bool_] = a[name].to_numpy() != b[name].to_numpy()
        if name in self._admit:
            differs &= b[name].to_numpy() != self._admit[name]
        return differs

    def _unpaired(self, rows: pl.DataFrame, excuses: Mapping[str, Excuse], *, mine: bool) -> int:
        """Count rows without a counterpart; returns how many have no excuse."""
        for reason, excuse in excuses.items():
            excused = excuse(rows)
            if count := int(excused.sum()):
                self.tally.left_out[reason] += count
                rows = rows.filter(~pl.Series(excused))
        for row in rows.head(self._room()).iter_rows(named=True):
            pair = (row, None) if mine else (None, row)
            self.tally.first.append(Difference(*pair))
        return len(rows)

    def _room(self) -> int:
        """How many more differences to keep: a few too many, the first are chosen at the end."""
        return max(0, 4 * self._keep - len(self.tally.first))


def _without(frame: pl.DataFrame, rows: Where) -> pl.DataFrame | None:
    left = np.ones(len(frame), np.bool_)
    left[rows] = False
    return frame.filter(pl.Series(left)) if left.any() else None


def _split(
    frame: pl.DataFrame | None, limit: int | None, *, everything: bool
) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
    """Rows whose counterpart may still come, and the others."""
    if frame is None or everything:
        return None, frame
    if limit is None:
        return frame, None
    over = frame[CLOCK] < limit
    lost = frame.filter(over)
    return frame.filter(~over), lost if len(lost) else None
