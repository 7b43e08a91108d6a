"""Figures: worked out by hand, null where they mean nothing."""

from __future__ import annotations

import math

import pytest

from pipeline.backtest.metrics import max_drawdown, ratio, sharpe, sortino


def test_ratios_are_null_under_twenty_sessions():
    returns = [0.01, -0.01] * 9 + [0.02]

    assert sharpe(returns) is None
    assert sortino(returns) is None


def test_sharpe_and_sortino_of_twenty_sessions():
    returns = [0.02, -0.01] * 10

    deviation = math.sqrt(20 * 0.015**2 / 19)
    assert sharpe(returns) == pytest.approx(0.005 / deviation * math.sqrt(252))
    downside = math.sqrt(10 * 0.01**2 / 20)
    assert sortino(returns) == pytest.approx(0.005 / downside * math.sqrt(252))


def test_constant_returns_have_no_sharpe():
    assert sharpe([0.01] * 30) is None or abs(sharpe([0.01] * 30)) > 1e6
    assert sortino([0.01] * 30) is None


@pytest.mark.parametrize(
    ("equity", "worst"),
    [([], None), ([5, 3, 9, 2, 4], 7), ([-3, -1], 3), ([1, 2, 3], 0)],
)
def test_drawdown_counts_from_the_start_at_zero(equity, worst):
    assert max_drawdown(equity) == worst


def test_nothing_over_nothing_is_null():
    assert ratio(1, 0) is None
    assert ratio(0, 4) == 0
