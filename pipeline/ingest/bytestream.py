"""The bytes of a DBN file, plain or zstd, as one stream that never ends early in silence.

zstandard's reader takes the end of a truncated file for the end of the data.  The frames are
therefore walked once beforehand, block header by block header, without decompressing: what the
walk finds wrong becomes an error as soon as the reader runs dry.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zstandard

from pipeline.errors import InputError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_WALK_BLOCK = 1 << 9
"""Bytes read at a place of the walk: headers lie up to 128 KiB apart, what is between is not
wanted."""
_READ_BYTES = 1 << 20

DAMAGED = "download or copy the file again"
"""What to do about a file that is cut short or corrupt."""

_FOREIGN = (
    (b"\x1f\x8b", "gzip data", "unpack it first"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"PAR1", "a Parquet file", "raw folders hold Databento's .dbn or .dbn.zst files"),
    (b"BZh", "bzip2 data", "unpack it first"),
    (b"\xfd7zXZ", "xz data", "unpack it first"),
    (b"ARROW1", "an Arrow file", "raw folders hold Databento's .dbn or .dbn.zst files"),
)


@dataclass(frozen=True)
class Frames:
    """What a walk over a zstd file found."""

    frames: int
    """Complete data frames."""
    content_bytes: int | None
    """Decompressed size, where every frame states it."""
    fault: str
    """Empty, or what is wrong with the structure."""


def is_skippable(magic: bytes) -> bool:
    return len(magic) == 4 and int.from_bytes(magic, "little") in _SKIPPABLE


def walk_frames(path: Path) -> Frames:
    """Follow frame and block headers from the first byte to the last."""
    size = path.stat().st_size
    with open(path, "rb", buffering=0) as file:
        window = _Window(file.fileno())
        at = frames = 0
        content: int | None = 0
        while at < size:
            magic = window.bytes(at, 4)
            if is_skippable(magic):
                at += 8 + int.from_bytes(window.bytes(at + 4, 4), "little")
                if at > size:
                    return Frames(frames, content, "is truncated inside a skippable frame")
                continue
            if magic != ZSTD_MAGIC:
                if ZSTD_MAGIC.startswith(magic) or len(magic) < 4:
                    return Frames(frames, content, "is truncated inside a frame header")
                left = size - at
                return Frames(frames, content, f"has {left:,} bytes after its last zstd frame")
            end, stated = _walk_frame(window, at, size)
            if end is None:
                return Frames(frames, content, "is truncated: its last zstd frame is incomplete")
            content = None if content is None or stated is None else content + stated
            at = end
            frames += 1
    return Frames(frames, content, "")


class _Window:
    """Reads of a few bytes here and there, served from blocks."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._start = 0
        self._block = b""

    def bytes(self, at: int, count: int) -> bytes:
        offset = at - self._start
        if offset < 0 or offset + count > len(self._block):
            self._start = at
            self._block = os.pread(self._descriptor, _WALK_BLOCK, at)
            offset = 0
        return self._block[offset : offset + count]


def _walk_frame(window: _Window, at: int, size: int) -> tuple[int | None, int | None]:
    """End of the frame that starts at ``at`` (None if it is cut off), and its stated size."""
    descriptor = window.bytes(at + 4, 1)
    if not descriptor:
        return None, None
    flags = descriptor[0]
    single_segment, checksum = bool(flags & 0x20), bool(flags & 0x04)
    dictionary_bytes = (0, 1, 2, 4)[flags & 3]
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[flags >> 6]
    size_at = at + 5 + (0 if single_segment else 1) + dictionary_bytes
    stated: int | None = None
    if size_bytes:
        stated = int.from_bytes(window.bytes(size_at, size_bytes), "little")
        stated += 256 if size_bytes == 2 else 0
    block = size_at + size_bytes
    while True:
        header = window.bytes(block, 3)
        if len(header) < 3:
            return None, stated
        value = int.from_bytes(header, "little")
        last, kind, length = value & 1, (value >> 1) & 3, value >> 3
        block += 3 + (1 if kind == 1 else length)
        if block > size:
            return None, stated
        if last:
            break
    block += 4 if checksum else 0
    return (block if block <= size else None), stated


class ByteStream:
    """Decompressed bytes of a file, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        """Why the data ended before the file did; empty where it did not."""
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        try:
            start = self._file.read(4)
            self._file.seek(0)
            self.compressed = start == ZSTD_MAGIC or is_skippable(start)
            self._read: Callable[[memoryview], int | None] = self._file.readinto
            if self.compressed:
                self._read = (
                    zstandard.ZstdDecompressor()
                    .stream_reader(self._file, read_size=1 << 17, read_across_frames=True)
                    .readinto1
                )
        except BaseException:
            self._file.close()
            raise

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer; fewer bytes only at the end of the data or before a ``fault``."""
        filled = 0
        while filled < len(buffer) and not self.fault:
            try:
                # A read that fails loses what it had: the rest of the buffer is not at stake.
                count = self._read(buffer[filled:])
            except zstandard.ZstdError as error:
                self.fault = f"is corrupt: {_plain(error)}"
                break
            except OSError as error:
                self.fault = f"cannot be read: {error.strerror}"
                break
            if not count:
                break
            filled += count
        return filled

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes; fewer only at the end of the data.

        Takes no more memory than there are bytes: ``count`` may come from a corrupt header.
        """
        parts: list[bytes] = []
        while count:
            piece = bytearray(min(count, _READ_BYTES))
            got = self.readinto(memoryview(piece))
            parts.append(bytes(piece[:got]))
            count -= got
            if got < len(piece):
                break
        return b"".join(parts)

    def position(self) -> int:
        """Bytes of the file consumed so far (compressed bytes, where it is)."""
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def _plain(error: Exception) -> str:
    """The library's reason without its own prefix."""
    return str(error).removeprefix("zstd decompress error: ").removeprefix("zstd ").lower()


def refuse_foreign(path: Path, start: bytes) -> None:
    """Say what a file that is no DBN is, as far as its first bytes tell.

    Raises
    ------
    InputError
        Always.
    """
    for magic, what, todo in _FOREIGN:
        if start.startswith(magic):
            raise InputError.at(path, f"is {what}, not DBN", todo=todo)
    try:
        text = start.decode("ascii")
        is_text = all(c.isprintable() or c in "\r\n\t" for c in text)
    except UnicodeDecodeError:
        is_text = False
    what = (
        f"is a text file (it begins {text[:8]!r}), not DBN"
        if is_text
        else f"is no DBN file (it begins with the bytes {start[:4].hex(' ')})"
    )
    raise InputError.at(
        path, what, todo="raw folders hold Databento's .dbn or .dbn.zst files; move it elsewhere"
    )
