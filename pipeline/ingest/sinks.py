"""Rows on their way into the lake: one sink a table, UTC day and symbol."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ingest.columns import ColumnBuffer, TablePlan, plan_of
from pipeline.ingest.symbology import day_of
from pipeline.parquet import rows_per_group
from pipeline.stage import Outputs, Partition, Writer
from pipeline.tables import Table
from pipeline.units import F_SNAPSHOT, UNDEF_PRICE

Array = npt.NDArray[Any]


@dataclass(frozen=True, order=True)
class SinkKey:
    """What a sink is for."""

    schema: str
    day: int
    symbol: str

    def partition(self, dataset: str) -> Partition:
        return Partition.of(dataset=dataset, date=day_of(self.day), symbol=self.symbol)


@dataclass
class Tally:
    """What one file gave to one partition."""

    rows: int = 0
    first: int | None = None
    last: int | None = None
    """Range of index time, nanoseconds since the epoch."""
    price_gcd: int = 0
    """Greatest common divisor of the defined prices; 0 where there was none but 0."""
    has_price: bool = False
    opens_with: str | None = None
    instruments: set[tuple[int, int]] = field(default_factory=set)
    """(publisher id, instrument id)"""

    def add(self, plan: TablePlan, records: Array, index: npt.NDArray[np.int64]) -> None:
        """Take in records of the file, in file order, and their index times."""
        first, last = int(index.min()), int(index.max())
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        self._add_prices(plan, records)
        if plan.schema == "mbo":
            self._add_opening(records)
        publishers, ids = records["publisher_id"], records["instrument_id"]
        if (publishers == publishers[0]).all() and (ids == ids[0]).all():
            self.instruments.add((int(publishers[0]), int(ids[0])))
        else:
            self.instruments.update(zip(publishers.tolist(), ids.tolist(), strict=True))
        self.rows += len(records)

    def _add_prices(self, plan: TablePlan, records: Array) -> None:
        if plan.price is None:
            return
        prices = np.ascontiguousarray(records[plan.price])
        if prices.max() == UNDEF_PRICE:
            prices = prices[prices != UNDEF_PRICE]
            if not len(prices):
                return
        self.has_price = True
        if self.price_gcd:
            # Nearly always every price is a multiple of the divisor so far.
            prices = prices[~_divides(self.price_gcd, prices)]
        if len(prices):
            found = int(np.gcd.reduce(np.unique(prices)))
            # 2^63, where the smallest Int64 is the only price, is no Int64 itself.
            self.price_gcd = min(math.gcd(self.price_gcd, found), 1 << 62)

    def _add_opening(self, records: Array) -> None:
        """``snapshot`` if the first row is flagged so, or is R and the second one is."""
        flags, actions = records["flags"], records["action"]
        if self.opens_with == "clear" and self.rows == 1 and flags[0] & F_SNAPSHOT:
            self.opens_with = "snapshot"
        if self.opens_with is None:
            if flags[0] & F_SNAPSHOT:
                self.opens_with = "snapshot"
            elif actions[0] == b"R":
                follows = len(records) > 1 and flags[1] & F_SNAPSHOT
                self.opens_with = "snapshot" if follows else "clear"
            else:
                self.opens_with = "flow"


def _divides(divisor: int, values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which values are multiples of a divisor above 0, without dividing each of them.

    Modulo 2**64 the multiples of an odd number times its inverse are the small numbers
    (Hacker's Delight, 10-17); the powers of two of the divisor are told by the low bits.
    """
    twos = (divisor & -divisor).bit_length() - 1
    odd = divisor >> twos
    low, high = -(2**63 // odd), (2**63 - 1) // odd
    inverse = np.uint64(pow(odd, -1, 2**64))
    scaled = (values.view(np.uint64) * inverse).view(np.int64)
    multiple: npt.NDArray[np.bool_] = (scaled <= high) & (scaled >= low)
    if twos:
        # The inverse is odd: it keeps the number of low zero bits.
        multiple &= (scaled & ((1 << twos) - 1)) == 0
    return multiple


class Sink:
    """Collects the rows of a partition; hands out tables of whole row groups."""

    def __init__(self, key: SinkKey) -> None:
        self.key = key
        self.plan = plan_of(key.schema)
        self._buffer = ColumnBuffer(self.plan, rows_per_group(self.plan.table))
        self.tallies: dict[int, Tally] = {}
        """By number of the file."""
        self.finished = False

    @property
    def bytes(self) -> int:
        return self._buffer.bytes

    def append(
        self,
        file: int,
        source: str,
        records: Array,
        numbers: Array,
        index: npt.NDArray[np.int64],
    ) -> list[pa.Table]:
        """Take rows in; returns the row groups that became full."""
        self.tallies.setdefault(file, Tally()).add(self.plan, records, index)
        full: list[pa.Table] = []
        done = 0
        while done < len(records):
            done += self._buffer.append(records[done:], numbers[done:], source)
            if self._buffer.rows == self._buffer.limit:
                full.append(self._buffer.take())
        return full

    def finish(self) -> list[pa.Table]:
        """The rows that are left; nothing may come after."""
        self.finished = True
        return [self._buffer.take()] if self._buffer.rows else []


class PartitionWriters:
    """The writers of a task, opened when the first rows come and closed as early as possible."""

    def __init__(self, outputs: Outputs, dataset: str) -> None:
        self._outputs = outputs
        self._dataset = dataset
        self._open: dict[SinkKey, Writer] = {}

    def write(self, key: SinkKey, table: Table, rows: pa.Table) -> None:
        if key not in self._open:
            self._open[key] = self._outputs.writer(table, key.partition(self._dataset))
        self._open[key].write(rows)

    def close(self, key: SinkKey, facts: dict[str, Any]) -> None:
        writer = self._open[key]
        writer.note(**facts)
        writer.close()
