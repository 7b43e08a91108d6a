"""The batch folder is what the vendor would send."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import zstandard

from pipeline.errors import RequestError
from pipeline.sample import SampleOptions, write_sample
from pipeline.sample.folder import SCHEMAS, DbnFile
from pipeline.sample.instruments import INSTRUMENTS
from tests.sample.conftest import IDS, Sample
from tests.sample.replay import UNDEF

TINY = SampleOptions(out=Path(), days=1, records=1_500)


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_every_day_has_a_file_of_every_schema(sample: Sample) -> None:
    names = {path.name for path in sample.folder.iterdir()}
    expected = {
        f"sim-mdp3-{day}.{schema}.dbn.zst" for day in ("20250601", "20250602") for schema in SCHEMAS
    }
    expected |= {f"{name}.json" for name in ("metadata", "symbology", "condition", "manifest")}
    assert names == expected


def test_manifest_lists_every_other_file_with_size_and_hash(sample: Sample) -> None:
    manifest = json.loads((sample.folder / "manifest.json").read_text())
    listed = {line["filename"]: line for line in manifest["files"]}
    hashes = digest(sample.folder)
    del hashes["manifest.json"]
    assert {name: line["hash"] for name, line in listed.items()} == {
        name: f"sha256:{value}" for name, value in hashes.items()
    }
    assert all(
        line["size"] == (sample.folder / name).stat().st_size for name, line in listed.items()
    )
    assert manifest["job_id"] == sample.folder.name


def test_json_files_have_the_form_of_a_real_batch_folder(sample: Sample, real_data: Path) -> None:
    for name in ("metadata", "symbology"):
        ours = json.loads((sample.folder / f"{name}.json").read_text())
        real = json.loads((real_data / "batch-folder" / f"{name}.json").read_text())
        assert set(real) <= set(ours)
        assert set(ours) - set(real) <= {"simulation"}
    assert set(json.loads((sample.folder / "metadata.json").read_text())["query"]) == set(
        json.loads((real_data / "batch-folder" / "metadata.json").read_text())["query"]
    )
    condition = json.loads((sample.folder / "condition.json").read_text())
    assert [line["date"] for line in condition] == ["2025-06-01", "2025-06-02"]


def test_symbology_maps_every_symbol(sample: Sample) -> None:
    result = json.loads((sample.folder / "symbology.json").read_text())["result"]
    assert {symbol: int(spans[0]["s"]) for symbol, spans in result.items()} == IDS


def test_metadata_and_records_are_two_frames_with_checksums(sample: Sample) -> None:
    data = (sample.folder / "sim-mdp3-20250602.mbo.dbn.zst").read_bytes()
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    head = decompressor.decompress(data)
    assert head[:4] == b"DBN\x03"
    assert len(head) == 8 + int.from_bytes(head[4:8], "little")
    for frame in (data, decompressor.unused_data):
        assert zstandard.get_frame_parameters(frame).has_checksum


@pytest.mark.filterwarnings("ignore")  # the client's own, about pandas
def test_the_vendors_client_opens_every_file_and_finds_symbols(sample: Sample) -> None:
    import databento

    for path in sorted(sample.folder.glob("*.dbn.zst")):
        store = databento.DBNStore.from_file(path)
        frame = store.to_df()
        assert store.dataset == "SIM.MDP3"
        assert str(store.schema) == path.name.split(".")[1]
        if path.name == "sim-mdp3-20250601.statistics.dbn.zst":
            assert frame.empty  # no session has closed yet
            continue
        symbols = "raw_symbol" if str(store.schema) == "definition" else "symbol"
        assert set(frame[symbols]) == set(IDS), path.name
        assert len(frame) > 0


@pytest.mark.filterwarnings("ignore")
def test_the_vendors_client_reads_the_same_records(sample: Sample) -> None:
    import databento

    for day in sample.days:
        path = sample.folder / f"sim-mdp3-{day}.mbo.dbn.zst"
        theirs = databento.DBNStore.from_file(path).to_ndarray()
        assert np.array_equal(theirs, sample.read(day, "mbo"))


def test_definitions_give_tick_and_multiplier(sample: Sample) -> None:
    for day in sample.days:
        rows = sample.read(day, "definition")
        assert rows["raw_symbol"].tolist() == [b"SIMM5", b"SIMU5"] + 2 * [b"SIMM5-SIMU5"]
        assert rows["instrument_class"].tolist() == [b"F", b"F", b"S", b"S"]
        assert rows["min_price_increment"].tolist() == [250_000_000] * 2 + [50_000_000] * 2
        tick, amount = rows["min_price_increment"], rows["min_price_increment_amount"]
        assert set((amount * 10**9 // tick * 10**9 // rows["display_factor"]).tolist()) == {
            50 * 10**9
        }
        assert set(rows["unit_of_measure_qty"].tolist()) == {50 * 10**9}
        assert set(rows["contract_multiplier"].tolist()) == {2**31 - 1}
        assert set(rows["strike_price"].tolist()) == {UNDEF}
        assert set(rows["match_algorithm"].tolist()) == {b"F"}
        legs = rows[2:]
        assert legs["leg_raw_symbol"].tolist() == [b"SIMM5", b"SIMU5"]
        assert legs["leg_side"].tolist() == [b"B", b"A"]
        assert legs["leg_instrument_id"].tolist() == [IDS["SIMM5"], IDS["SIMU5"]]


def test_definitions_are_filled_as_in_a_real_file(sample: Sample, real_data: Path) -> None:
    # The same fields are set, and unset to the same sentinels, as in ES's definition.
    raw = (real_data / "formats" / "test_data.definition.v3.dbn.zst").read_bytes()
    body = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
    ours = sample.read("20250602", "definition")[0]
    real = np.frombuffer(body[8 + int.from_bytes(body[4:8], "little") :], dtype=ours.dtype)[0]
    assert ours["length"] == real["length"]
    assert ours["rtype"] == real["rtype"]


def test_same_options_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_sample(replace(TINY, out=tmp_path / "a"))
    second = write_sample(replace(TINY, out=tmp_path / "b"))
    other = write_sample(replace(TINY, out=tmp_path / "c", seed=2))
    assert digest(first.folder) == digest(second.folder)
    name = "sim-mdp3-20250602.mbo.dbn.zst"
    assert digest(first.folder)[name] != digest(other.folder)[name]


def test_bytes_do_not_depend_on_the_chunks_written(tmp_path: Path) -> None:
    records = np.arange(7 * 40_000, dtype=np.int64).reshape(-1, 7) % 1_013
    hashes = set()
    for number, chunk in enumerate((40_000, 1_777, 16_384)):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = DbnFile(folder, date(2025, 6, 2), "mbo", INSTRUMENTS)
        for start in range(0, len(records), chunk):
            file.write(records[start : start + chunk])
        hashes.add(str(file.close()["hash"]))
        assert file.records == len(records)
    assert len(hashes) == 1


def test_a_folder_of_the_same_name_is_replaced_and_no_partial_stays(tmp_path: Path) -> None:
    options = replace(TINY, out=tmp_path)
    folder = write_sample(options).folder
    (folder / "old").touch()
    lines: list[str] = []
    summary = write_sample(options, lines.append)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert not (folder / "old").exists()
    assert lines
    assert "SIMULATED" in str(summary)
    assert summary.as_json()["folder"] == str(folder)
    assert json.dumps(summary.as_json())


def test_chosen_symbols_only(tmp_path: Path) -> None:
    options = replace(TINY, out=tmp_path, symbols=("SIMU5", "SIMM5-SIMU5"))
    written = Sample(write_sample(options).folder)
    assert set(written.all("mbo")["instrument_id"].tolist()) == {
        IDS["SIMU5"],
        IDS["SIMM5-SIMU5"],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"days": 14}, "13 sessions"),
        ({"days": 0}, "1 to 13"),
        ({"records": 10}, "at least 1,000"),
        ({"symbols": ("SIMM6",)}, "did you mean 'SIMM5'"),
        ({"symbols": ()}, "at least one symbol"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=message):
        write_sample(replace(TINY, out=tmp_path / "x", **change))  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists() or not list((tmp_path / "x").iterdir())
