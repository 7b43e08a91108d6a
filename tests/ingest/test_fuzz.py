"""No bytes make ingest crash, hang or load what is not there; no damage passes in silence."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import databento_dbn as dbn
import pyarrow as pa
import pytest
import zstandard

from pipeline.catalog import LakeCatalog
from pipeline.errors import InputError
from pipeline.ingest.dbn import DbnReader, read_header
from pipeline.ingest.decode import DataFile, Decoder
from pipeline.ingest.symbology import SymbolMap, from_header
from pipeline.units import UNDEF_PRICE, UNDEF_TIMESTAMP
from tests.e2e.running import mbo as command
from tests.e2e.running import process_environment
from tests.ingest.fuzzing import Case, Check, hunt, made_files, make_case, real_files
from tests.ingest.making import header, ingest, mbo, table
from tests.ingest.plain_reading import MAGIC, OF_SCHEMA, Damage, Reading, read_plainly


def load(path: Path, chunk_bytes: int) -> list[bytes]:
    """Records in file order, as the product reads them."""
    found: list[tuple[int, bytes]] = []
    with DbnReader(path, chunk_bytes=chunk_bytes) as reader:
        for chunk in reader:
            size = chunk.records.dtype.itemsize
            raw = chunk.records.tobytes()
            numbers = chunk.record_numbers().tolist()
            found += [(n, raw[i * size : (i + 1) * size]) for i, n in enumerate(numbers)]
    assert sorted(n for n, _ in found) == list(range(len(found)))
    return [raw for _, raw in sorted(found)]


T = TypeVar("T")


def attempt(work: Callable[[], T], path: Path) -> tuple[T | None, str]:
    """The result, or why the file was refused: that is one line that names it."""
    try:
        return work(), ""
    except InputError as error:
        message = str(error)
    assert message.startswith(str(path)), message
    assert "\n" not in message
    return None, message


def plainly(data: bytes) -> tuple[Reading | None, str]:
    """The plain reading, or what is damaged."""
    try:
        return read_plainly(data), ""
    except Damage as error:
        return None, str(error)


def reader_check(path: Path) -> Check:
    def check(data: bytes, case: Case) -> None:
        path.write_bytes(data)
        reading, damage = plainly(data)
        got, refused = attempt(lambda: load(path, case.chunk_bytes), path)
        if reading is None:
            assert got is None, f"loaded {len(got)} records of a damaged file: {damage}"
            return
        assert got is not None, f"refused a whole file: {refused}"
        assert got == reading.records
        if not reading.metadata.ts_out:
            vendor = vendors_records(reading.plain)
            assert vendor is None or vendor == got

    return check


def vendors_records(plain: bytes) -> list[bytes] | None:
    """What databento_dbn makes of the same bytes; None where it refuses them."""
    decoder = dbn.DBNDecoder(upgrade_policy=dbn.VersionUpgradePolicy.AS_IS)
    try:
        decoder.write(plain)
        decoded = decoder.decode()
    except BaseException:  # PanicException is no Exception
        return None
    if not decoded:
        return None
    return [bytes(record) for record in decoded[1:]]


@pytest.mark.parametrize("count", [3000, pytest.param(55_000, marks=pytest.mark.slow)])
def test_reader_against_a_plain_reading(tmp_path: Path, count: int) -> None:
    hunt(range(count), made_files(), reader_check(tmp_path / "case.dbn"))


@pytest.mark.parametrize("count", [1000, pytest.param(22_000, marks=pytest.mark.slow)])
def test_reader_on_real_files(tmp_path: Path, real_data: Path, count: int) -> None:
    hunt(range(count), real_files(real_data), reader_check(tmp_path / "case.dbn"))


# --- decoding into row groups -------------------------------------------------------------------


def decoder_check(path: Path, taken: list[int]) -> Check:
    """Every record becomes a row or a reason, in thousands of cases."""

    def check(data: bytes, case: Case) -> None:
        path.write_bytes(data)
        reading, damage = plainly(data)

        def decode() -> tuple[Decoder, list[pa.Table]]:
            symbols = SymbolMap.of(list(from_header(read_header(path))))
            decoder = Decoder([DataFile(path, "0" * 16, symbols, (0, 200_000))])
            return decoder, [group.rows for group in decoder if group.rows is not None]

        done, _ = attempt(decode, path)
        if done is None:
            return
        decoder, parts = done
        assert reading is not None, f"took a damaged file: {damage}"
        [count] = decoder.counts
        assert count.records == len(reading.records)
        assert count.rejected.total() + sum(map(len, parts)) == count.records
        for part in parts:
            assert_same_records(part, reading.records)
        taken.append(count.records)

    return check


@pytest.mark.parametrize("count", [500, pytest.param(15_000, marks=pytest.mark.slow)])
def test_every_record_becomes_a_row_or_a_reason(tmp_path: Path, count: int) -> None:
    taken: list[int] = []
    hunt(range(count), made_files(), decoder_check(tmp_path / "case.dbn", taken))
    assert len(taken) > count // 10


# --- the whole stage ---------------------------------------------------------------------------


def stage_check(folder: Path, loaded: list[int]) -> Check:
    """Every record becomes a row or a reason, or the file is refused in one line."""

    def check(data: bytes, case: Case) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        raw, lake = folder / "raw", folder / "lake"
        raw.mkdir(parents=True)
        (raw / "case.dbn").write_bytes(data)
        reading, damage = plainly(data)

        summary = ingest(lake, raw)

        if summary.failed:
            ((_, message),) = summary.failed
            assert "internal error" not in message, summary.details
            assert "\n" not in message
            assert message.startswith(str(raw / "case.dbn")), message
            assert LakeCatalog(lake).partitions("sources") == []
            return
        assert reading is not None, f"took a damaged file: {damage}"
        sources = table(lake, "sources").to_pylist()
        names = {"mbo", *(f"vendor_{s.replace('-', '_')}" for s in OF_SCHEMA if s != "mbo")}
        rows = {name: table(lake, name) for name in names if LakeCatalog(lake).partitions(name)}
        assert {row["records_in"] for row in sources} == {len(reading.records)}
        assert len({row["rejected"] for row in sources}) == 1
        total = sum(part.num_rows for part in rows.values())
        assert sum(row["rows"] for row in sources) == total
        assert total + sources[0]["rejected"] == len(reading.records)
        for part in rows.values():
            assert_same_records(part, reading.records)
        loaded.append(total)

    return check


COMMON = ("publisher_id", "instrument_id", "ts_event")
MBO_COLUMNS = (
    *COMMON, "order_id", "price", "size", "flags", "channel_id", "action", "side", "ts_recv",
    "ts_in_delta", "sequence",
)  # fmt: skip


def assert_same_records(rows: pa.Table, records: list[bytes]) -> None:
    """The fields all records share, and all of MBO's, cut out of the bytes here."""
    whole = "order_id" in rows.column_names and "action" in rows.column_names
    for place, name in enumerate(rows.column_names):
        if pa.types.is_timestamp(rows.schema.field(name).type):
            rows = rows.set_column(place, name, rows[name].cast(pa.int64()))
    for row in rows.to_pylist():
        raw = records[row["record"]]
        values = struct.unpack_from("<HIQ", raw, 2)
        if whole:
            values += struct.unpack_from("<QqIBBccQiI", raw, 16)
        for name, value in zip(MBO_COLUMNS if whole else COMMON, values, strict=True):
            got = row[name]
            if got is None:
                got = UNDEF_PRICE if name == "price" else UNDEF_TIMESTAMP
            wanted = value.decode() if isinstance(value, bytes) else value
            assert got == wanted, (name, row["record"])


@pytest.mark.parametrize("count", [200, pytest.param(5_000, marks=pytest.mark.slow)])
def test_the_stage_takes_or_refuses_every_file(tmp_path: Path, count: int) -> None:
    loaded: list[int] = []
    hunt(range(count), made_files(), stage_check(tmp_path / "case", loaded))
    assert len(loaded) > count // 10


# --- whole folders -----------------------------------------------------------------------------


def damaged_folder(raw: Path, numbers: range) -> dict[str, bytes]:
    """A file a case, named for it; returns what each was before."""
    raw.mkdir()
    bases = made_files()
    before = {}
    for number in numbers:
        case = make_case(number, sorted(bases))
        data = case.build(bases)
        if data != bases[case.base]:
            before[f"case-{number}.dbn"] = bases[case.base]
            (raw / f"case-{number}.dbn").write_bytes(data)
    return before


@pytest.mark.parametrize("count", [150, pytest.param(3_000, marks=pytest.mark.slow)])
def test_with_a_manifest_every_change_is_found(tmp_path: Path, count: int) -> None:
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    before = damaged_folder(raw, range(count))
    before["whole.dbn"] = made_files()["mbo"]
    (raw / "whole.dbn").write_bytes(before["whole.dbn"])
    entries = [
        {"filename": name, "size": len(data), "hash": f"sha256:{sha256(data).hexdigest()}"}
        for name, data in before.items()
    ]
    (raw / "manifest.json").write_text(json.dumps({"files": entries}))

    summary = ingest(lake, raw)

    assert summary.done == 1
    assert {row["file"] for row in table(lake, "sources").to_pylist()} == {"whole.dbn"}
    assert len(summary.failed) == len(before) - 1 > count // 2
    for _, message in summary.failed:
        assert message.startswith(str(raw / "case-"))
        assert "internal error" not in message


@pytest.mark.parametrize("number", range(8))
def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, number: int) -> None:
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    damaged_folder(raw, range(number * 5, number * 5 + 5))

    for path in sorted(raw.iterdir()):
        result = command("ingest", path, "--lake", lake / path.stem, "--workers", "1")

        said = result.out + result.err
        assert "Traceback" not in said
        assert "internal error" not in said
        rows = LakeCatalog(lake / path.stem).partitions("sources")
        assert result.code == (0 if rows else 1)
        assert rows or str(path) in said.replace("\n", "")


# --- files that say they are huge, or are ------------------------------------------------------

READ_ALL = """
import resource, sys
from pathlib import Path
from pipeline.errors import InputError
from pipeline.ingest.dbn import DbnReader
def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = used()
try:
    with DbnReader(Path(sys.argv[1])) as reader:
        for chunk in reader:
            pass
    print(reader.records_read, "records")
except InputError as error:
    print(error)
print((used() - before) // 1024, file=sys.stderr)
"""


def compressed(path: Path, start: bytes, piece: bytes, times: int) -> None:
    """A bomb: one frame of much of the same."""
    compressor = zstandard.ZstdCompressor().compressobj()
    with open(path, "wb") as file:
        file.write(compressor.compress(start))
        file.writelines(compressor.compress(piece) for _ in range(times))
        file.write(compressor.flush())
    assert path.stat().st_size < 1 << 20


@pytest.mark.parametrize(
    ("start", "piece", "times", "says", "mebibytes"),
    [
        # 300 MB of one record again and again: every one is read, few are held.
        (header(), mbo(1).tobytes() * 10_000, 560, "5600000 records", 48),
        (header(), bytes(1 << 20), 1000, "record 0: is corrupt: a record of length 0", 48),
        (b"DBN\x03" + b"\xff" * 4, bytes(1 << 20), 1000, "its length is given as", 48),
        # A header may be as long as this; it is held once, and copied once.
        (b"DBN\x03\x00\x00\x00\x04", bytes(1 << 20), 300, "is corrupt", 256),
        (b"DBN\x03" + b"\xff\xff\xff\x1f", bytes(1 << 20), 3, "truncated inside its header", 48),
    ],
    ids=["records", "zeros", "header of 4 GB", "header of 64 MB", "header that ends early"],
)
def test_memory_is_bounded_by_what_is_there(
    tmp_path: Path, start: bytes, piece: bytes, times: int, says: str, mebibytes: int
) -> None:
    path = tmp_path / "bomb.dbn.zst"
    compressed(path, start, piece, times)

    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(path)],
        env=process_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert says in done.stdout
    assert int(done.stderr.split()[-1]) < mebibytes


def test_a_window_larger_than_memory_is_refused(tmp_path: Path) -> None:
    """2^41 bytes, says the frame; there are none."""
    path = tmp_path / "a.dbn.zst"
    path.write_bytes(MAGIC + b"\x00" + b"\xff" + b"\x01\x00\x00")
    with pytest.raises(InputError, match="is corrupt"):
        load(path, 1 << 16)
