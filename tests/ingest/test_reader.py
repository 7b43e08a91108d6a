"""The DBN reader: what it reads, what it refuses, and that no damage passes in silence."""

from __future__ import annotations

import struct
from pathlib import Path

import databento_dbn as dbn
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.ingest.bytestream import walk_frames
from pipeline.ingest.dbn import DbnReader, read_header
from tests.ingest.making import T0, header, mbo, write


def read(path: Path, chunk_bytes: int = 56 << 15) -> dict[str, np.ndarray]:
    """All records by schema, in file order, whatever the chunks."""
    found: dict[str, list[np.ndarray]] = {}
    numbers: dict[str, list[np.ndarray]] = {}
    with DbnReader(path, chunk_bytes=chunk_bytes) as reader:
        for chunk in reader:
            found.setdefault(chunk.schema, []).append(chunk.records)
            numbers.setdefault(chunk.schema, []).append(chunk.record_numbers())
    result = {schema: np.concatenate(parts) for schema, parts in found.items()}
    for schema, parts in numbers.items():
        positions = np.concatenate(parts)
        assert (np.diff(positions.astype(np.int64)) > 0).all()
        assert len(positions) == len(result[schema])
    return result


def drain(path: Path, chunk_bytes: int = 56 << 15) -> None:
    """Read everything, keep nothing."""
    with DbnReader(path, chunk_bytes=chunk_bytes) as reader:
        for _ in reader:
            pass


@pytest.mark.parametrize("name", ["plain.dbn", "one.dbn.zst"])
@pytest.mark.parametrize("chunk_bytes", [16, 56, 57, 1000, 56 << 10, 1 << 20])
def test_every_chunk_size_gives_the_same_records(
    tmp_path: Path, name: str, chunk_bytes: int
) -> None:
    records = mbo(300)
    path = write(tmp_path / name, records)
    assert (read(path, chunk_bytes)["mbo"] == records).all()


def test_several_frames_are_one_stream(tmp_path: Path) -> None:
    records = mbo(5000)
    path = write(tmp_path / "a.dbn.zst", records, frames=7)
    assert walk_frames(path).frames == 7
    assert (read(path)["mbo"] == records).all()


def test_skippable_frames_are_skipped(tmp_path: Path) -> None:
    records = mbo(100)
    path = write(tmp_path / "a.dbn.zst", records, frames=2)
    skippable = struct.pack("<II", 0x184D2A53, 5) + b"hello"
    path.write_bytes(skippable + path.read_bytes() + skippable)
    assert (read(path)["mbo"] == records).all()


def test_send_times_appended_to_records_are_read_over(tmp_path: Path) -> None:
    plain = mbo(50)
    extended = np.zeros(50, np.dtype([*plain.dtype.descr, ("ts_out", "u8")]))
    for name in plain.dtype.names or ():
        extended[name] = plain[name]
    extended["length"] = 16
    extended["ts_out"] = T0
    path = write(tmp_path / "a.dbn", extended, ts_out=True)
    assert (read(path)["mbo"]["order_id"] == plain["order_id"]).all()


def test_a_file_without_records_is_empty_not_wrong(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.dbn.zst", b"")) == {}


@pytest.mark.parametrize("chunk_bytes", [520, 700, 4096, 1 << 20])
def test_mixed_records_are_split_by_type(real_data: Path, chunk_bytes: int) -> None:
    path = real_data / "formats" / "mixed-schemas.live.dbn.zst"
    found = read(path, chunk_bytes)
    counts = {schema: len(records) for schema, records in found.items()}
    assert counts == {
        "symbol_mapping": 20,
        "ohlcv-1m": 2,
        "statistics": 9,
        "ohlcv-1s": 2,
        "definition": 2,
        "mbo": 5,
        "mbp-1": 2,
        "trades": 2,
        "mbp-10": 2,
    }
    raw = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    decoder = dbn.DBNDecoder()
    decoder.write(raw)
    expected = [r for r in decoder.decode() if isinstance(r, dbn.MBOMsg)]
    assert [r.order_id for r in expected] == found["mbo"]["order_id"].tolist()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("formats/test_data.mbo.dbz", "is DBZ"),
        ("formats/test_data.definition.v1.dbn.frag", "(a fragment)"),
        ("formats/multi-frame.definition.v1.dbn.frag.zst", "(a fragment)"),
        ("SOURCES.md", "is a text file"),
    ],
)
def test_real_files_that_must_be_refused(real_data: Path, name: str, says: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        read_header(real_data / name)
    assert says in str(caught.value)
    assert str(real_data / name) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"ts_recv,price\n1,2\n", "is a text file"),
        (b'{"a": 1}', "is a text file"),
        (zstandard.compress(b"ts_recv,price\n1,2\n"), "is a text file"),
        (zstandard.compress(b""), "holds no data"),
        (b"\x1f\x8b\x08\x00rest", "is gzip data"),
        (b"PAR1aaaa", "is a Parquet file"),
        (b"PK\x03\x04aaaa", "is a zip archive"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07", "is no DBN file"),
        (b"DBN\x04" + b"\x10\x00\x00\x00" + bytes(16), "is DBN version 4"),
        (b"DBN\x00" + b"\x10\x00\x00\x00" + bytes(16), "is DBN version 0"),
        (b"DBN\x03" + b"\xff\xff\xff\xff", "corrupt header: its length is given as 4,294,967,295"),
        (b"DBN\x03" + b"\xff\xff\xff\x1f" + bytes(16), "truncated inside its header"),
        (b"DBN", "truncated inside its header"),
        (b"DBN\x03" + b"\x04", "truncated inside its header"),
        (b"DBN\x03" + struct.pack("<I", 16) + b"\xff" * 16, "corrupt header"),
        (b"DBN\x01" + struct.pack("<I", 200) + b"\xfe" * 200, "corrupt header"),
        (b"\x28\xb5\x2f\xfd", "is truncated"),
        (struct.pack("<II", 0x184D2A53, 500) + b"hello", "truncated inside a skippable frame"),
        (struct.pack("<II", 0x184D2A53, 5) + b"hello" + b"not a frame", "bytes after its last"),
    ],
)
def test_foreign_content_is_named_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.dbn.zst"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        drain(path)
    assert says in str(caught.value)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_header(tmp_path / "none.dbn")


def test_bytes_after_the_last_frame_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dbn.zst", mbo(100))
    path.write_bytes(path.read_bytes() + b"garbage!")
    with pytest.raises(InputError, match="record 100"):
        drain(path)


def test_a_flipped_bit_is_caught_by_the_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dbn.zst", mbo(20_000))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="corrupt"):
        drain(path, chunk_bytes=560)


def test_a_record_of_length_zero_is_an_error(tmp_path: Path) -> None:
    records = mbo(10)
    path = write(tmp_path / "a.dbn", records.tobytes() + bytes(56))
    with pytest.raises(InputError, match="record 10: is corrupt: a record of length 0"):
        drain(path)
    alone = write(tmp_path / "b.dbn", bytes(56))
    with pytest.raises(InputError, match="record 0: is corrupt"):
        drain(alone)


def test_a_record_of_another_schema_than_the_files_is_an_error(tmp_path: Path) -> None:
    records = mbo(10)
    records["rtype"][7] = 32  # bars of a second are as long as MBO records
    path = write(tmp_path / "a.dbn", records)
    with pytest.raises(InputError, match="record 7: holds a record of type 32, which its schema"):
        drain(path)


@pytest.mark.parametrize("chunk_bytes", [56, 300, 1 << 20])
def test_a_file_may_end_with_a_few_records_of_another_kind(
    tmp_path: Path, chunk_bytes: int
) -> None:
    """Fewer bytes than one more record of the kind before them has."""
    records = mbo(10)
    control = bytes([4 * 5, 23]) + bytes(78)
    path = write(tmp_path / "a.dbn", control + records.tobytes() + 2 * control)
    found = read(path, chunk_bytes)
    assert (found["mbo"] == records).all()
    assert len(found["system"]) == 3


def test_an_unknown_record_type_is_an_error(tmp_path: Path) -> None:
    records = mbo(10)
    records["rtype"][7] = 99
    path = write(tmp_path / "a.dbn", records)
    with pytest.raises(InputError, match="record 7: holds a record of unknown type 99"):
        drain(path)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("suffix", [".dbn", ".dbn.zst"])
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), chunk=st.sampled_from([56, 1000, 1 << 16]))
def test_a_cut_file_is_never_a_short_day(
    tmp_path: Path, suffix: str, frames: int, share: float, chunk: int
) -> None:
    records = mbo(2000)
    path = write(tmp_path / f"whole{suffix}", records, frames=frames)
    data = path.read_bytes()
    at = int(share * len(data))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[:at])
    start = len(header())
    if suffix == ".dbn" and at >= start and (at - start) % 56 == 0:
        return  # plain bytes that end between two records: only the manifest can tell
    if walk_frames(path).frames > 1 and _ends_with_frame(cut) and not (at - start) % 56:
        return
    with pytest.raises(InputError, match=r"^[^\n]*cut"):
        drain(cut, chunk_bytes=chunk)


def _ends_with_frame(path: Path) -> bool:
    return path.stat().st_size > 0 and not walk_frames(path).fault


def test_a_cut_at_every_byte_of_a_small_file(tmp_path: Path) -> None:
    path = write(tmp_path / "whole.dbn.zst", mbo(40))
    data = path.read_bytes()
    cut = tmp_path / "cut.dbn.zst"
    for at in range(len(data)):
        cut.write_bytes(data[:at])
        with pytest.raises(InputError):
            drain(cut)


def test_the_walk_tells_the_size_where_frames_state_it(tmp_path: Path) -> None:
    for size in (10, 300, 70_000, 200_000):
        path = tmp_path / "a.zst"
        path.write_bytes(zstandard.compress(bytes(size)))
        assert walk_frames(path).content_bytes == size
