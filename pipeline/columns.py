"""What a column of a table is: type, unit, nullability, encoding; and those that many share.

Undefined is null.  Prices are Int64 in 1e-9 units; times are ``timestamp[ns, UTC]``; sizes are
UInt32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Encoding = Literal["dict", "delta", "split", "plain"]
"""Parquet encodings: dictionary, DELTA_BINARY_PACKED, BYTE_STREAM_SPLIT, PLAIN."""

Codec = Literal["zstd", "lz4", "none"]
"""Compression of the encoded pages: zstd level 1, LZ4, none; what each costs: docs/storage.md."""

TS = pa.timestamp("ns", tz="UTC")
PRICE = pa.int64()
SIZE = pa.uint32()
TEXT = pa.string()
MONEY = pa.decimal128(38, 9)


@dataclass(frozen=True)
class Column:
    """One column: name, Arrow type, unit, whether null is possible, meaning, encoding."""

    name: str
    type: pa.DataType
    unit: str
    description: str
    nullable: bool = False
    encoding: Encoding = "dict"
    codec: Codec = "zstd"

    def field(self) -> pa.Field:
        return pa.field(self.name, self.type, nullable=self.nullable)


def col(
    name: str,
    type_: pa.DataType,
    unit: str,
    description: str,
    encoding: Encoding = "dict",
    codec: Codec = "zstd",
    *,
    null: bool = False,
) -> Column:
    """A column, in the order people read it: name, type, unit, meaning, encoding, codec."""
    return Column(name, type_, unit, description, null, encoding, codec)


TS_RECV = col("ts_recv", TS, "ns", "when the record could be known (capture clock)", "delta", "lz4")
TS_EVENT = col(
    "ts_event", TS, "ns", "the venue's clock; old on snapshot rows", "delta", "none", null=True
)
EVENT = col(
    "event", pa.int64(), "", "YYYYMMDD x 10^10 + number of the event in the day", "delta", "lz4"
)
SEQUENCE = col(
    "sequence", pa.uint32(), "", "the venue's message number, per channel", "delta", "none"
)
PUBLISHER = col("publisher_id", pa.uint16(), "", "publisher; one book each", "plain", "lz4")
INSTRUMENT = col(
    "instrument_id", pa.uint32(), "", "the vendor's instrument number of that day", "plain", "lz4"
)
