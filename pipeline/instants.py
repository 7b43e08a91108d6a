"""Instants, prices and counts as people write them; apart from the units of kernels."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, SupportsIndex

from pipeline.units import NS_PER_S, NS_PER_US, PRICE_SCALE

_INSTANT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?)?"
    r"\s*(Z|UTC|[+-]\d\d:?\d\d)?"
)


def parse_instant(value: str | SupportsIndex | datetime) -> int:
    """Nanoseconds since the epoch of an instant.

    Parameters
    ----------
    value
        Text such as ``2023-12-25 23:10:00.5`` (UTC, unless it ends in an offset such as
        ``-06:00``), a datetime (UTC, unless it is aware), or nanoseconds.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        past = aware - datetime(1970, 1, 1, tzinfo=UTC)
        return ((past.days * 86_400 + past.seconds) * 10**6 + past.microseconds) * NS_PER_US
    if not isinstance(value, str | bool):
        with contextlib.suppress(TypeError):
            return operator.index(value)
    found = _INSTANT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found:
        day, clock, fraction, zone = found.groups()
        zone = "+00:00" if zone in (None, "Z", "UTC") else zone
        with contextlib.suppress(ValueError):
            whole = parse_instant(datetime.fromisoformat(f"{day}T{clock or '00:00'}{zone}"))
            return whole + int((fraction or "0").ljust(9, "0"))
    raise ValueError(
        f"{value!r} is not a time; write it as 2025-05-01 13:30:00.25 (UTC), or as nanoseconds"
    )


def format_instant(ns: int) -> str:
    """``2023-12-25 23:10:00.500000000``, UTC."""
    seconds, rest = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest:09d}"


def format_price(units: int, decimals: int = 0) -> str:
    """A price in units of 1e-9 as exact decimal text: 4750250000000 -> ``4750.25``.

    ``decimals``: how many there are at least, see :func:`decimals_of`.
    """
    whole, rest = divmod(abs(units), PRICE_SCALE)
    digits = f"{rest:09d}".rstrip("0").ljust(decimals, "0")
    return f"{'-' if units < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def decimals_of(prices: Iterable[int | None]) -> int:
    """Decimals that all of these prices can be written with exactly, so that they align."""
    texts = [format_price(units) for units in prices if units is not None]
    return max((len(text.partition(".")[2]) for text in texts), default=0)


def format_count(count: int, noun: str) -> str:
    """A number of things: ``1 session``, ``2,000 sessions``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
