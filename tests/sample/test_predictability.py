"""The market has the regularities of the literature; the null market has none of them.

Statistics are computed here from the MBP-10 rows alone.  Each mid move gives one observation,
at a random earlier row since the move before it, so that observations do not overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.sample import SampleOptions, write_sample
from tests.sample.conftest import Sample
from tests.sample.replay import UNDEF

TICK = 250_000_000
WINDOW_NS = 30 * 10**9


@dataclass(frozen=True)
class Observations:
    """Numbers before each mid move, and by window of thirty seconds."""

    up: np.ndarray
    queue: np.ndarray
    deep: np.ndarray
    flow: np.ndarray
    trades: np.ndarray
    last: np.ndarray
    window_return: np.ndarray
    window_flow: np.ndarray
    window_trades: np.ndarray
    spread: np.ndarray
    signs: np.ndarray
    touch: np.ndarray
    print_sign: np.ndarray
    print_queue: np.ndarray


def observe(rows: np.ndarray) -> Observations:
    rows = rows[np.argmax(rows["action"] == b"T") :]  # from the opening auction on
    second = rows["ts_event"] // 10**9 % 86_400
    rows = rows[((second > 79_205) | (second < 75_590)) & (rows["bid_px_00"] != UNDEF)]
    rows = rows[(rows["ask_px_00"] != UNDEF) & (rows["bid_px_00"] < rows["ask_px_00"])]
    book, trades = rows[rows["action"] != b"T"], rows[rows["action"] == b"T"]
    bid, ask = book["bid_px_00"], book["ask_px_00"]
    size = {s: book[f"{s}_sz_00"].astype(float) for s in ("bid", "ask")}
    mid = (bid + ask) / 2 / TICK
    moves = np.diff(mid)
    at = np.flatnonzero(moves)
    begins, ends = np.r_[0, at[:-1] + 1], at
    rng = np.random.default_rng(0)
    pick = rng.integers(begins, ends + 1)
    # Order flow imbalance of Cont, Kukanov and Stoikov (2014), row by row.
    flow = (
        (bid[1:] >= bid[:-1]) * size["bid"][1:]
        - (bid[1:] <= bid[:-1]) * size["bid"][:-1]
        - (ask[1:] <= ask[:-1]) * size["ask"][1:]
        + (ask[1:] >= ask[:-1]) * size["ask"][:-1]
    )
    flow = np.r_[0.0, np.cumsum(flow)]
    sign = np.where(trades["side"] == b"B", 1.0, -1.0)
    signed = np.r_[0.0, np.cumsum(sign * trades["size"])]
    seen = signed[np.searchsorted(trades["ts_recv"], book["ts_recv"], side="right")]
    deep = {
        s: sum(book[f"{s}_sz_{k:02d}"].astype(float) for k in range(1, 5)) for s in ("bid", "ask")
    }
    ratio = lambda a, b: (a - b) / np.maximum(a + b, 1)  # noqa: E731
    last = np.flatnonzero(np.diff(book["ts_recv"] // WINDOW_NS)) + 1
    first = np.flatnonzero(np.diff(trades["ts_event"]) > 0) + 1  # one print an event
    return Observations(
        up=moves[at] > 0,
        queue=ratio(size["bid"], size["ask"])[pick],
        deep=ratio(deep["bid"], deep["ask"])[pick],
        flow=flow[pick] - flow[begins],
        trades=seen[pick] - seen[np.maximum(pick - 50, 0)],
        last=np.r_[0.0, moves[at[:-1]]],
        window_return=np.diff(mid[last]),
        window_flow=np.diff(flow[last]),
        window_trades=np.diff(seen[last]),
        spread=(ask - bid) // TICK,
        signs=sign,
        touch=np.r_[size["bid"], size["ask"]],
        print_sign=sign[first],
        print_queue=ratio(
            trades["bid_sz_00"][first].astype(float), trades["ask_sz_00"][first].astype(float)
        ),
    )


def auc_z(x: np.ndarray, up: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve (ties count half), and its distance from 0.5 in errors."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    n, m = up.sum(), (~up).sum()
    area = (rank[up].sum() - n * (n + 1) / 2) / (n * m)
    return float(area), float((area - 0.5) / np.sqrt((n + m + 1) / (12 * n * m)))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def make(out: Path, *, null: bool) -> Observations:
    options = SampleOptions(out=out, days=1, symbols=("SIMM5",), records=200_000, null=null)
    return observe(Sample(write_sample(options).folder).all("mbp-10"))


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Observations:
    return make(tmp_path_factory.mktemp("market"), null=False)


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Observations:
    return make(tmp_path_factory.mktemp("null"), null=True)


def test_queue_imbalance_foretells_the_next_move(market: Observations) -> None:
    area, errors = auc_z(market.queue, market.up)
    assert area > 0.6
    assert errors > 10


def test_deeper_levels_add_to_the_touch(market: Observations) -> None:
    # Linear probability model on both: the coefficient of the deeper levels is not noise.
    x = np.c_[np.ones(len(market.up)), market.queue, market.deep]
    weights, *_ = np.linalg.lstsq(x, market.up.astype(float), rcond=None)
    rest = market.up - x @ weights
    error = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * rest.var())
    assert weights[2] > 3 * error[2]


def test_order_flow_explains_moves_better_than_trades(market: Observations) -> None:
    by_flow = correlation(market.window_flow, market.window_return) ** 2
    by_trades = correlation(market.window_trades, market.window_return) ** 2
    assert by_flow > by_trades + 0.05 > 0.1
    assert by_flow > 0.3


def test_signs_of_trades_are_persistent(market: Observations) -> None:
    s = market.signs
    for lag in (1, 5, 10):
        assert correlation(s[:-lag], s[lag:]) > 3 / np.sqrt(len(s))


def test_volatility_clusters(market: Observations) -> None:
    size = np.abs(market.window_return)
    assert correlation(size[:-1], size[1:]) > 5 / np.sqrt(len(size))


def test_the_spread_is_mostly_one_tick_and_queues_tens_of_contracts(
    market: Observations,
) -> None:
    assert (market.spread == 1).mean() > 0.9
    assert 10 < market.touch.mean() < 60


@pytest.mark.parametrize("signal", ["queue", "deep", "flow", "trades", "last"])
def test_nothing_foretells_the_next_move_of_the_null_market(
    null: Observations, signal: str
) -> None:
    area, errors = auc_z(getattr(null, signal), null.up)
    assert len(null.up) > 1_000
    assert abs(errors) < 3
    assert 0.45 < area < 0.55


def test_nothing_foretells_the_next_window_of_the_null_market(null: Observations) -> None:
    following = null.window_return[1:]
    for signal in (null.window_flow, null.window_trades, null.window_return):
        assert abs(correlation(signal[:-1], following)) < 3 / np.sqrt(len(following))


def test_the_null_market_always_has_a_spread_of_one_tick(null: Observations) -> None:
    assert (null.spread == 1).all()


def test_signs_of_trades_in_the_null_market_are_independent(null: Observations) -> None:
    # Prints of one sweep share their sign: a few of many.
    s = null.signs
    assert correlation(s[:-5], s[5:]) < 3 / np.sqrt(len(s))


def test_trades_follow_the_queues_but_not_in_the_null_market(
    market: Observations, null: Observations
) -> None:
    errors = np.sqrt(len(market.print_sign))
    assert correlation(market.print_sign, market.print_queue) * errors > 5
    errors = np.sqrt(len(null.print_sign))
    assert abs(correlation(null.print_sign, null.print_queue)) * errors < 3
