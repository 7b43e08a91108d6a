"""What cannot be compiled is one line: which strategy, where, what."""

from __future__ import annotations

import pytest

from pipeline.errors import RequestError
from strategies.registry import load
from strategies.running import Program

BAD = """
from dataclasses import dataclass
from strategies.event import EventStrategy, Market, state

@dataclass
class Bad(EventStrategy):
    n: int = state(0)

    def on_market_event(self, m: Market) -> None:
        {line}
"""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("m.bidd", "line 10: .*bidd"),
        ("self.n = self.nn", "line 10: .*nn"),
        ("self.n = nonsense", "nonsense"),
        ("m.position = 5", "position of Market cannot be assigned"),
        ("import math; self.n = math.floor(2.5)", "line 10: .*IMPORT_NAME"),
        ("print(f'{self.n:.2f}')", "line 10: .*format spec"),
    ],
)
def test_mistakes_are_one_line(tmp_path, line, says):
    path = tmp_path / "bad.py"
    path.write_text(BAD.format(line=line))

    with pytest.raises(RequestError, match=says) as told:
        Program(load(f"{path}:Bad").strategy())

    assert str(told.value).startswith("Bad")
    assert "\n" not in str(told.value)
