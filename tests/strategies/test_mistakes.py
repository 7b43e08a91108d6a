"""A mistake in an event strategy is one line: file, line, what, and what to do."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from pipeline.backtest.command import prepare
from pipeline.config import Settings
from pipeline.errors import RequestError
from strategies.event import EventStrategy
from strategies.reading import MARKET_METHODS
from strategies.running import Program

IMPORTS = """\
from dataclasses import dataclass, field
import datetime
import math
import random
import time
import numpy as np
from strategies.event import (
    BUY, Duration, EventStrategy, Floats1, Ints1, Market, feature, helper, parameter, state,
    state_array,
)
WEIGHTS = [1.0, 2.0]
NAMES = {1: 2}
def plain(x):
    return x + 1
@helper
def fine(x):
    return x + 1
@helper
def calls_plain(x):
    return plain(x)
"""
CLASS = "@dataclass\nclass Bad(EventStrategy):\n"
FIELDS = """\
    n: int = state(0)
    r: float = state(0.0)
    flag: bool = state(False)
    steps: Ints1 = state_array(int, 4)
    past: Floats1 = state_array(float, 4)
    window: str = parameter("60s", "", "of the feature")
    LIMIT = 5
"""
CALLBACK = "    def on_market_event(self, m: Market) -> None:\n"
OTHER = "    def on_fill(self, m: Market) -> None:\n        self.n = 0\n"


def make(path: Path, name: str = "Bad", *, interpret: bool = False) -> Program:
    """The program of a file."""
    strategy = prepare(f"{path}:{name}", [], Settings(), interpret=interpret).strategy
    assert isinstance(strategy, EventStrategy)
    return Program(strategy, interpret=interpret)


def told(tmp_path: Path, text: str, *, interpret: bool = False, name: str = "Bad") -> str:
    """What is said of a file, each of whose mistakes is in the line that has ``# here``."""
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(RequestError) as raised:
        make(path, name, interpret=interpret)
    said = str(raised.value)
    assert "\n" not in said
    assert not re.search(r"numba|int64|unicode|nopython|<(function|class) |Traceback", said)
    marked = [k for k, line in enumerate(text.splitlines(), 1) if "# here" in line]
    assert said.startswith(f"{path}, line {marked[0]}: " if marked else str(path)), said
    return said


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("self.n = self.nn", "no 'nn'; did you mean 'n'?"),
        ("self.count = 4", "no 'count'.* declare it in the class: count: int = state"),
        ("self.past = 3", "self.past is an array; assign to its elements"),
        ("self.n = self.LIMIT", "self.LIMIT belongs to the class.*constant of the file"),
        ("self.r = self.window", "self.window is a text"),
        ("self.on_fil(m)", "no 'on_fil'; did you mean 'on_fill'?"),
        ("self.on_fill", "self.on_fill is a method; call it"),
        ("self.on_fill()", r"self.on_fill takes \(m\): missing a required argument: 'm'"),
        ("self.n(3)", "self.n is not a method"),
        ("self.n = m.bidd", "the market has no 'bidd'; did you mean 'bid'"),
        ("m.of(0).buy(m.bidd, 1)", "the market has no 'bidd'"),
        ("other = m.of(0); other.bye(1, 1)", "the market has no 'bye'; did you mean"),
        ("m.byu(m.bid, 1)", "the market has no 'byu'; did you mean 'buy'"),
        ("m.block[0] = 1", "the market has no 'block'"),
        ("self.n = m.seen.levels[0, 0]", "the market has no 'seen'"),
        ("m.position = 5", "m.position cannot be assigned"),
        ("self.n = m.bid()", "m.bid is a number; write it without"),
        ("self.flag = m.two_sided", r"m.two_sided is a method; call it: m.two_sided\(...\)"),
        ("m.buy(m.bid)", r"m.buy takes \(price, size, tif, post_only\): missing .*'size'"),
        ("m.buy(m.bid, 1, postonly=True)", "m.buy takes .*unexpected keyword argument 'postonly'"),
        ("m.buy(1, 2, 3, True, 5)", "m.buy takes .*too many"),
        ("self.n = nonsense", "unknown name 'nonsense'"),
        ("self.n = bid", "unknown name 'bid'; did you mean m.bid"),
        ("n += 1", "unknown name 'n'; did you mean self.n"),
        ("self.n = past", "unknown name 'past'; did you mean self.past"),
        ("self.n = plain(1)", r"plain is a plain function; write @helper above it \(.*line 13\)"),
        ("self.n = fine(1, 2)", r"fine takes \(x\): too many"),
        ("self.r = random.random()", "random cannot be used.*repeated"),
        ("self.r = np.random.rand()", "np.random cannot be used.*repeated"),
        ("self.r = time.time()", "time cannot be used in a callback; the time is m.now"),
        ("self.n = datetime.datetime.now()", "datetime cannot be used in a callback"),
        ("self.r = math.sqroot(2)", "math has no 'sqroot'; did you mean 'sqrt'"),
        ("self.r = WEIGHTS[0]", "WEIGHTS is a list.*tuple"),
        ("self.n = NAMES[1]", "NAMES is a dictionary.*tuple"),
        ("seen = {}", "a dictionary; callbacks work with numbers and arrays"),
        ("seen = {1, 2}", "a set; callbacks work with numbers and arrays"),
        ("self.n = str(5)", "str cannot be compiled"),
        ("super().on_fill(m)", "super cannot be compiled; give the method of the base"),
        ("open('x')", "open cannot be compiled; callbacks see the market alone"),
        ("import os", "an import inside a callback; move it to the top"),
        ("with m: pass", "a with statement"),
        ("global LIST", "global: a strategy keeps its variables in its state"),
        ("yield m.bid", "yield: callbacks run to their end"),
        ("print(f'{self.n:.2f}')", r"a text with \{values\}"),
        ("if m.bid: return 1", "returns a value in line .* and nothing at its end"),
    ],
)
def test_in_a_callback(tmp_path: Path, line: str, says: str) -> None:
    text = f"{IMPORTS}{CLASS}{FIELDS}{CALLBACK}        {line}  # here\n{OTHER}"
    if "at its end" in says:  # of the whole callback: its first line
        text = text.replace("  # here", "").replace("on_market_event(self, m: Market) -> None:",
                                                    "on_market_event(self, m): # here")  # fmt: skip
    assert re.search(says, told(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("self.n = 'x'", "`self.n = 'x'.*an int is assigned a text"),
        ("self.n = m.bid / 2", "a float is put where ints are kept; write int"),
        ("self.steps[0] = 2.5", "a float is put where ints are kept; write int"),
        ("self.n = None", "an int is assigned None"),
        ("self.n = [1, 2]", "an int is assigned a list"),
        ("self.n = m.position + 'a'", r"\+ does not take an int, a text"),
        ("m.buy(m.bid, 'x')", "buy does not take the market, an int, a text"),
        ("self.n = 1 if m.bid > 0 else 'a'", "an int in one place, a text in another"),
        ("x = []", "the type of 'x' is not known"),
        ("del self.n", "`del self.n.*cannot be compiled"),
    ],
)
def test_of_types(tmp_path: Path, line: str, says: str) -> None:
    text = f"{IMPORTS}{CLASS}{FIELDS}{CALLBACK}        {line}  # here\n"

    assert re.search(says, told(tmp_path, text))


def test_in_a_helper(tmp_path: Path) -> None:
    text = f"{IMPORTS}{CLASS}{FIELDS}{CALLBACK}        self.n = calls_plain(1)\n"
    text = text.replace("return plain(x)", "return plain(x)  # here")

    assert "plain is a plain function; write @helper" in told(tmp_path, text)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("def on_fill(self):", r"on_fill\(self\) takes the strategy and the market: def on_fill"),
        ("def on_fill(m):", r"on_fill\(m\) takes the strategy and the market"),
        ("def on_fill(self, m, price):", r"on_fill\(self, m, price\) takes"),
        ("def on_fill(self, *rest):", "has \\*arguments"),
        ("def on_fil(self, m):", "unknown callback 'on_fil'; did you mean 'on_fill'"),
        ("def on_trade(self, m):", "unknown callback 'on_trade'"),
        ("def initialise(self, m):", "unknown callback 'initialise'; did you mean 'initialize'"),
        ("def __init__(self, m):", "__init__ is made by @dataclass"),
        ("async def on_fill(self, m):", "on_fill is async"),
        ("def distance():", "takes no argument; the first of a method is self"),
    ],
)
def test_of_methods(tmp_path: Path, method: str, says: str) -> None:
    text = f"{IMPORTS}{CLASS}{FIELDS}{OTHER}    {method}  # here\n        return None\n"

    assert re.search(says, told(tmp_path, text))


@pytest.mark.parametrize("decorator", ["property", "staticmethod", "helper"])
def test_of_decorated_methods(tmp_path: Path, decorator: str) -> None:
    text = (
        f"{IMPORTS}{CLASS}{FIELDS}{OTHER}    @{decorator}\n    def x(self):  # here\n        pass\n"
    )

    assert decorator in told(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('name: str = state("x")', "state name is str; state is int, float, bool, or an array"),
        ("name: None = state(None)", "state name is NoneType; state is int"),
        ("seen: dict = field(default_factory=dict)", "state seen is dict; state is int"),
        ("seen: list = state_array(list, 4)", "seen is an array of object; .*int or float"),
        ("seen: Ints1 = state_array(int, 0)", "seen has length 0"),
        ("n: int = state(None)", "state n is int but starts as None"),
        ("n: int = state(0.5)", "state n is int but starts as 0.5"),
        ("n: bool = state(1)", "state n is bool but starts as 1"),
        ('size: int = parameter("1", "", "")', "parameter size is int but starts as '1'"),
        ('sizes: tuple = parameter((1,), "", "")', "parameter sizes is tuple; parameters are int"),
        ('z: float = feature("ofi_10s")', r'write z: int = feature\("its_name"\)'),
        ("values: int = state(0)", "values is a name strategies have already"),
        ("address: int = state(0)", "address is a name strategies have already"),
        ("n: Nonsense = state(0)", "name 'Nonsense' is not defined"),
    ],
)
def test_of_fields(tmp_path: Path, line: str, says: str) -> None:
    text = f"from __future__ import annotations\n{IMPORTS}{CLASS}    {line}  # here\n{OTHER}"
    if "Nonsense" in line:  # of the whole class: its first line
        text = text.replace("  # here", "").replace("Strategy):", "Strategy):  # here")

    assert re.search(says, told(tmp_path, text))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("    seen: list = []\n", "seen starts as a list; state is int, float, bool, or an array"),
        ("    n = state(0)\n", "n has no type; write n: int"),
        ("    n: int\n", "n has no first value; write n: int = state"),
    ],
)
def test_of_what_dataclasses_refuse(tmp_path: Path, body: str, says: str) -> None:
    text = f"{IMPORTS}@dataclass  # here\nclass Bad(EventStrategy):\n{body}{OTHER}"

    assert re.search(says, told(tmp_path, text))


def test_of_the_class(tmp_path: Path) -> None:
    bare = f"{IMPORTS}class Bad(EventStrategy):  # here\n    n: int = state(0)\n{OTHER}"
    assert "write @dataclass above the class" in told(tmp_path, bare)

    idle = f"{IMPORTS}@dataclass\nclass Bad(EventStrategy):  # here\n    n: int = state(0)\n"
    assert "has no callback; write one of initialize" in told(tmp_path, idle)

    frozen = f"{IMPORTS}@dataclass(frozen=True)  # here\nclass Bad(EventStrategy):\n{OTHER}"
    assert "write @dataclass without frozen" in told(tmp_path, frozen)

    stranger = f"{IMPORTS}@dataclass\nclass Bad:\n    n: int = 0\n"
    assert "Bad is no strategy; write class Bad(EventStrategy)" in told(tmp_path, stranger)

    two = f"{IMPORTS}{CLASS}{OTHER}\n{CLASS.replace('Bad', 'Good')}{OTHER}"
    path = tmp_path / "bad.py"
    path.write_text(two)
    with pytest.raises(RequestError, match=r"unknown strategy 'God' in .*did you mean 'Good'"):
        prepare(f"{path}:God", [], Settings())
    with pytest.raises(RequestError, match=r"as in .*bad.py:Bad or .*bad.py:Good"):
        prepare(str(path), [], Settings())


@pytest.mark.parametrize("text", ["x = 1\ndef (:  # here\n", "x = 1\n1 / 0  # here\n"])
def test_of_a_file(tmp_path: Path, text: str) -> None:
    assert re.search("SyntaxError|ZeroDivisionError: division by zero", told(tmp_path, text))


@pytest.mark.parametrize(
    "line", ["print(f'{self.n:.2f}')", "import pdb", "x = {}", "self.n = plain(1)", "breakpoint()"]
)
def test_what_python_can_do_is_let_through_interpreted(tmp_path: Path, line: str) -> None:
    path = tmp_path / "good.py"
    path.write_text(f"{IMPORTS}{CLASS}{FIELDS}{CALLBACK}        {line}\n")

    assert make(path, interpret=True).callbacks == ["on_market_event"]


def test_what_cannot_be_is_refused_interpreted_too(tmp_path: Path) -> None:
    text = f"{IMPORTS}{CLASS}{FIELDS}{CALLBACK}        self.n = m.bidd  # here\n"

    assert "did you mean 'bid'" in told(tmp_path, text, interpret=True)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("m.buy(m.bid - m.tick / 2, 1)", "price of m.buy is a float; prices are whole numbers"),
        ("m.sell(100.25, 1)", "price of m.sell is a float; .* count in ticks"),
        ("m.of(0).limit(BUY, size=1, price=m.bid * 1.0)", "price of m.limit is a float"),
        ("m.stop(BUY, self.r, 1)", "trigger of m.stop is a float"),
        ("m.pegged(BUY, 0.5 * m.tick, 1)", "offset of m.pegged is a float"),
        ("m.replace(self.n, self.r, 1)", "price of m.replace is a float"),
        ("m.buy(m.bid, m.position / 2)", "size of m.buy is a float; it is a whole number; write"),
        ("m.market(BUY, self.r)", "size of m.market is a float"),
        ("m.set_timer(m.now + 1e9)", "at of m.set_timer is a float"),
        ("self.n = m.levels(BUY) and m.price_at(BUY, self.r)", "depth of m.price_at is a float"),
    ],
)
def test_of_floats_given_for_whole_numbers(tmp_path: Path, line: str, says: str) -> None:
    text = f"{IMPORTS}{CLASS}{FIELDS}{CALLBACK}        {line}  # here\n"

    assert re.search(says, told(tmp_path, text))


@pytest.mark.parametrize("size", ["-1", "0", "size=-2"])
@pytest.mark.parametrize("interpret", [False, True])
def test_of_sizes_that_no_order_has(tmp_path: Path, size: str, *, interpret: bool) -> None:
    text = f"{IMPORTS}{CLASS}{FIELDS}{CALLBACK}        m.buy(m.bid, {size})  # here\n"
    text += f"# {interpret}\n"  # the same file at two places is one module

    assert "sizes are from 1, m.buy buys and m.sell sells" in told(
        tmp_path, text, interpret=interpret
    )


@pytest.mark.parametrize("name", sorted(MARKET_METHODS))
def test_python_refuses_the_same_floats(name: str) -> None:
    method = MARKET_METHODS[name]
    hints = inspect.signature(method).parameters
    whole = [k for k, item in hints.items() if item.annotation == "int"]
    for given in whole:
        values = dict.fromkeys(list(hints)[1:], 1) | {given: 2.5}
        with pytest.raises(RequestError, match=f"{given} of m.{name} is a float"):
            method(None, **values)
        with pytest.raises(RequestError, match=f"{given} of m.{name} is a float"):
            method(None, *values.values())
