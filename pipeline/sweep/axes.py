"""What a sweep varies, and the trials that makes: grids and random draws.

``key=a,b,c`` are values; ``key=lo..hi`` is a range: every whole number of it, or with
``:step`` every step, with ``:log`` a doubling each time; a random search draws from all of the
range, evenly or (``:log``) evenly in its logarithm.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from typing import Final

from pipeline.backtest.latency import Latency, LatencyTable
from pipeline.errors import RequestError
from pipeline.units import format_duration, parse_duration
from strategies.interface import Duration, Parameter

LATENCY: Final = "latency"
"""Name of the axis that is no parameter of the strategy: decision to venue."""
DIGITS: Final = 4
"""Significant digits of a random draw: more would say nothing and hide the pattern."""
MAX_TRIALS: Final = 100_000


@dataclass(frozen=True)
class Span:
    """A range of numbers; durations in ns."""

    low: Decimal
    high: Decimal
    log: bool
    whole: bool
    """Only whole numbers are meant."""

    def draw(self, rng: random.Random) -> Decimal:
        """A number between the ends, which are possible themselves."""
        low, high = float(self.low), float(self.high)
        share = rng.random()
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        if self.whole and not self.log:
            value = math.floor(low + (high - low + 1) * share)
        text = f"{value:.0f}" if self.whole else f"{value:.{DIGITS}g}"
        return min(max(Decimal(text), self.low), self.high)


@dataclass(frozen=True)
class Axis:
    """A parameter with the values it takes, as texts; or a range to draw from."""

    name: str
    values: tuple[str, ...]
    """Empty for a range without steps."""
    span: Span | None = None
    duration: bool = False

    def draw(self, rng: random.Random) -> str:
        """A value of it, by chance."""
        if self.span is None:
            return rng.choice(self.values)
        value = self.span.draw(rng)
        if not self.duration:
            return _text(value)
        # As many digits as people would write.
        coarse = max(10 ** (len(f"{value:.0f}") - DIGITS), 1)
        return format_duration(_within(int(value) // coarse * coarse, self.span))


def _within(value: int, span: Span) -> int:
    return min(max(value, int(span.low)), int(span.high))


def _text(value: Decimal) -> str:
    return f"{value.normalize():f}"


def parse_axis(text: str, known: Mapping[str, Parameter], *, drawn: bool) -> Axis:
    """An axis from ``-p key=...``; ``drawn``: values will be drawn by chance.

    Raises
    ------
    RequestError
        For an unknown parameter, values that are not of its type or outside its range, and
        ranges without steps where there must be some.
    """
    name, equals, rest = text.partition("=")
    name = name.strip()
    if not equals or not rest.strip():
        raise RequestError(f"-p {text}: write key=a,b,c or key=lo..hi:step")
    if name not in known:
        raise RequestError.unknown("parameter", name, known)
    parameter = known[name]
    if ".." in rest and parameter.kind in (int, float, Duration):
        return _parse_range(parameter, rest.strip(), drawn=drawn)
    values = tuple(dict.fromkeys(part.strip() for part in rest.split(",")))
    return _checked(Axis(name, values, duration=parameter.kind is Duration), parameter)


def latency_axis(text: str) -> Axis:
    """The axis of ``--latency 0,1ms,5ms``: durations, ``lognormal:...`` or ``table:FILE``.

    Raises
    ------
    RequestError
        For what is no latency.
    """
    values = dict.fromkeys(_latency(part.strip()) for part in text.split(","))
    return Axis(LATENCY, tuple(values), duration=True)


def _latency(text: str) -> str:
    """A latency in the one way of writing it."""
    if text.startswith("table:"):
        LatencyTable.find(text.removeprefix("table:"))
        return text
    return str(Latency.parse(text, "--latency"))


def _checked(axis: Axis, parameter: Parameter) -> Axis:
    for value in axis.values:
        parameter.check(parameter.parse(value))
    if axis.span:
        for end in (axis.span.low, axis.span.high):
            parameter.check(int(end) if axis.span.whole else float(end))
    return axis


def _parse_range(parameter: Parameter, text: str, *, drawn: bool) -> Axis:
    ends, _, how = text.partition(":")
    first, _, last = ends.partition("..")
    shown = f"-p {parameter.name}={text}"
    low, high = (_number(parameter, part, shown) for part in (first, last))
    if not low < high:
        raise RequestError(f"{shown}: the range is empty; write the smaller end first")
    log, whole = how.strip() == "log", parameter.kind is not float
    if log and low <= 0:
        raise RequestError(f"{shown}: a range by logarithm begins above 0")
    duration = parameter.kind is Duration
    span = Span(low, high, log, whole)
    if drawn and (log or not how):
        return _checked(Axis(parameter.name, (), span, duration), parameter)
    if log:
        numbers = [low * 2**i for i in range(int(math.log2(high / low) + 1e-9) + 1)]
    else:
        if not how and parameter.kind is not int:
            raise RequestError(
                f"{shown}: how far apart? {shown}:{_example(parameter, high - low)}, "
                f"or :log to double each time, or --random N"
            )
        step = _number(parameter, how, shown) if how else Decimal(1)
        if step <= 0:
            raise RequestError(f"{shown}: the step must be above 0")
        count = int((high - low) / step) + 1
        if count > MAX_TRIALS:
            raise RequestError(f"{shown}: {count:,} values; at most {MAX_TRIALS:,}")
        numbers = [low + i * step for i in range(count)]
    texts = (format_duration(int(n)) if duration else _text(n) for n in numbers)
    return _checked(Axis(parameter.name, tuple(texts), duration=duration), parameter)


def _example(parameter: Parameter, width: Decimal) -> str:
    if parameter.kind is Duration:
        return format_duration(max(int(width) // 4, 1))
    return _text(Decimal(f"{width / 4:.1g}"))


def _number(parameter: Parameter, text: str, shown: str) -> Decimal:
    try:
        if parameter.kind is Duration:
            return Decimal(parse_duration(text))
        value = Decimal(text.strip())
    except (InvalidOperation, ValueError) as error:
        detail = str(error) if parameter.kind is Duration else f"{text.strip()!r} is no number"
        raise RequestError(f"{shown}: {detail}") from None
    if not value.is_finite() or (parameter.kind is int and value != int(value)):
        kind = "whole number" if parameter.kind is int else "number"
        raise RequestError(f"{shown}: {text.strip()} is no {kind}")
    return value


Point = Mapping[str, str]
"""A trial: the value of each axis by name."""


def grid(axes: Sequence[Axis]) -> list[Point]:
    """Every combination, the last axis fastest.

    Raises
    ------
    RequestError
        If there are too many.
    """
    count = math.prod(len(axis.values) for axis in axes)
    if count > MAX_TRIALS:
        raise RequestError(f"{count:,} trials are too many; try --random 1000")
    names = [axis.name for axis in axes]
    return [dict(zip(names, values, strict=True)) for values in product(*(a.values for a in axes))]


def draws(axes: Sequence[Axis], seed: int) -> Iterator[Point]:
    """Distinct combinations by chance, without end until all are drawn.

    The same seed begins with the same ones, however many are taken.
    """
    rng = random.Random(seed)  # noqa: S311 - a search keeps no secret
    total = math.inf if any(a.span for a in axes) else math.prod(len(a.values) for a in axes)
    seen: set[tuple[str, ...]] = set()
    misses = 0
    while len(seen) < total and misses < MAX_TRIALS:
        values = tuple(axis.draw(rng) for axis in axes)
        if values in seen:
            misses += 1
            continue
        misses = 0
        seen.add(values)
        yield dict(zip((axis.name for axis in axes), values, strict=True))
