"""`mbo download` against the vendor's API on the loopback, through the client as it is."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import MboError
from tests.download.conftest import no_key_in
from tests.download.gateway import KEY, USD_A_BYTE, Gateway, cut, hang_up, status
from tests.e2e.running import Result, command, mbo, process_environment

Download = Callable[..., Result]
MBO_FILE = r"download/.*0602\.mbo"


def fetched(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.dbn.zst"))
    }


def served(folder: Path, *schemas: str) -> dict[str, str]:
    names = [name for schema in schemas for name in folder.glob(f"*.{schema}.dbn.zst")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(names)}


def test_cost_comes_first_and_orders_nothing(gateway: Gateway, download: Download) -> None:
    result = download().checked()

    assert gateway.count("submit_job") == 0
    assert not Path("data").exists()
    assert "nothing was ordered: say --yes" in result.out
    told = json.loads(download("--json").out)
    lines = {(line["schema"], line["first"]): line for line in told["quote"]}
    assert {day for _, day in lines} == {"2025-06-01", "2025-06-02"}
    assert {schema for schema, _ in lines} == {"mbo", "definition", "status"}
    assert all(line["bytes"] == 56 * line["records"] > 0 for line in lines.values())
    assert told["usd"] == pytest.approx(sum(v["bytes"] for v in lines.values()) * USD_A_BYTE)
    ends = {form["end"] for path, form in gateway.asked if path == "metadata.get_cost"}
    assert ends == {"2025-06-02", "2025-06-03"}  # the vendor's end is exclusive


def test_from_the_vendor_to_a_book(
    gateway: Gateway, download: Download, vendor_folder: Path
) -> None:
    result = download("--yes").checked()

    assert fetched(Path("data/raw")) == served(vendor_folder, "mbo", "definition", "status")
    assert gateway.count("submit_job") == 3
    assert "next: " in result.out
    assert "mbo ingest data/raw" in result.out
    assert "forecast: ingest" in result.out
    folders = sorted(p for p in Path("data/raw").iterdir() if p.is_dir())
    assert len(folders) == 3
    for folder in folders:
        assert not list(folder.glob("*.part"))
        manifest = json.loads((folder / "manifest.json").read_text())
        listed = {item["filename"]: item["hash"] for item in manifest["files"]}
        for path in folder.iterdir():
            if path.name != "manifest.json":
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                assert listed[path.name] == f"sha256:{digest}"
    report = mbo("doctor", "data/raw").checked()
    assert "would be refused" not in report.out
    mbo("ingest", "data/raw", "--workers", "1", "--quiet").checked()
    mbo("book", "--workers", "1", "--quiet").checked()
    assert list(Path("data/lake/book").rglob("*.parquet"))


def test_what_is_there_is_not_asked_for_again(gateway: Gateway, download: Download) -> None:
    download("--yes").checked()
    gateway.asked.clear()

    result = download("--yes").checked()

    assert "everything is there" in result.out
    assert not [p for p, _ in gateway.asked if "cost" in p or "submit" in p or "download/" in p]


def test_a_damaged_file_is_fetched_again_and_not_paid(
    gateway: Gateway, download: Download, vendor_folder: Path
) -> None:
    download("--yes", "--schema", "mbo").checked()
    hurt = next(Path("data/raw").rglob("*0602.mbo.dbn.zst"))
    data = bytearray(hurt.read_bytes())
    data[len(data) // 2] ^= 1
    hurt.write_bytes(data)
    gateway.asked.clear()

    result = download("--yes", "--schema", "mbo").checked()

    assert f"{hurt}: damaged" in result.out
    assert fetched(Path("data/raw")) == served(vendor_folder, "mbo")
    assert gateway.count("submit_job") == 0
    assert gateway.count("download/") == 1


def test_only_missing_days_are_ordered(gateway: Gateway, download: Download) -> None:
    mbo("download", "--dataset", "SIM.MDP3", "--symbols", "SIM.FUT", "--start", "2025-06-01",
        "--schema", "mbo", "--yes").checked()  # fmt: skip
    gateway.asked.clear()

    download("--yes", "--schema", "mbo").checked()

    ordered = [form for path, form in gateway.asked if path == "batch.submit_job"]
    assert [(form["start"], form["end"]) for form in ordered] == [("2025-06-02", "2025-06-03")]


def test_a_limit_on_the_cost_orders_nothing(gateway: Gateway, download: Download) -> None:
    result = download("--yes", "--max-cost", "0.001")

    assert result.code == 2
    assert "more than --max-cost 0.001: nothing was ordered" in result.err
    assert gateway.count("submit_job") == 0
    download("--yes", "--max-cost", "100", "--schema", "status").checked()


def test_force_orders_and_pays_what_is_there_again(
    gateway: Gateway, download: Download, vendor_folder: Path
) -> None:
    download("--yes", "--schema", "mbo").checked()
    gateway.asked.clear()

    cost = json.loads(download("--schema", "mbo", "--force", "--json").checked().out)

    assert cost["usd"] > 0
    assert gateway.count("submit_job") == 0
    download("--yes", "--schema", "mbo", "--force").checked()
    assert gateway.count("submit_job") == 1
    assert gateway.count("download/") >= 2
    names = [path.name for path in Path("data/raw").rglob("*.mbo.dbn.zst")]
    assert len(names) == 2 * len(set(names))
    assert fetched(Path("data/raw")) == served(vendor_folder, "mbo")


def test_two_downloads_do_not_write_into_one_folder(gateway: Gateway, download: Download) -> None:
    Path("data/raw").mkdir(parents=True)
    with open("data/raw/.download.lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        result = download("--yes", "--schema", "mbo")

        assert result.code == 1
        assert "data/raw: another download is writing here" in result.err
        assert result.err.count("\n") == 2, "the gateway's address, and why"
        assert gateway.asked == []
        download("--schema", "mbo").checked()  # to look at the cost needs nothing of its own
    download("--yes", "--schema", "mbo").checked()


def test_a_long_span_is_quoted_by_month(gateway: Gateway) -> None:
    ask = ["download", "--dataset", "SIM.MDP3", "--symbols", "SIM.FUT", "--schema", "mbo"]
    told = json.loads(mbo(*ask, "--start", "2025-05-20", "--end", "2025-06-25", "--json").out)

    spans = [(line["first"], line["last"]) for line in told["quote"]]

    assert spans == [("2025-06-01", "2025-06-25")], "nothing in May: no line"
    asked = {(f["start"], f["end"]) for p, f in gateway.asked if p == "metadata.get_record_count"}
    assert asked == {("2025-05-20", "2025-06-01"), ("2025-06-01", "2025-06-26")}


@pytest.mark.parametrize("ignores", [False, True])
def test_a_cut_file_is_continued(
    gateway: Gateway, download: Download, vendor_folder: Path, ignores: bool
) -> None:
    gateway.ignore_ranges = ignores
    gateway.plant(MBO_FILE, cut(5000), times=2)

    download("--yes", "--schema", "mbo").checked()

    assert fetched(Path("data/raw")) == served(vendor_folder, "mbo")
    assert "bytes=5000-" in gateway.ranges
    assert ("bytes=10000-" in gateway.ranges) is not ignores


def test_a_partial_file_of_an_earlier_run_is_continued(
    gateway: Gateway, download: Download, vendor_folder: Path
) -> None:
    gateway.plant(MBO_FILE, cut(3000), times=1)
    gateway.plant(MBO_FILE, status(503), times=10)
    result = download("--yes", "--schema", "mbo")
    assert result.code == 1
    assert "gave up" in result.err
    part = next(Path("data/raw").rglob("*.part"))
    assert part.stat().st_size == 3000
    gateway.faults.clear()
    gateway.ranges.clear()

    download("--yes", "--schema", "mbo").checked()

    assert gateway.ranges == ["bytes=3000-"]
    assert gateway.count("submit_job") == 1
    assert fetched(Path("data/raw")) == served(vendor_folder, "mbo")


def test_a_file_that_changed_begins_again(
    gateway: Gateway, download: Download, vendor_folder: Path
) -> None:
    gateway.plant(MBO_FILE, cut(3000), times=1)
    gateway.plant(MBO_FILE, status(500), times=10)
    assert download("--yes", "--schema", "mbo").code == 1
    part = next(Path("data/raw").rglob("*.part"))
    part.write_bytes(b"x" * 3000)
    gateway.faults.clear()

    download("--yes", "--schema", "mbo").checked()

    assert fetched(Path("data/raw")) == served(vendor_folder, "mbo")


def test_a_wrong_hash_is_one_failed_file(gateway: Gateway, download: Download) -> None:
    listing = gateway.listing

    def wrong(job: str) -> list[dict[str, object]]:
        items = listing(job)
        for item in items:
            if "0601.mbo" in item["filename"]:
                item["hash"] = "sha256:" + "0" * 64
        return items

    gateway.listing = wrong  # type: ignore[method-assign]

    result = download("--yes", "--schema", "mbo")

    assert result.code == 1
    assert "0601.mbo.dbn.zst: arrived twice with the sha256" in result.err
    assert list(fetched(Path("data/raw"))) == ["sim-mdp3-20250602.mbo.dbn.zst"]
    assert not list(Path("data/raw").rglob("*.part"))


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        (401, 2, "does not accept the key in DATABENTO_API_KEY"),
        (402, 2, "paid or topped up"),
        (403, 2, "plan does not allow"),
        (422, 2, "refuses the request (422"),
        (429, 1, "asks to slow down"),
        (500, 1, "failed (500"),
    ],
)
def test_errors_are_one_line(
    gateway: Gateway, download: Download, code: int, exit_code: int, words: str
) -> None:
    gateway.plant("get_cost", status(code, f"Because {KEY} of it."), times=99)

    result = download("--yes")

    assert result.code == exit_code
    last = result.err.strip().splitlines()[-1]
    assert last.startswith("mbo: ")
    assert words in last
    assert "Because *** of it." in last
    assert gateway.count("submit_job") == 0


def test_slow_down_is_obeyed(gateway: Gateway, download: Download) -> None:
    gateway.plant("get_record_count", status(429, "Slow.", Retry_After="0.3"), times=2)
    began = time.monotonic()

    result = download("--schema", "status").checked()

    assert time.monotonic() - began > 0.6
    assert "again in 0.3 s" in result.err


def test_an_unknown_symbol_is_told_in_the_vendors_words(download: Download) -> None:
    result = download("--yes", symbols="NOPE")

    assert result.code == 2
    assert "None of the symbols could be resolved: NOPE" in result.err


def test_an_order_whose_answer_was_lost_is_not_sent_twice(
    gateway: Gateway, download: Download, vendor_folder: Path
) -> None:
    gateway.plant("submit_job", hang_up)

    download("--yes", "--schema", "mbo").checked()

    assert gateway.count("submit_job") == 1
    assert fetched(Path("data/raw")) == served(vendor_folder, "mbo")


def test_no_network_is_one_line(
    gateway: Gateway, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBO_DOWNLOAD__GATEWAY", "http://127.0.0.1:9")

    result = download("--yes", "--quiet")

    assert result.code == 1
    assert "cannot be reached (" in result.err
    assert "refused" in result.err


def test_a_full_disk_is_told_before_it_is_full(
    download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))

    result = download("--yes", "--schema", "mbo")

    assert result.code == 1
    assert "1.0 KB are free" in result.err
    assert "not paid again" in result.err


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_finished(
    gateway: Gateway, vendor_folder: Path, tmp_path: Path
) -> None:
    def stall(handler: object) -> bool:
        time.sleep(5)
        return True

    gateway.plant(MBO_FILE, stall)
    arguments = ["download", "--dataset", "SIM.MDP3", "--symbols", "SIM.FUT", "--schema", "mbo",
                 "--start", "2025-06-01", "--end", "2025-06-02", "--yes"]  # fmt: skip
    running = subprocess.Popen(
        command(*arguments), env=process_environment(), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not any("0602.mbo" in path for path, _ in gateway.asked):
        if running.poll() is not None or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGINT)

    _, err = running.communicate(timeout=20)

    assert running.returncode == 130, err
    assert "interrupted; what was finished is kept" in err
    assert list(fetched(Path("data/raw"))) == ["sim-mdp3-20250601.mbo.dbn.zst"]
    no_key_in(tmp_path)
    gateway.asked.clear()
    mbo(*arguments).checked()
    assert gateway.count("submit_job") == 0
    assert gateway.count("download/") == 1
    assert fetched(Path("data/raw")) == served(vendor_folder, "mbo")


def test_debug_shows_no_key(gateway: Gateway, download: Download) -> None:
    gateway.plant("get_cost", status(401, f"No {KEY}."), times=9)

    with pytest.raises(MboError) as caught:
        download("--debug")

    shown = "".join(traceback.format_exception(caught.value))
    assert "Traceback" in shown
    assert "No ***." in shown
    assert KEY not in shown


@pytest.mark.parametrize("name", ["../evil.dbn.zst", ".hidden", "a/b.dbn.zst"])
def test_names_that_lead_out_of_the_folder_are_refused(
    gateway: Gateway, download: Download, name: str
) -> None:
    listing = gateway.listing
    gateway.listing = lambda job: [i | {"filename": name} for i in listing(job)]  # type: ignore[method-assign]

    result = download("--yes", "--schema", "mbo")

    assert result.code == 1
    assert "is no name of a file" in result.err


def test_the_key_goes_to_the_vendor_only(gateway: Gateway) -> None:
    from pipeline.config import load_settings
    from pipeline.download.vendor import Vendor, say_nothing

    vendor = Vendor(load_settings().download, say_nothing)
    assert vendor._is_vendors(f"{gateway.address}/v0/x")
    assert vendor._is_vendors("https://hist.databento.com/x")
    for other in (
        "https://databento.com.evil.org/x",
        "https://evildatabento.com/x",
        "http://hist.databento.com/x",
        "http://127.0.0.1:1/x",
    ):
        assert not vendor._is_vendors(other), other


@pytest.mark.parametrize(
    ("key", "gateway_at", "words"),
    [
        ("", "", "no key: put your Databento API key into"),
        ("two words", "", "holds no key"),
        ("schl\u00fcssel", "", "holds no key"),
        ("db-x", "http://example.org", "https only"),
    ],
)
def test_no_usable_key(
    key: str, gateway_at: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABENTO_API_KEY", key)
    monkeypatch.setenv("MBO_DOWNLOAD__GATEWAY", gateway_at)

    result = mbo("download", "--dataset", "SIM.MDP3", "--symbols", "X", "--start", "2025-06-01")

    assert result.code == 2
    assert words in result.err
    assert not key or key not in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--symbols", "X", "--start", "2025-06-01"], "which dataset?"),
        (["--dataset", "D", "--start", "2025-06-01"], "which symbols?"),
        (["--dataset", "D", "--symbols", "X"], "which days?"),
        (["--dataset", "D", "--symbols", "X", "--end", "2025-06-01"], "--end without --start"),
        (["--dataset", "D", "--symbols", "ES*", "--start", "2025-06-01"], "knows no patterns"),
        (["--dataset", "D", "--symbols", "ES.FUT,ESM5", "--start", "2025-06-01"], "mixes"),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = mbo("download", *arguments)

    assert result.code == 2
    assert words in result.err


def test_days_the_vendor_does_not_have(gateway: Gateway) -> None:
    result = mbo("download", "--dataset", "SIM.MDP3", "--symbols", "SIM.FUT",
                 "--start", "2025-06-30", "--end", "2025-07-01")  # fmt: skip

    assert result.code == 2
    assert "whole days from 2025-05-01 to 2025-06-30" in result.err
