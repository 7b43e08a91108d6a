"""Mistakes of a strategy's author and selections that fit nothing, through the command: one line
that says where and what to do, and exit code 2.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.jit import nb
from tests.e2e.running import Result, mbo

HEAD = """\
from dataclasses import dataclass
from strategies.event import EventStrategy, Market, parameter, state

@dataclass
class Own(EventStrategy):
    n: int = state(0)
    def on_market_event(self, m: Market) -> None:
        if m.two_sided():
"""
LINE = len(HEAD.splitlines()) + 1

compiled_only = pytest.mark.skipif(bool(nb.config.DISABLE_JIT), reason="nothing is compiled")


@pytest.fixture
def lake(sample_lake: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "lake"
    shutil.copytree(sample_lake, copied)
    return copied


def backtest(lake: Path, line: str, *more: str) -> Result:
    """A run of a strategy that does this at every event with both sides."""
    file = Path("own.py")
    file.write_text(f"{HEAD}            {line}\n# {lake}\n")
    return mbo("backtest", f"{file}:Own", "--fees", "0.85", "--symbols", "SIMM5", "--lake", lake,
               "--workers", "1", *more)  # fmt: skip


def lines(result: Result) -> list[str]:
    assert "Traceback" not in result.err + result.out
    return result.err.splitlines()


@compiled_only
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("m.buy(m.bid - 0.5 * m.tick, 1)", "price of m.buy is a float; prices are whole numbers"),
        ("m.sell(m.ask, m.position / 2)", "size of m.sell is a float"),
        ("self.n = [1, 2]", "an int is assigned a list"),
    ],
)
def test_what_only_the_compiler_sees_is_a_wrong_request(lake, line: str, says: str) -> None:
    result = backtest(lake, line)

    assert result.code == 2
    (said,) = lines(result)  # before anything else is done
    assert f"own.py, line {LINE}: Own: `{line}` cannot be compiled: " in said
    assert says in said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("m.buy(m.bid - 0.5 * m.tick, 1)", "price of m.buy is a float; prices are whole numbers"),
        ("m.sell(m.ask, m.position / 2)", "size of m.sell is a float"),
        ("self.n = 2.5", "n is an int and is assigned a float; write int(...)"),
        ("self.n = [1, 2]", "n is a number and is assigned a list"),
    ],
)
def test_interpreted_it_is_one_too(lake, line: str, says: str) -> None:
    result = backtest(lake, line, "--interpret")

    assert result.code == 2
    said = lines(result)[-1]
    assert f"own.py, line {LINE}: Own.on_market_event at 2025-06-0" in said
    assert says in said


def test_a_failure_in_the_middle_of_a_run_is_no_wrong_request(lake) -> None:
    result = backtest(lake, "raise ValueError('enough')")

    assert result.code == 1
    assert any(
        f"own.py, line {LINE}: Own.on_market_event at" in line and "ValueError: enough" in line
        for line in lines(result)
    )


def test_where_all_orders_are_rejected_the_summary_says_so(lake) -> None:
    result = backtest(lake, "m.buy(m.bid, self.n - 1)").checked()

    assert "all were rejected; `reason` of the table `orders` says why" in result.out


@pytest.mark.parametrize("command", [
    ("status",), ("status", "--json"), ("book",), ("features",), ("verify",), ("check",),
    ("backtest", "market_making"),
])  # fmt: skip
@pytest.mark.parametrize("selection", [("--symbols", "ZZ*"), ("--start", "2031-01-01")])
def test_a_selection_that_fits_nothing_is_a_wrong_request(lake, command, selection) -> None:
    result = mbo(*command, *selection, "--lake", lake, "--workers", "1")

    assert result.code == 2, result.err
    assert lines(result)[-1].startswith("mbo: no")
    assert result.out == ""


def test_a_selection_that_fits_something_does(lake) -> None:
    assert "book" in mbo("status", "--symbols", "SIMM*", "--lake", lake).checked().out
