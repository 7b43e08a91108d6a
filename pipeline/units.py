"""Units and sentinels of Databento records, written once.

Prices are Int64 in units of 1e-9 of the quote currency from end to end; times are
nanoseconds since the UNIX epoch, UTC.  Flags are bits: test them, never compare.
"""

from __future__ import annotations

from typing import Final

PRICE_SCALE: Final = 10**9
"""One unit of the quoted price, in stored price units (1e-9)."""

UNDEF_PRICE: Final = 2**63 - 1
"""The vendor's undefined price (INT64_MAX).  Null in every table."""

UNDEF_TIMESTAMP: Final = 2**64 - 1
"""The vendor's undefined timestamp (UINT64_MAX).  Null in every table."""

NS_PER_US: Final = 10**3
NS_PER_MS: Final = 10**6
NS_PER_S: Final = 10**9
NS_PER_MINUTE: Final = 60 * NS_PER_S
NS_PER_HOUR: Final = 3600 * NS_PER_S
NS_PER_DAY: Final = 86_400 * NS_PER_S

F_LAST: Final = 128
"""The record is the last of its event: only here is the book a state."""
F_TOB: Final = 64
F_SNAPSHOT: Final = 32
F_MBP: Final = 16
F_BAD_TS_RECV: Final = 8
F_MAYBE_BAD_BOOK: Final = 4

EVENTS_PER_DAY: Final = 10**10
"""``event`` = YYYYMMDD x EVENTS_PER_DAY + number of the event within the day and symbol."""


def event_base(yyyymmdd: int) -> int:
    """First event key of a UTC day, e.g. 20250501 -> 202505010000000000."""
    return yyyymmdd * EVENTS_PER_DAY


_DURATION_NS: Final = {
    "ns": 1,
    "us": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": NS_PER_MINUTE,
    "h": NS_PER_HOUR,
    "d": NS_PER_DAY,
}


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as ``250us``, ``1.5s``, ``5m``; ``0`` needs no unit.

    Raises
    ------
    ValueError
        If the text is no duration or is not a whole number of nanoseconds.
    """
    from fractions import Fraction

    stripped = text.strip().lower()
    if stripped == "0":
        return 0
    digits = stripped.rstrip("abcdefghijklmnopqrstuvwxyz")
    factor = _DURATION_NS.get(stripped[len(digits) :])
    try:
        value = Fraction(digits.strip()) * (factor or 0)
    except ValueError:
        factor = None
    if factor is None:
        raise ValueError(
            f"{text!r} is not a duration; write a number and ns, us, ms, s, m, h or d, "
            "for example 250us or 1.5s"
        )
    if value.denominator != 1 or value < 0:
        raise ValueError(f"{text!r} is not a whole, non-negative number of nanoseconds")
    return int(value)


def format_duration(ns: int) -> str:
    """Shortest exact text of a duration: 1_500_000 -> ``1500us``, 1_000_000_000 -> ``1s``."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if ns and ns % _DURATION_NS[unit] == 0:
            return f"{ns // _DURATION_NS[unit]}{unit}"
    return f"{ns}ns" if ns else "0"
