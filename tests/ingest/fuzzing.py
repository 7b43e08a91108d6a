"""Damaged DBN files, each made from one number, so that a failing one can be shrunk.

A case is a file, a list of operations on its decompressed bytes, a way to compress them, and a
list of operations on the compressed bytes.  All of it follows from the case's number, and any
operation can be left out: a failing case is shrunk by leaving out what it does not need.
"""

from __future__ import annotations

import base64
import random
import signal
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import numpy as np
import pytest
import zstandard

from tests.ingest.making import T0, header, mbo
from tests.ingest.plain_reading import (
    KINDS,
    MAGIC,
    SKIPPABLE,
    Damage,
    header_end,
    record_starts,
    text_starts,
    unpack,
)

EMPTY_FRAME = zstandard.ZstdCompressor(write_checksum=True).compress(b"")


# --- files to start from -----------------------------------------------------------------------


RECEIVED = {160: 40, 18: 16, 19: 16, 20: 16, 24: 16}
"""Where records have `ts_recv`; the others at 32, bars not at all."""


def blank(rtype: int, length: int, draw: random.Random) -> bytes:
    """A record of that type with contents that can be loaded."""
    times = struct.pack("<HIQ", 1, draw.choice((1, 2, 2**32 - 1)), T0 + draw.randrange(10**9))
    body = bytes([length // 4, rtype]) + times
    body += bytes(draw.choice(b"AB") for _ in range(length - 16))
    if rtype in (17, 99, 21, 22, 23, *range(32, 37)):
        return body
    return write(body, RECEIVED.get(rtype, 32), 8, T0 + draw.randrange(10**9))


def made_files() -> dict[str, bytes]:
    """Small files of all shapes, without any real data."""
    draw = random.Random(1)
    days = mbo(12, ids=(1, 2), step=6 * 3600 * 10**9)
    spanning = header(symbols={"ESM5": 1, "NQM5": 2}, end=T0 + 3 * 86_400 * 10**9)
    stream = b"".join(
        blank(rtype, draw.choice(lengths), draw) * draw.choice((1, 1, 3))
        for rtype, lengths in KINDS.items()
    )
    plain = mbo(9)
    sent = np.zeros(9, np.dtype([*plain.dtype.descr, ("ts_out", "u8")]))
    for name in plain.dtype.names or ():
        sent[name] = plain[name]
    sent["length"], sent["ts_out"] = 16, T0
    files = {
        "mbo": header() + plain.tobytes(),
        "long": header() + mbo(400, ids=(1, 2, 3)).tobytes(),
        "days": spanning + days.tobytes(),
        "empty": header(),
        "trades": header(schema="trades") + mbo(7, schema="trades").tobytes(),
        "definition": header(schema="definition") + mbo_definitions().tobytes(),
        "ts_out": header(ts_out=True) + sent.tobytes(),
        "mixed": header(schema=None, start=0, end=None) + stream,
        "unmapped": header(symbols={}) + plain.tobytes(),
    }
    for version in (1, 2):
        old = bytearray(files["mbo"])
        metadata = dbn.Metadata.decode(bytes(old[: header_end(bytes(old))]))
        metadata = dbn.Metadata(
            dataset=metadata.dataset, start=metadata.start, end=metadata.end,
            stype_in=metadata.stype_in, stype_out=metadata.stype_out, schema=metadata.schema,
            symbols=["ESM5"], partial=[], not_found=[], mappings=[], version=version,
        )  # fmt: skip
        files[f"version {version}"] = bytes(metadata.encode()) + plain.tobytes()
    return files


def mbo_definitions() -> Any:
    records = np.zeros(2, np.dtype(dbn.InstrumentDefMsg._dtypes))
    records["length"], records["rtype"] = records.dtype.itemsize // 4, 19
    records["instrument_id"] = (1, 2)
    records["ts_recv"] = records["ts_event"] = T0
    records["expiration"] = T0 + 90 * 86_400 * 10**9
    records["raw_symbol"] = (b"ESM5", b"NQM5")
    for name in records.dtype.names or ():
        if records.dtype[name] == np.dtype("S1"):
            records[name] = b"F"
    return records


def real_files(folder: Path) -> dict[str, bytes]:
    """Every real file of less than 2 KB, whatever it is."""
    paths = sorted([*(folder / "formats").iterdir(), *(folder / "datasets").rglob("*.zst")])
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.stat().st_size < 2048}


# --- operations --------------------------------------------------------------------------------

Op = tuple[Any, ...]

NUMBERS = (
    0, 1, 2, 3, 4, 13, 14, 15, 16, 17, 22, 71, 127, 128, 255, 256, 65_535, 2**31 - 1, 2**31,
    2**32 - 1, 10**18, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1,
)  # fmt: skip
WIDTHS = (1, 1, 2, 4, 4, 8)
TEXTS = (
    b"", b"1", b"9" * 30, b"9" * 70, "²".encode(), "٣".encode(), "é" .encode() * 30, b"/", b"..",
    b"a/../b", b"A" * 71, b"NULL", b"#1", b"\xff", b"%2F", b"ES.FUT", b"-1", b"\n", b" ",
)  # fmt: skip


def byte_op(draw: random.Random) -> Op:
    """An operation any bytes can suffer; places are shares of the length."""
    at, other = draw.random(), draw.random()
    name = draw.choice(("flip", "flip", "flip", "set", "cut", "drop", "repeat", "insert", "swap"))
    length = draw.choice((1, 1, 2, 7, 8, 16, 56, 57, 112, 300))
    if name == "flip":
        return (name, at, draw.randrange(8))
    if name == "set":
        return (name, at, draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256))))
    if name == "cut":
        return (name, at)
    if name == "insert":
        return (name, at, draw.randbytes(draw.choice((1, 3, 4, 8, 56, 100))))
    if name == "swap":
        return (name, at, other, length)
    return (name, at, length)


def inner_op(draw: random.Random) -> Op:
    """An operation on decompressed bytes, half of them aimed at a field."""
    kind = draw.random()
    width, number = draw.choice(WIDTHS), draw.choice((*NUMBERS, draw.getrandbits(64)))
    if kind < 0.25:
        return byte_op(draw)
    if kind < 0.5:
        return ("header", draw.random(), width, number)
    if kind < 0.53:
        return ("text", draw.random(), draw.choice(TEXTS))
    if kind < 0.57:
        return ("header", draw.choice((3, 4, 24, 26, 34, 42, 50, 51, 52, 53)), width, number)
    if kind < 0.8:
        offset = draw.choice((0, 1, 2, 4, 8, 16, 24, 32, 36, 37, 38, 39, 40, 48, 52))
        every = draw.random() < 0.2
        return ("every" if every else "record", draw.random(), offset, width, number)
    rtype = draw.choice((*KINDS, 17, 99))
    length = draw.choice(KINDS.get(rtype, (56,))) + draw.choice((0, 0, 0, 8))
    if kind < 0.9:
        return ("kind", draw.random(), length // 4, rtype)
    body = blank(rtype, length, draw)
    return (draw.choice(("put", "replace")), draw.random(), body)


def outer_op(draw: random.Random) -> Op:
    """An operation on the file's bytes, or on its zstd frames."""
    if draw.random() < 0.6:
        return byte_op(draw)
    name = draw.choice(("frame drop", "frame repeat", "frame swap", "frame put"))
    if name != "frame put":
        return (name, draw.random(), draw.random())
    stated = draw.choice((5, 5, 4, 6, 2**31, 2**32 - 1))
    frames = (EMPTY_FRAME, SKIPPABLE + struct.pack("<I", stated) + b"hello", MAGIC, b"DBN")
    return (name, draw.random(), draw.choice(frames))


def apply(data: bytes, op: Op) -> bytes:
    """The bytes after an operation."""
    name, where = op[0], op[1]
    if name.startswith("frame"):
        return b"".join(shuffle(frames_of(data), *op))
    if name == "every":
        for at in record_starts(data):
            data = write(data, at + op[2], *op[3:])
        return data
    if name in ("record", "kind", "put", "replace"):
        starts = record_starts(data)
        if not starts:
            return data
        at = starts[int(where * len(starts))]
        if name in ("put", "replace"):
            end = at + (data[at] * 4 if name == "replace" else 0)
            return data[:at] + op[2] + data[end:]
        if name == "kind":
            return data[:at] + bytes(op[2:]) + data[at + 2 :]
        return write(data, at + op[2], *op[3:])
    if name == "text":
        starts = text_starts(data)
        at = starts[int(where * len(starts))] if starts else 0
        return data[:at] + (op[2] + b"\0")[: len(data) - at] + data[at + len(op[2]) + 1 :]
    if name == "header":
        limit = min(header_end(data), len(data))
        return write(data, where if isinstance(where, int) else int(where * limit), *op[2:])
    at = int(where * len(data))
    if name == "flip":
        return write(data, at, 1, data[at] ^ 1 << op[2]) if data else data
    if name == "set":
        return write(data, at, 1, op[2])
    if name == "cut":
        return data[:at]
    if name == "drop":
        return data[:at] + data[at + op[2] :]
    if name == "repeat":
        return data[: at + op[2]] + data[at:]
    if name == "insert":
        return data[:at] + op[2] + data[at:]
    assert name == "swap"
    first, second = sorted((at, int(op[2] * len(data))))
    size = min(op[3], second - first, len(data) - second)
    one, other = data[first : first + size], data[second : second + size]
    middle = data[first + size : second]
    return data[:first] + other + middle + one + data[second + size :]


def write(data: bytes, at: int, width: int, number: int) -> bytes:
    """Overwrite; never longer than before."""
    word = (number % (1 << 8 * width)).to_bytes(width, "little")
    return (data[:at] + word + data[at + width :])[: len(data)]


def frames_of(data: bytes) -> list[bytes]:
    """The frames of a compressed file, as far as there are whole ones, and the rest."""
    found = []
    while data[:4] == MAGIC:
        decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        try:
            decoder.decompress(data)
        except zstandard.ZstdError:
            break
        rest = decoder.unused_data if decoder.eof else b""
        found.append(data[: len(data) - len(rest)])
        data = rest
    return [*found, data] if data else found


def shuffle(frames: list[bytes], name: str, at: float, other: Any) -> list[bytes]:
    place = int(at * len(frames))
    if name == "frame put":
        return [*frames[:place], other, *frames[place:]]
    if not frames:
        return frames
    if name == "frame drop":
        return frames[:place] + frames[place + 1 :]
    if name == "frame repeat":
        return [*frames[: place + 1], *frames[place:]]
    second = int(other * len(frames))
    frames = list(frames)
    frames[place], frames[second] = frames[second], frames[place]
    return frames


# --- cases -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What to make a file of."""

    number: int
    base: str
    inner: tuple[Op, ...]
    frames: int | None
    """None: not compressed, or left as it was."""
    checksum: bool
    outer: tuple[Op, ...]
    chunk_bytes: int

    def build(self, bases: dict[str, bytes]) -> bytes:
        data = bases[self.base]
        if self.inner or self.frames:
            try:
                data = unpack(data)
            except Damage:
                data = bases[self.base]
        for op in self.inner:
            data = apply(data, op)
        if self.frames:
            compressor = zstandard.ZstdCompressor(level=1, write_checksum=self.checksum)
            cuts = [len(data) * i // self.frames for i in range(self.frames + 1)]
            data = b"".join(compressor.compress(data[a:b]) for a, b in pairwise(cuts))
        for op in self.outer:
            data = apply(data, op)
        return data


def make_case(number: int, names: list[str]) -> Case:
    draw = random.Random(number)
    aim = draw.choice(("inner", "inner", "outer", "outer", "both", "none" if number % 20 else ""))
    counts = (1, 1, 1, 2, 2, 3, 5)
    return Case(
        number=number,
        base=draw.choice(names),
        inner=tuple(inner_op(draw) for _ in range(draw.choice(counts)) if aim in ("inner", "both")),
        frames=draw.choice((None, None, 1, 2, 5)),
        checksum=draw.random() < 0.5,
        outer=tuple(outer_op(draw) for _ in range(draw.choice(counts)) if aim in ("outer", "both")),
        chunk_bytes=draw.choice((16, 56, 100, 560, 4096, 56 << 15)),
    )


class Hang(BaseException):
    """A case took longer than any case may."""


SECONDS = 20.0
"""Nothing here takes a hundredth of it."""


@contextmanager
def watchdog() -> Iterator[None]:
    def bark(*_: Any) -> None:
        raise Hang(f"no end after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


Check = Callable[[bytes, Case], None]


def trouble(case: Case, bases: dict[str, bytes], check: Check) -> str:
    """What a case shows to be wrong, or nothing."""
    data = case.build(bases)
    try:
        with watchdog():
            check(data, case)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # PanicException is no Exception
        return f"{type(error).__name__}: {error}"
    return ""


def shrink(case: Case, bases: dict[str, bytes], check: Check) -> Case:
    """The case without the operations its trouble does not need."""
    smaller = True
    while smaller:
        smaller = False
        fewer = [replace(case, frames=None)] if case.frames else []
        fewer += [replace(case, base="mbo")] if case.base != "mbo" and "mbo" in bases else []
        for i in range(len(case.inner)):
            fewer.append(replace(case, inner=case.inner[:i] + case.inner[i + 1 :]))
        for i in range(len(case.outer)):
            fewer.append(replace(case, outer=case.outer[:i] + case.outer[i + 1 :]))
        for candidate in fewer:
            if trouble(candidate, bases, check):
                case, smaller = candidate, True
                break
    return case


def hunt(numbers: Iterable[int], bases: dict[str, bytes], check: Check) -> None:
    """Run cases; the first that shows something is shrunk and reported with its bytes."""
    names = sorted(bases)
    for number in numbers:
        case = make_case(number, names)
        if not trouble(case, bases, check):
            continue
        small = shrink(case, bases, check)
        data = small.build(bases)
        text = base64.b85encode(data[:3000]).decode()
        pytest.fail(
            f"case {number}: {trouble(small, bases, check)}\n{small}\n"
            f"{len(data)} bytes, base85 of the first 3,000:\n{text}",
            pytrace=False,
        )
