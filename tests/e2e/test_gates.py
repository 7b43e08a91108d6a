"""Quality gates through the commands: refused days are left out, said, kept, and come back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.running import Result, digest, mbo

DAY = "2025-06-03"
"""The vendor calls it degraded here; the session of that date and the next touch it."""
GATE = '[quality]\nrefuse_conditions = ["degraded"]\n'
WHY = f"refused by [quality]: {DAY}: condition degraded, one of refuse_conditions"
STRATEGY = ("backtest", "mean_reversion", "-p", "entry_z=1.5", "-p", "cover=0", "-p", "window=60s")


@pytest.fixture(scope="module")
def degraded_raw(sample_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("degraded") / "raw"
    shutil.copytree(sample_raw, raw)
    place = next(raw.rglob("condition.json"))
    days = json.loads(place.read_text())
    for item in days:
        if item["date"] == DAY:
            item["condition"] = "degraded"
    place.write_text(json.dumps(days))
    return raw


@pytest.fixture(scope="module")
def degraded_lake(degraded_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of two symbols, made without any gate.  Read-only."""
    lake = tmp_path_factory.mktemp("gates") / "lake"
    chosen = ("--symbols", "SIM?5", "--lake", lake, "--workers", "1")
    mbo("ingest", degraded_raw, *chosen).checked()
    mbo("features", *chosen).checked()
    return lake


@pytest.fixture
def lake(degraded_lake: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "lake"
    shutil.copytree(degraded_lake, copy)
    return copy


def config(folder: Path, text: str) -> Path:
    path = folder / "gates.toml"
    path.write_text(text)
    return path


def gated(lake: Path, *arguments: str | Path, gate: str = GATE) -> Result:
    given = ("--lake", lake, "--config", config(lake.parent, gate), "--workers", "1")
    return mbo(*arguments, *given)


def only_line(result: Result, code: int) -> str:
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    [line] = [text for text in result.err.splitlines() if text.startswith("mbo: ")]
    return line


def test_features_leave_out_refused_sessions_and_say_so(lake: Path) -> None:
    before = digest(lake)
    result = gated(lake, "features", "--symbols", "SIM?5").checked()
    assert f"features leaves out default SIM.MDP3 {DAY} SIMM5: {WHY}" in result.err
    assert "features: 2 up to date, 4 refused" in result.err
    assert digest(lake) == before, "nothing is deleted, nothing computed again"

    forced = gated(lake, "features", "--symbols", "SIM?5", "--force", "--json").checked()
    stage = json.loads(forced.out)["stages"][-1]
    assert stage["done"] == 2
    assert [item["message"] for item in stage["refused"]] == [WHY] * 4


def test_a_lifted_gate_needs_no_work_and_a_new_lake_only_the_rest(lake: Path) -> None:
    ask = ("features", "--symbols", "SIM?5")
    shutil.rmtree(lake / "features")
    shutil.rmtree(lake / "_commits" / "features")
    assert "features: 2 done, 4 refused" in gated(lake, *ask).checked().err
    lifted = mbo(*ask, "--lake", lake, "--workers", "1").checked()
    assert "features: 4 done, 2 up to date" in lifted.err


def test_symbols_of_packed_days_are_refused_one_by_one(
    degraded_raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBO_LAKE__LAYOUT", "packed")
    lake = tmp_path / "lake"
    gate = GATE + '[quality.symbols."SIMU5"]\nrefuse_conditions = []\nmax_crossed = "800s"\n'
    mbo("ingest", degraded_raw, "--lake", lake, "--workers", "1").checked()
    ask = ("features", "--symbols", "SIM?5", "--json")
    stage = json.loads(gated(lake, *ask, gate=gate).checked().out)["stages"][-1]
    assert (stage["done"], stage["failed"]) == (2, [])
    assert [item["partition"].rpartition("SIM.MDP3 ")[2] for item in stage["refused"]] == [
        "2025-06-03 SIMM5",
        "2025-06-04 SIMM5",
        "2025-06-02 SIMU5",
        "2025-06-03 SIMU5",
    ]


def test_a_selection_of_refused_sessions_only_is_a_wrong_request(lake: Path) -> None:
    line = only_line(gated(lake, "features", "--start", DAY, "--symbols", "SIM?5"), 2)
    assert WHY in line
    assert "(and 3 more)" in line


def test_a_backtest_does_not_trade_them_although_features_are_there(lake: Path) -> None:
    free = mbo(*STRATEGY, "--lake", lake, "--symbols", "SIMM5", "--json", "--workers", "1")
    bound = gated(lake, *STRATEGY, "--symbols", "SIMM5", "--json")
    [free_row] = json.loads(free.checked().out)["readings"]
    [bound_row] = json.loads(bound.checked().out)["readings"]
    assert (free_row["sessions"], bound_row["sessions"]) == (2, 1)
    assert bound_row["last_session"] == "2025-06-02"
    assert bound_row["skipped"]["SIMM5"][DAY] == WHY
    text = gated(lake, *STRATEGY, "--symbols", "SIMM5").checked().out
    assert f"left out {DAY}: {WHY}" in " ".join(text.split())  # long lines are wrapped
    assert gated(lake, *STRATEGY, "--symbols", "SIMM5", "--dry-run").checked().out == ""


def test_a_backtest_with_nothing_left_says_why(lake: Path) -> None:
    """SIMM5 is crossed for 890 s on the day both sessions touch."""
    gate = '[quality.symbols."SIMM5"]\nmax_crossed = "1ms"\n'
    line = only_line(gated(lake, *STRATEGY, "--symbols", "SIMM5", gate=gate), 2)
    assert "no session to trade" in line
    assert "2025-06-02: crossed for 890.7 s, max_crossed = 1ms" in line
    others = gated(lake, "features", "--symbols", "SIM?5", gate=gate).checked().err
    assert "features: 4 up to date, 2 refused" in others


def test_status_lists_refused_days_with_numbers_and_limit(lake: Path) -> None:
    free = mbo("status", "--lake", lake).checked().out
    assert "refused by" not in free
    words = "1 day the vendor calls degraded (quality.refuse_conditions)"
    assert f"{words}\n  SIM.MDP3 {DAY}" in free, "seen before a gate is set"
    gate = GATE + 'max_crossed = "5m"\n[quality.symbols."SIMU5"]\nmax_crossed = "800s"\n'
    found = json.loads(gated(lake, "status", "--json", gate=gate).checked().out)["refused"]
    assert [(item["date"], item["symbol"]) for item in found] == [
        ("2025-06-01", "SIMM5"),
        ("2025-06-02", "SIMM5"),
        ("2025-06-02", "SIMU5"),
        (DAY, "SIMM5"),
        (DAY, "SIMU5"),
    ]
    assert found[2]["reasons"] == ["crossed for 842.6 s, max_crossed = 800s"]
    text = gated(lake, "status", gate=gate).checked().out
    assert "5 days refused by [quality]" in text
    assert f"SIM.MDP3 {DAY} SIMU5: condition degraded, one of refuse_conditions" in text


def test_a_book_without_quality_is_not_trusted_under_a_gate(lake: Path) -> None:
    for path in (lake / "_commits" / "book").rglob(f"check=quality/*/date={DAY}/symbol=SIMM5.json"):
        path.unlink()
    result = gated(lake, "features", "--dry-run", "--symbols", "SIMM5").checked()
    assert f"{DAY}: it has a book and no row of quality to judge" in result.err


def test_doctor_marks_conditions_that_would_be_refused(degraded_raw: Path, tmp_path: Path) -> None:
    path = config(tmp_path, '[quality.symbols."SIMM5"]\nrefuse_conditions = ["degraded"]\n')
    text = mbo("doctor", degraded_raw, "--config", path).checked().out
    words = f"1 day degraded: {DAY} (refused by quality.refuse_conditions for SIMM5)"
    assert text.count(words) == 1
    assert "refused by" not in mbo("doctor", degraded_raw).checked().out


def test_a_wrong_gate_is_a_wrong_request(lake: Path) -> None:
    line = only_line(gated(lake, "status", gate="[quality]\nmax_crossd = '1s'\n"), 2)
    assert "quality.max_crossd" in line
    assert "gates.toml" in line
