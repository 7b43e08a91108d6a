"""Indicators against values computed by hand or printed in the literature."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from features.engine import compute
from features.events import Tables
from features.registry import FEATURES
from features.source import Context
from pipeline.units import NS_PER_S

START = 1_741_100_400 * NS_PER_S  # a full minute


def frame_of(mids: list[float], names: list[str], every: float = 1.0) -> pl.DataFrame:
    """The columns at events with these mids, ``every`` so many seconds, from a full minute on."""
    n = len(mids)
    price = np.rint(np.array(mids) * 1e9).astype(np.int64)
    ts = START + (np.arange(n) * every * NS_PER_S).astype(np.int64)
    context = Context(
        dataset="SIM",
        symbol="X",
        session=date(2025, 3, 5),
        tick=NS_PER_S,
        segments=((START - NS_PER_S, int(ts[-1]) + NS_PER_S),),
        depth=1,
    )
    book = pl.DataFrame(
        {
            "event": np.arange(n),
            "ts_recv": pl.Series(ts).cast(pl.Datetime("ns", "UTC")),
            "valid": np.ones(n, dtype=bool),
            "state": ["normal"] * n,
            "instrument_id": pl.Series([1] * n, dtype=pl.UInt32),
            "publisher_id": pl.Series([1] * n, dtype=pl.UInt16),
            "bid_px_00": price - 5 * 10**8,
            "ask_px_00": price + 5 * 10**8,
            "bid_sz_00": pl.Series([1] * n, dtype=pl.UInt32),
            "ask_sz_00": pl.Series([1] * n, dtype=pl.UInt32),
        }
    )
    return pl.concat(list(compute(Tables(context, book), FEATURES.resolve(names))))


PRINTED = [
    *(44.3389, 44.0902, 44.1497, 43.6124, 44.3278, 44.8264, 45.0955, 45.4245, 45.8433, 46.0826),
    *(45.8931, 46.0328, 45.6140, 46.2820, 46.2820, 46.0028, 46.0328, 46.4116, 46.2222, 45.6439),
]


def test_rsi_is_that_of_the_widely_printed_example() -> None:
    values = frame_of(PRINTED, ["rsi_14_e1"])["rsi_14_e1"]
    assert values[:14].null_count() == 14
    printed = [70.53, 66.32, 66.55, 69.41, 66.36, 57.97]
    assert values[14:].to_list() == pytest.approx(printed, abs=0.006)


def test_rsi_without_any_move_is_50() -> None:
    assert frame_of([10.0] * 5, ["rsi_3_e1"])["rsi_3_e1"].to_list() == [None] * 3 + [50.0, 50.0]


def test_averages() -> None:
    frame = frame_of([1.0, 2.0, 3.0, 4.0], ["sma_3_e1", "ema_3_e1"])
    assert frame["sma_3_e1"].to_list() == [None, None, 2.0, 3.0]
    assert frame["ema_3_e1"].to_list() == [None, None, 2.25, 3.125]


def test_macd_of_a_straight_line_is_the_difference_of_the_lags() -> None:
    """An EMA of n trails a line by (n - 1)/2 steps: 12.5 less 5.5 are 7."""
    names = ["macd_e1", "macd_signal_e1", "macd_histogram_e1"]
    frame = frame_of([float(k) for k in range(400)], names)
    assert frame["macd_e1"][:77].null_count() == 77
    assert frame["macd_e1"][77] is not None
    assert frame.tail(1).select(names).row(0) == pytest.approx((7.0, 7.0, 0.0), abs=1e-5)


def test_bollinger_bands() -> None:
    """Of 1 to 5: mean 3, sigma sqrt 2 (by n)."""
    frame = frame_of([1.0, 2.0, 3.0, 4.0, 5.0], ["bollinger_b_5_e1", "bollinger_width_5_e1"])
    lower, width = 3 - 2 * math.sqrt(2), 4 * math.sqrt(2)
    assert frame["bollinger_b_5_e1"][4] == pytest.approx((5 - lower) / width)
    assert frame["bollinger_width_5_e1"][4] == pytest.approx(width / 3)
    still = frame_of([2.0] * 5, ["bollinger_b_5_e1", "bollinger_width_5_e1"]).row(4)
    assert still[-2:] == (None, 0.0)


def test_ranges_of_bars_in_time() -> None:
    """A row every 20 s from a full minute on: bars of three rows, known a minute later.

    The first minute's bar has no open; the others open at the close before.
    """
    mids = [10.0, 12.0, 11.0, 15.0, 9.0, 10.0, 10.0, 11.0, 10.0, 10.0]
    names = ["donchian_high_1_60s", "donchian_low_1_60s", "donchian_position_1_60s"]
    names += ["atr_2_60s", "parkinson_1_60s", "garman_klass_1_60s"]
    frame = frame_of(mids, names, every=20.0)
    assert frame["donchian_high_1_60s"].to_list() == [None] * 6 + [15.0] * 3 + [11.0]
    assert frame["donchian_low_1_60s"].to_list() == [None] * 6 + [9.0] * 3 + [10.0]
    assert frame["donchian_position_1_60s"][6] == pytest.approx(1 / 6)
    # True ranges: 15 - 9 and 11 - 10.
    assert frame["atr_2_60s"].to_list() == [None] * 9 + [3.5]
    assert frame["parkinson_1_60s"][6] == pytest.approx(6 / math.sqrt(4 * math.log(2)))
    inner = 36 / 2 - (2 * math.log(2) - 1) * (10 - 11) ** 2
    assert frame["garman_klass_1_60s"][6] == pytest.approx(math.sqrt(inner))


def test_a_bar_of_events_is_known_at_the_event_that_completes_it_and_not_before() -> None:
    frame = frame_of([1.0, 5.0, 2.0, 3.0, 9.0], ["donchian_high_1_e2", "sma_1_e2"], every=0.0)
    assert frame["donchian_high_1_e2"].to_list() == [None, 5.0, 5.0, 5.0, 5.0]
    assert frame["sma_1_e2"].to_list() == [None, 5.0, 5.0, 3.0, 3.0]
