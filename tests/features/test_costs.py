"""Costs of trades: the identity between them, when they are known, and slopes known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.columns import mid_ticks, ratio
from features.costs import SIGNED, SIGNED_VALUE, VOLUME, mid_before
from features.engine import compute
from features.registry import FEATURES, Column, Family
from features.windows import delayed, last, window_sum
from tests.features.quotes import OPEN, quotes_and_prints, values
from tests.features.worlds import FAST, SLOW, make_world


def lagged_effective(horizon: str, window: str) -> Column:
    """The effective spread of exactly the trades whose horizon has passed."""

    def expr() -> pl.Expr:
        sided = (VOLUME > 0) & mid_before().is_not_null()
        paid = 2 * (SIGNED_VALUE - SIGNED * mid_before())
        return delayed(
            horizon,
            sided,
            (paid, VOLUME),
            (last(mid_ticks()),),
            lambda cost, volume, _: ratio(window_sum(cost, window), window_sum(volume, window)),
        )

    family = Family("es", expr, "feature", "test", "", "", "", 1, pl.Float64())
    return Column("es", family, {})


@pytest.mark.parametrize("clock", ["event", "grid:1s"])
@pytest.mark.parametrize(("gaps", "horizon", "window"), [(FAST, "1s", "5s"), (SLOW, "60s", "300s")])
def test_effective_is_realised_plus_impact(
    clock: str, gaps: tuple[int, ...], horizon: str, window: str
) -> None:
    """A6, trade by trade: over the same trades their means add up, too."""
    names = [f"realised_spread_{horizon}_{window}", f"price_impact_{horizon}_{window}"]
    columns = [*FEATURES.resolve(names), lagged_effective(horizon, window)]
    frame = pl.concat(list(compute(make_world(3, 500, gaps), columns, clock)))
    known = frame.drop_nulls(["es", *names])
    assert known.height > 100
    assert frame["es"].null_count() == frame[names[0]].null_count()
    gap = known["es"] - known[names[0]] - known[names[1]]
    assert gap.abs().max() < 2e-5  # type: ignore[operator]


def test_one_order_by_hand() -> None:
    """A buyer takes 3 at 20,001 and 2 at 20,002 over a mid of 20,000.5, which goes to 20,002.5."""
    seconds = np.array([1.0, 2.0, 2.4, 3.0, 3.2, 4.5])
    bid = np.array([20_000, 20_001, 20_001, 20_002, 20_002, 20_002])
    market = quotes_and_prints(seconds, bid=bid, ask=bid + 1)
    trades = pl.DataFrame(
        {
            "event": [2, 2],
            "price": [20_001 * market.context.tick, 20_002 * market.context.tick],
            "size": [3, 2],
            "side": ["B", "B"],
        }
    )
    market = replace(market, trades=trades)
    names = ["realised_spread_1s_1s", "price_impact_1s_1s", "effective_spread_1s"]
    frame = values(market, names).with_columns(
        ((pl.col("ts").cast(pl.Int64) - OPEN) / 1e9).alias("s")
    )
    # The mid a second later is that of the event at that very time, known once it is past.
    assert frame["s"].to_list() == pytest.approx([0.0, *seconds])
    average = (3 * 20_001 + 2 * 20_002) / 5
    effective = [None, None, 2 * (average - 20_000.5), 2 * (average - 20_000.5), None, None, None]
    assert frame["effective_spread_1s"].to_list() == pytest.approx(effective)
    realised = [None] * 5 + [2 * (average - 20_002.5), None]
    assert frame["realised_spread_1s_1s"].to_list() == pytest.approx(realised)
    impact = [None] * 5 + [2 * (20_002.5 - 20_000.5), None]
    assert frame["price_impact_1s_1s"].to_list() == pytest.approx(impact)


def test_kyles_lambda_is_the_slope_that_moved_the_prices() -> None:
    """Prices that move 3 ticks for every 4 contracts bought."""
    rng = np.random.default_rng(6)
    n = 4_000
    size, sign = 4 * rng.integers(1, 6, n), rng.choice([-1, 1], n)
    bid = 20_000 + np.cumsum(size * sign) * 3 // 4
    market = quotes_and_prints(
        np.arange(1, n + 1) * 0.7, bid=bid, ask=bid + 1, size=size, sign=sign
    )
    frame = values(market, ["kyle_lambda_10s_30m"], "grid:60s")
    assert frame["kyle_lambda_10s_30m"][-1] == pytest.approx(0.75, rel=1e-3)
