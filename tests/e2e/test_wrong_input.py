"""What people get wrong: one clear line, the right exit code, and nothing half-done."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, Result, command, mbo, process_environment

GOOD, SOME_FAILED, WRONG_REQUEST = 0, 1, 2


@pytest.fixture
def raw(sample_raw: Path, tmp_path: Path) -> Path:
    """A copy of the sample's MBO and definition files of one day, without the vendor's notes."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for path in sorted(sample_raw.rglob("*.dbn.zst")):
        if ".mbo." in path.name or ".definition." in path.name:
            shutil.copy(path, folder)
    return folder


def one_line(result: Result, code: int, *words: str) -> None:
    """The error is readable lines without a traceback, and says the words."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err + result.out
    assert "internal error" not in result.err
    lines = [line for line in result.err.splitlines() if all(word in line for word in words)]
    assert lines, f"no line with {words} in:\n{result.err}"


def test_a_missing_path(tmp_path: Path) -> None:
    result = mbo("ingest", tmp_path / "nowhere", "--lake", tmp_path / "lake")
    one_line(result, WRONG_REQUEST, "nowhere", "no such file")


def test_no_raw_folder_at_all(tmp_path: Path) -> None:
    one_line(mbo("ingest", "--lake", tmp_path / "lake"), WRONG_REQUEST, "data/raw", "mbo sample")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = mbo("ingest", tmp_path / "empty", "--lake", tmp_path / "lake")
    one_line(result, WRONG_REQUEST, "empty", "no .dbn")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.dbn.zst", b"these are only words\n" * 50, ("notes.dbn.zst",)),
        ("empty.dbn.zst", b"", ("empty.dbn.zst",)),
    ],
)
def test_a_text_file_with_the_wrong_name(
    raw: Path, tmp_path: Path, name: str, content: bytes, words: tuple[str, ...]
) -> None:
    (raw / name).write_bytes(content)
    result = mbo("ingest", raw, "--lake", tmp_path / "lake", "--workers", "1")
    one_line(result, SOME_FAILED, *words)
    assert (tmp_path / "lake" / "mbo").is_dir(), "the good files were done all the same"


@pytest.mark.parametrize("name", ["test_data.mbo.dbz", "test_data.definition.v1.dbn.frag"])
def test_old_and_partial_formats(real_data: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    shutil.copy(real_data / "formats" / name, folder)
    result = mbo("ingest", folder / name, "--lake", tmp_path / "lake", "--workers", "1")
    one_line(result, SOME_FAILED, name)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_nothing_of_a_truncated_file_appears(raw: Path, tmp_path: Path, keep: float) -> None:
    cut = sorted(raw.glob("*.mbo.dbn.zst"))[1]
    day = cut.name.split("-")[2][:8]
    data = cut.read_bytes()
    cut.write_bytes(data[: int(len(data) * keep)])
    lake = tmp_path / "lake"
    result = mbo("ingest", raw, "--lake", lake, "--workers", "1")
    one_line(result, SOME_FAILED, cut.name)
    days = {path.parent.parent.name for path in (lake / "mbo").rglob("*.parquet")}
    assert f"date={day[:4]}-{day[4:6]}-{day[6:]}" not in days
    assert days, "the other days were done all the same"
    assert not list((lake / "_tmp").iterdir())


def test_a_file_that_differs_from_its_manifest(sample_raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    shutil.copytree(sample_raw, folder)
    manifest = next(folder.rglob("manifest.json"))
    content = json.loads(manifest.read_text())
    entry = next(f for f in content["files"] if ".mbo." in f["filename"])
    entry["hash"] = "sha256:" + "0" * 64
    manifest.write_text(json.dumps(content))
    result = mbo("ingest", folder, "--lake", tmp_path / "lake", "--workers", "1")
    one_line(result, SOME_FAILED, entry["filename"], "manifest")


def test_two_different_files_for_one_day(sample_raw: Path, tmp_path: Path, raw: Path) -> None:
    other = tmp_path / "other"
    mbo(
        "sample", "--out", other, "--days", "2", "--records", "20000", "--seed", "9", "--quiet"
    ).checked()
    name = sorted(raw.glob("*.mbo.dbn.zst"))[1].name
    second = raw / "again"
    second.mkdir()
    shutil.copy(next(other.rglob(name)), second)
    result = mbo("ingest", raw, "--lake", tmp_path / "lake", "--workers", "1")
    one_line(result, SOME_FAILED, str(raw / name), str(second / name))


def test_the_same_file_twice_is_taken_once(raw: Path, tmp_path: Path) -> None:
    from pipeline.lake import open_lake

    mbo("ingest", raw, "--lake", tmp_path / "one", "--workers", "1").checked()
    shutil.copytree(raw, raw / "copy")
    mbo("ingest", raw, "--lake", tmp_path / "two", "--workers", "1").checked()
    one, two = (open_lake(tmp_path / n).partitions("mbo") for n in ("one", "two"))
    assert [s.rows for s in one] == [s.rows for s in two]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backtest", "mean_reversoin"), ("mean_reversoin", "mean_reversion")),
        (("backtest", "mean_reversion", "-p", "entry_zz=2"), ("entry_zz",)),
        (("features", "--set", "defualt"), ("defualt", "default")),
        (("list", "featuers"), ("featuers", "features")),
        (("describe", "queue_imbalanc"), ("queue_imbalanc", "queue_imbalance")),
        (("book", "--start", "yesterday"), ("yesterday", "2025-05-01")),
        (("book", "--start", "2025-05-02", "--end", "2025-05-01"), ("after",)),
        (("status", "--config", "nowhere.toml"), ("nowhere.toml",)),
        (("sql", "SELEC 1"), ("SELEC",)),
        (("sql", "SELECT * FROM trdes"), ("trdes", "trades")),
        (("sql", "DROP TABLE trades"), ()),
    ],
)
def test_wrong_words(sample_lake: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    one_line(mbo(*arguments, "--lake", sample_lake), WRONG_REQUEST, *words)


def test_an_unknown_setting(sample_lake: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[book]\ndephts = 5\n")
    result = mbo("book", "--lake", sample_lake, "--config", config)
    one_line(result, WRONG_REQUEST, "book.dephts", "book.depth")


def test_an_unknown_feature_in_a_set(sample_lake: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('[features.sets.mine]\nclock = "event"\nfeatures = ["queue_imbalanc"]\n')
    result = mbo("features", "--set", "mine", "--lake", sample_lake, "--config", config)
    one_line(result, WRONG_REQUEST, "queue_imbalanc", "queue_imbalance")


def test_an_option_typer_does_not_know(sample_lake: Path) -> None:
    assert mbo("book", "--lake", sample_lake, "--colour").code == WRONG_REQUEST


def test_a_full_disk(raw: Path, tmp_path: Path) -> None:
    """A real one: a small file system of our own, where this machine lets us have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=400k none {disk} && "
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, mount + "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no private file systems on this machine (unshare and mount are refused)")
    words = " ".join(command("ingest", raw, "--lake", disk / "lake", "--workers", "1"))
    script = mount + f"{words}; code=$?; ls {disk}/lake/_tmp; exit $code"
    done = subprocess.run(
        [*unshare, script],
        env=process_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    one_line(Result(done.returncode, done.stdout, done.stderr), SOME_FAILED, "no space left")
    assert done.stdout.strip() == "", "temporaries are removed"


def test_an_unknown_clock_names_file_and_key(feature_lake: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[features.sets.mine]\nclock = 'evnt'\nfeatures = ['mid']\n")
    result = mbo("features", "--set", "mine", "--config", config, "--lake", feature_lake)
    one_line(result, WRONG_REQUEST, "clock 'evnt'", "mine.toml: features.sets.mine.clock", "event")


def test_a_mistyped_instrument_key_is_found_at_once(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[instruments.'ES*']\ntick_sise = '0.25'\n")
    result = mbo("status", "--config", config, "--lake", tmp_path)
    one_line(result, WRONG_REQUEST, "mine.toml", "'tick_sise'", "did you mean 'tick_size'")


def test_results_of_a_raw_file_that_was_damaged_or_is_gone_are_not_passed_over(
    raw: Path, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    mbo("ingest", raw, "--lake", lake, "--workers", "1").checked()
    damaged, gone = sorted(raw.glob("*.mbo.dbn.zst"))[:2]
    assert 'raw_changes": []' in mbo("status", "--lake", lake, "--json").checked().out
    damaged.write_bytes(damaged.read_bytes()[:-500])
    gone.unlink()

    again = mbo("ingest", raw, "--lake", lake, "--workers", "1")
    one_line(again, SOME_FAILED, damaged.name, "has changed since it was read", "(and 1 more")
    book = mbo("book", "--lake", lake, "--workers", "1", "--symbols", "SIMU5", "--json").checked()
    found = json.loads(book.out)["stages"][0]["raw_changes"]
    assert [(Path(item["file"]).name, item["change"]) for item in found] == [
        (damaged.name, "has changed since it was read"),
        (gone.name, "is gone"),
    ]
    text = mbo("status", "--lake", lake).checked().out
    assert "2 raw files not what was read" in text
    assert f"{gone.name} is gone" in text


def test_raw_files_that_were_moved_are_not_gone(raw: Path, tmp_path: Path) -> None:
    """Nothing is computed again for them: the records of what they gave name the old place."""
    lake, moved = tmp_path / "lake", tmp_path / "archive"
    mbo("ingest", raw, "--lake", lake, "--workers", "1").checked()
    raw.rename(moved)
    assert "not what was read" in mbo("status", "--lake", lake).checked().out
    again = mbo("ingest", moved, "--lake", lake, "--workers", "1").checked()
    assert " done" not in again.err
    assert "gone" not in again.err
    found = json.loads(mbo("status", "--lake", lake, "--json").checked().out)
    assert found["raw_changes"] == found["orphans"] == []
