"""What a strategy may not read is refused when the run is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.lake import open_lake
from strategies.market import Market
from tests.e2e.running import mbo

PEEK = """
from dataclasses import dataclass
from strategies.event import EventStrategy, Market, feature

@dataclass
class Peek(EventStrategy):
    later: int = feature("{name}")

    def on_market_event(self, m: Market) -> None:
        if m.feature(self.later) > 0:
            m.market(1, 1)
"""


@pytest.mark.parametrize("which", [0, -1])
def test_labels_are_no_features(which: int, feature_lake: Path, tmp_path: Path) -> None:
    columns = open_lake(feature_lake).scan("labels").collect_schema().names()
    name = ["t_end", *(c for c in columns if c.startswith("y_"))][which]
    path = tmp_path / "peek.py"
    path.write_text(PEEK.format(name=name))
    result = mbo("backtest", f"{path}:Peek", "--lake", feature_lake)
    assert result.code == 2
    assert f"reads {name}, which feature set 'default' does not have" in result.err


def test_nothing_else_can_be_reached_from_a_market() -> None:
    """Arrays of a strategy's view: each holds what was received, see tests of what is seen.

    A new one must be looked at with that in mind.
    """
    assert set(Market.places_) == {
        "block", "reals", "commands", "known", "features", "peers", "mail", "seen",
    }  # fmt: skip
