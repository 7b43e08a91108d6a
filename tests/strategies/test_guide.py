"""Every block of code in the guide compiles and runs, compiled and interpreted alike."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.backtest.options import Money, SimOptions, timetable
from pipeline.backtest.replay import Replay
from pipeline.roots import ROOT
from strategies.registry import load
from strategies.running import Program
from tests.backtest.scenario import END, RULE, Session
from tests.backtest.test_reference import draw

GUIDE = (ROOT / "docs" / "strategies.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def run(strategy, *, interpret: bool):
    sessions = [Session()]
    money = Money(tick=10**9)
    features = (None, 1) if strategy.features() else None
    replay = Replay(
        SimOptions(entry_latency=5, response_latency=5, money=money),
        timetable(sessions, None),
        RULE,
        (lambda _: np.zeros((0, 5), np.int64)) if features else None,
        features=features,
    )
    running = Program(strategy, interpret=interpret).run([replay.market()])
    replay.employ(running, sessions)
    replay.sim.features[:] = 0.75
    replay.start_day(19700101)
    replay.feed(draw(1)[0].chunk())
    replay.finish(END)
    return replay.take(last=True)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_code_of_the_guide_trades(number: int, tmp_path: Path) -> None:
    path = tmp_path / f"guide{number}.py"
    path.write_text(BLOCKS[number])
    name = re.search(r"class (\w+)\(EventStrategy", BLOCKS[number])
    assert name
    strategy = load(f"{path}:{name[1]}").strategy()

    compiled, plain = run(strategy, interpret=False), run(strategy, interpret=True)

    assert len(compiled.orders) > 0
    assert np.array_equal(compiled.orders, plain.orders)
    assert np.array_equal(compiled.fills, plain.fills)


def test_the_guide_has_blocks() -> None:
    assert len(BLOCKS) >= 2
