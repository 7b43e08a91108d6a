"""Fill probabilities and cancel hazards through the commands, on sessions nobody fitted on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.spells import CENSORED, FILLED, LIFE_COLUMNS, spells
from features.survival import TIMES, kaplan_meier
from pipeline import open_lake
from tests.e2e.running import mbo

LAST = "2025-06-05"
TICK = 250_000_000
CONFIG = """
[features.fits]
min_sessions = 1

[features.sets.hazards]
features = ["mid", "Q06", "Q07"]

[features.sets.ages]
features = ["mid", "fill_probability_touch_bid_1s"]
"""


def commands(folder: Path, days: int, records: int, *flags: str) -> Path:
    """A lake with the set `hazards` of simulated sessions of so many records."""
    (folder / "research.toml").write_text(CONFIG)
    where = ("--lake", folder / "lake", "--config", folder / "research.toml", "--workers", "1")
    market = ("--days", str(days), "--records", str(records), "--symbols", "SIMM5")
    mbo("sample", "--out", folder / "raw", *market, *flags, "--quiet").checked()
    mbo("ingest", folder / "raw", *where, "--quiet").checked()
    mbo("book", *where, "--quiet").checked()

    refused = mbo("features", "--set", "ages", *where)
    assert refused.code == 2
    assert "fill_probability_touch_bid_1s needs the table `order_life`" in refused.err
    assert "run `mbo book --order-life`" in refused.err
    refused = mbo("features", "--set", "hazards", *where)
    assert refused.code == 2
    assert "need the tables `queue` and `order_life`" in refused.err
    assert "run `mbo book --queue --order-life`" in refused.err

    mbo("book", "--queue", "--order-life", *where, "--quiet").checked()
    mbo("features", "--set", "hazards", *where, "--quiet").checked()
    again = mbo("features", "--set", "hazards", *where).checked()
    assert f"features: {days + 1} up to date" in again.err
    return folder / "lake"


def test_commands_lead_to_them(tmp_path: Path) -> None:
    """Null in the first session; the second knows what became of the first one's orders."""
    lake = open_lake(commands(tmp_path, 2, 4000))
    found = lake.scan("features", set="hazards").collect()
    sessions = found.partition_by("session", maintain_order=True)
    names = [name for name in found.columns if name.startswith(("fill", "cancel"))]
    assert len(names) == 19
    assert all(sessions[0][name].null_count() == sessions[0].height for name in names)
    told = sessions[-1].select("fill_probability_touch_bid_10s", "cancel_hazard_median_bid")
    known = told.drop_nulls()
    assert known.height > told.height / 2
    assert known[:, 0].min() == 0  # a bin none of whose orders was filled in time
    assert 0 < known[:, 0].max() < 1  # type: ignore[operator]
    assert known[:, 1].max() > 0  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--null",)])
def test_what_past_days_say_comes_true(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Of the orders that join the touch, as many are filled as the features expect, both where
    the flow depends on the book and where it does not.
    """
    lake = open_lake(commands(tmp_path, 4, 20000, *flags))
    where = ("--lake", tmp_path / "lake", "--config", tmp_path / "research.toml", "--workers", "1")
    result = mbo("check", "Q06", "Q07", "--set", "hazards", *where)
    assert result.code == 0, result.out + result.err

    found = lake.scan("features", set="hazards").collect()
    first = found.filter(pl.col("session") == found["session"].min())
    last = found.filter(pl.col("session").cast(pl.String) == LAST)
    names = [name for name in found.columns if name.startswith(("fill", "cancel"))]
    assert len(names) == 19
    for name in names:
        assert first[name].null_count() == first.height, name
        assert last[name].null_count() < last.height / 2, name
    for start in ("fill_probability_touch_bid", "fill_probability_behind_ask"):
        for sooner, later in (("1s", "10s"), ("10s", "60s")):
            assert (last[f"{start}_{sooner}"] <= last[f"{start}_{later}"]).all()
    nearer = last["fill_probability_touch_bid_60s"].mean()
    assert nearer > 2 * last["fill_probability_behind_bid_60s"].mean()  # type: ignore[operator]

    hours = (int(last["ts"].cast(pl.Int64)[0]), int(last["ts"].cast(pl.Int64)[-1]))
    lives = lake.scan("order_life", start=LAST, end=LAST).select(LIFE_COLUMNS).collect()
    joined = spells(lives, TICK, [hours]).filter(pl.col("behind") == 0).sort("event")
    before = last.with_columns(pl.col("event") + 1).select("event", *names).sort("event")
    seen = joined.join_asof(before, on="event")
    expected = seen.select(
        pl.when("ask")
        .then(f"fill_probability_touch_ask_{horizon}")
        .otherwise(f"fill_probability_touch_bid_{horizon}")
        .alias(horizon)
        for horizon in ("10s", "60s")
    )
    known = expected.drop_nulls().height
    assert known > 500
    for horizon, seconds in (("10s", 10), ("60s", 60)):
        assert abs(realised(seen, seconds) - expected[horizon].mean()) < 0.04  # type: ignore[operator]


def realised(joined: pl.DataFrame, seconds: int) -> float:
    """Share of orders that were filled by then, had nobody been cancelled."""
    stretch = np.searchsorted(TIMES, joined["time"].to_numpy())
    ended = [
        np.bincount(stretch[joined["end"].to_numpy() == end], minlength=TIMES.size + 1)
        for end in range(CENSORED + 1)
    ]
    unfilled = (ended[1] + ended[2]).astype(float)
    left = kaplan_meier(ended[FILLED].astype(float)[None], unfilled[None])
    return float(1 - left[0, np.searchsorted(TIMES, seconds * 10**9)])
