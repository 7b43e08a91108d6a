"""Decisions of signal strategies: the same as from all columns at once, whatever is read when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from pipeline.backtest import feature_files
from pipeline.backtest import state as st
from pipeline.backtest.decisions import KEYS, decisions_of
from pipeline.backtest.feature_files import FeatureFile
from pipeline.errors import InputError, RequestError
from pipeline.units import UNDEF_PRICE
from strategies.interface import SignalStrategy, hold, parameter

X = pl.col("x")
TARGETS = {
    "stateful": hold(pl.when(X.rolling_mean(5) < X).then(1).when(X.cum_sum() % 7 < 1).then(-1)),
    "says nothing at times": pl.when(X > 15).then(1).when(X < 5).then(-1),
    "keys": (pl.col("mid_ticks") > 3).cast(pl.Int64),
    "selector": (pl.max_horizontal(pl.selectors.by_name("x", "y")) > 15).cast(pl.Int64),
    "no column but the index": pl.int_range(pl.len()) // 10,
}


@dataclass(frozen=True)
class Wants(SignalStrategy):
    what: str = parameter("stateful")

    def features(self):
        return ("x", "y")

    def target(self):
        return TARGETS.get(self.what, pl.col(self.what))


def table(rows: int = 500) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    bid = [None if i % 50 == 7 else 100 + i // 20 for i in range(rows)]
    return pl.DataFrame(
        {
            "ts": pl.Series(np.arange(rows) // 3).cast(pl.Datetime("ns", "UTC")),
            "event": np.arange(rows),
            "bid_px": pl.Series(bid, dtype=pl.Int64),
            "ask_px": pl.Series([102 + i // 20 for i in range(rows)], dtype=pl.Int64),
            "mid_ticks": (np.arange(rows) // 20 % 7).astype(float),
            "x": rng.integers(0, 20, rows).astype(np.float32),
            "y": rng.integers(0, 20, rows).astype(np.float32),
            "z": rng.integers(0, 20, rows).astype(np.float32),
        }
    )


def stored(frame: pl.DataFrame, folder, cuts=(0, 230)):
    files = []
    for number, (start, stop) in enumerate(zip(cuts, [*cuts[1:], len(frame)], strict=True)):
        path = folder / f"part-{number}.parquet"
        frame[start:stop].write_parquet(path, row_group_size=64)
        files.append(FeatureFile(path))
    return files


@pytest.mark.parametrize("what", TARGETS)
@pytest.mark.parametrize("at_once", [1, 7, 1 << 16])
def test_rows_in_which_something_changes(tmp_path, monkeypatch, what, at_once):
    monkeypatch.setattr(feature_files, "ROWS_AT_ONCE", at_once)
    frame = table()
    targets = frame.select(target=TARGETS[what]).to_series().fill_null(st.NO_TARGET)
    wanted, seen = [], None
    for row, target in zip(frame.iter_rows(named=True), targets, strict=True):
        bid = UNDEF_PRICE if row["bid_px"] is None else row["bid_px"]
        state = (target, bid, row["ask_px"])
        if state != seen:
            wanted.append((row["event"] // 3, row["event"], *state))
        seen = state

    got = decisions_of(Wants(what=what), stored(frame, tmp_path), check=True)

    assert list(map(tuple, got.tolist())) == wanted


def test_only_columns_that_a_target_names_are_read(tmp_path, monkeypatch):
    asked = []
    read = pl.read_parquet
    monkeypatch.setattr(
        pl,
        "read_parquet",
        lambda *a, columns, **k: asked.append(columns) or read(*a, columns=columns, **k),
    )

    for what in ("stateful", "keys", "selector"):
        decisions_of(Wants(what=what), stored(table(), tmp_path, cuts=(0,)))

    assert asked == [["x"], ["mid_ticks"], [*KEYS, "x", "y"]]


def test_columns_that_were_not_declared_are_not_seen(tmp_path):
    with pytest.raises(RequestError, match="cannot be computed"):
        decisions_of(Wants(what="z"), stored(table(), tmp_path))


@pytest.mark.parametrize("key", ["ts", "event"])
@pytest.mark.parametrize("at_once", [10, 1 << 16])
def test_rows_out_of_order_are_refused(tmp_path, monkeypatch, key, at_once):
    monkeypatch.setattr(feature_files, "ROWS_AT_ONCE", at_once)
    frame = table()
    for start in (100, 300):  # a batch begins there
        turned = frame.with_columns(
            pl.when(pl.int_range(pl.len()) < start)
            .then(pl.col(key).last())
            .otherwise(pl.col(key))
            .alias(key)
        )
        with pytest.raises(InputError, match="not in the order of time"):
            decisions_of(Wants(), stored(turned, tmp_path))


def test_a_session_without_rows_has_no_decisions(tmp_path):
    assert decisions_of(Wants(), stored(table()[:0], tmp_path, cuts=(0,)), check=True).shape == (
        0,
        5,
    )
