"""`mbo sql findings`: the regularities of the literature, and none where prices move alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from pipeline.lake import open_lake
from tests.e2e.running import mbo

F64 = npt.NDArray[np.float64]
LEVELS = ["ofi_10s", "ofi_level_1_10s", "ofi_level_2_10s"]


def market(folder: Path, *flags: str) -> Path:
    """A lake with the findings set of one simulated session."""
    raw, lake = folder / "raw", folder / "lake"
    records = ("--days", "1", "--records", "400000", "--symbols", "SIMM5")
    mbo("sample", "--out", raw, *records, *flags, "--quiet").checked()
    mbo("ingest", raw, "--lake", lake, "--quiet").checked()
    mbo("features", "--set", "findings", "--lake", lake, "--quiet").checked()
    return lake


def findings(lake: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = json.loads(mbo("sql", "findings", "--json", "--lake", lake).checked().out)
    return {(row["span"], row["id"], row["finding"].partition(":")[0]): row for row in rows}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return market(tmp_path_factory.mktemp("null"), "--null")


def test_the_sample_market_behaves_as_the_literature_says(sample: Path) -> None:
    found = findings(sample)
    same = {key[1:]: row for key, row in found.items() if key[0] == "same"}
    assert {key[0] for key in same} == {"D1", "D2", "D5"}
    for key, row in same.items():
        assert row["holds"], key
        assert row["estimate"] > 0, key
    assert same["D1", "OFI"]["estimate"] > 0.15
    queue = found["next", "D11", "queue imbalance"]
    assert queue["holds"]
    assert queue["estimate"] > 0.65


def test_nothing_is_known_beforehand_where_prices_move_by_themselves(null: Path) -> None:
    ahead = {key: row for key, row in findings(null).items() if key[0] == "next"}
    assert {key[1] for key in ahead} == {"D1", "D2", "D5", "D11"}
    for key, row in ahead.items():
        assert not row["holds"], key
    assert abs(ahead["next", "D11", "queue imbalance"]["estimate"] - 0.5) < 0.03


# --- the query against plain least squares --------------------------------------------------------


def rows_of(lake: Path) -> pl.DataFrame:
    opened = open_lake(lake)
    keys = ["symbol", "session", "event", "ts"]
    features = opened.scan("features", set="findings").collect()
    labels = opened.scan("labels", set="findings").select(*keys, "y_return_10s").collect()
    joined = features.join(labels, on=keys).sort("ts")
    joined = joined.drop_nulls([*LEVELS, "signed_volume_10s"])
    return joined.with_columns(pl.col("ts").dt.truncate("30m").alias("block"))


def fits(rows: pl.DataFrame, y: str, x: list[str]) -> dict[Any, float]:
    """R2 of each block under the least squares of all blocks before it."""
    usable = rows.drop_nulls(y)
    result: dict[Any, float] = {}
    for block in usable["block"].unique().sort():
        past = usable.filter(pl.col("block") < block)
        now = usable.filter(pl.col("block") == block)
        if past.height < 360 or now.height < 60:
            continue
        target = now[y].to_numpy() - past[y].mean()
        design = np.column_stack([np.ones(past.height), past.select(x).to_numpy()])
        slopes = np.linalg.lstsq(design, past[y].to_numpy(), rcond=None)[0]
        fitted: F64 = np.column_stack([np.ones(now.height), now.select(x).to_numpy()]) @ slopes
        errors = now[y].to_numpy() - fitted
        result[block] = 1 - float(errors @ errors) / float(target @ target)
    return result


@pytest.mark.parametrize(("span", "y"), [("same", "return_10s"), ("next", "y_return_10s")])
def test_the_fits_are_those_of_least_squares(sample: Path, span: str, y: str) -> None:
    found, rows = findings(sample), rows_of(sample)
    steps = [fits(rows, y, LEVELS[:n]) for n in (1, 2, 3)]
    volume = fits(rows, y, ["signed_volume_10s"])
    expected = {
        ("D1", "OFI"): list(steps[0].values()),
        ("D2", "OFI less signed volume"): [steps[0][b] - volume[b] for b in volume],
        ("D5", "level 2 besides level 1"): [steps[1][b] - steps[0][b] for b in volume],
        ("D5", "level 3 besides both"): [steps[2][b] - steps[1][b] for b in volume],
    }
    for key, values in expected.items():
        row = found[span, *key]
        x = np.array(values)
        assert row["blocks"] == x.size, key
        assert row["estimate"] == pytest.approx(x.mean(), abs=1e-4), key
        assert row["t"] == pytest.approx(x.mean() / x.std(ddof=1) * x.size**0.5, abs=0.06), key


def test_the_area_is_that_of_all_pairs(sample: Path) -> None:
    rows = rows_of(sample).drop_nulls("y_return_10s")
    ups = rows.filter(pl.col("y_return_10s") > 0)["queue_imbalance"].drop_nulls().to_numpy()
    downs = rows.filter(pl.col("y_return_10s") < 0)["queue_imbalance"].drop_nulls().to_numpy()
    difference = np.sign(ups[:, None].astype(float) - downs[None, :])
    area = 0.5 + difference.mean() / 2
    found = findings(sample)["next", "D11", "queue imbalance"]
    assert found["estimate"] == pytest.approx(area, abs=1e-4)
