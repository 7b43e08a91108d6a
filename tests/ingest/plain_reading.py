"""What a DBN file's bytes say, read a second way: frame by frame and record by record."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import databento_dbn as dbn
import zstandard

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE = struct.pack("<I", 0x184D2A53)

KINDS: dict[int, tuple[int, ...]] = {
    0: (48,), 1: (80,), 10: (368,), 18: (40,), 19: (360, 400, 520), 20: (112,), 24: (64, 80),
    32: (56,), 33: (56,), 34: (56,), 35: (56,), 36: (56,), 160: (56,), 177: (80,), 192: (80,),
    193: (80,), 194: (80,), 195: (80,), 196: (80,), 21: (80, 320), 22: (80, 176), 23: (80, 320),
}  # fmt: skip
"""Record type -> the lengths such records have had, versions 1 to 3."""

CONTROL = {21, 22, 23}

OF_SCHEMA = {
    "mbo": 160, "mbp-1": 1, "mbp-10": 10, "tbbo": 1, "trades": 0, "ohlcv-1s": 32,
    "ohlcv-1m": 33, "ohlcv-1h": 34, "ohlcv-1d": 35, "ohlcv-eod": 36, "definition": 19,
    "statistics": 24, "status": 18, "imbalance": 20, "cmbp-1": 177, "cbbo-1s": 192,
    "cbbo-1m": 193, "tcbbo": 194, "bbo-1s": 195, "bbo-1m": 196,
}  # fmt: skip


class Damage(Exception):
    """The bytes are no whole DBN file."""


def unpack(data: bytes) -> bytes:
    """Decompressed bytes, frame by frame.

    Raises
    ------
    Damage
        If a frame is incomplete, corrupt, or followed by something that is none.
    """
    if data[:4] != MAGIC and not is_skippable(data):
        return data
    parts = []
    while data:
        if is_skippable(data):
            if len(data) < 8 or len(data) < (end := 8 + struct.unpack("<I", data[4:8])[0]):
                raise Damage("skippable frame cut off")
            data = data[end:]
            continue
        if data[:4] != MAGIC:
            raise Damage("no frame")
        decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        try:
            parts.append(decoder.decompress(data))
        except zstandard.ZstdError as error:
            raise Damage(str(error)) from None
        if not decoder.eof:
            raise Damage("frame cut off")
        data = decoder.unused_data
    return b"".join(parts)


def is_skippable(data: bytes) -> bool:
    return len(data) >= 4 and 0x184D2A50 <= struct.unpack("<I", data[:4])[0] < 0x184D2A60


@dataclass(frozen=True)
class Reading:
    """A file's records, as bytes."""

    plain: bytes
    """The decompressed file."""
    metadata: Any
    records: list[bytes]


def read_plainly(data: bytes) -> Reading:
    """The records of a file, one by one.

    Raises
    ------
    Damage
        If the file is not whole.
    """
    plain = unpack(data)
    if len(plain) < 8 or plain[:3] != b"DBN" or not 1 <= plain[3] <= 3:
        raise Damage("no header")
    start = header_end(plain)
    if start > len(plain):
        raise Damage("header cut off")
    try:
        metadata = dbn.Metadata.decode(plain[:start])
        dict(metadata.mappings)  # their dates are made only now: the year may be 0
    except BaseException as error:
        raise Damage(str(error)) from None
    wanted = OF_SCHEMA.get(str(metadata.schema)) if metadata.schema is not None else None
    old_bars = {17} if str(metadata.schema).startswith("ohlcv") else set()
    records = []
    at = start
    while at < len(plain):
        length, rtype = plain[at] * 4, plain[at + 1] if at + 1 < len(plain) else -1
        if length < 16 or at + length > len(plain):
            raise Damage(f"record {len(records)} has the length {length}")
        if wanted is not None and rtype not in {wanted} | old_bars | CONTROL:
            raise Damage(f"record {len(records)} has the type {rtype}")
        lengths = KINDS[32] if rtype in old_bars else KINDS.get(rtype, ())
        if length not in lengths and not (metadata.ts_out and length - 8 in lengths):
            raise Damage(f"record {len(records)} has the type {rtype} and the length {length}")
        records.append(plain[at : at + length])
        at += length
    return Reading(plain, metadata, records)


def header_end(plain: bytes) -> int:
    return 8 + int(struct.unpack("<I", plain[4:8])[0]) if len(plain) >= 8 else len(plain)


def record_starts(plain: bytes) -> list[int]:
    """Where records begin, as far as the lengths make sense."""
    at, found = header_end(plain), []
    while at + 16 <= len(plain) and plain[at] >= 4:
        found.append(at)
        at += plain[at] * 4
    return found


def text_starts(plain: bytes) -> list[int]:
    """Where something that is not zero begins in the header: symbols, mostly."""
    end = min(header_end(plain), len(plain))
    return [i for i in range(8, end) if plain[i] and not plain[i - 1]]
