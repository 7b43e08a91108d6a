"""Which contract a continuous symbol means in each session, decided on what was known before it.

A session's choice uses the calendar and the volume of the *previous* session, never its own.  The
front never goes back to an earlier delivery: a contract left behind stays behind.  No I/O here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

MONTHS = "FGHJKMNQUVXZ"

Volumes = Mapping[int, Mapping[str, int]]
"""Contracts traded, by number of the session and symbol."""


@dataclass(frozen=True)
class Contract:
    """An outright of the root."""

    symbol: str
    order: int
    """What contracts are sorted by: the expiration (ns), or the delivery month's first day."""
    first: int
    """Number of the first session it is known in."""
    last: int | None
    """Number of its last session, counted on beyond the data; None where nobody says."""


@dataclass(frozen=True)
class Choice:
    """A session of a series."""

    session: int
    contract: Contract
    roll: int
    """Ordinal of the segment: it rises whenever the contract changes."""
    why: str
    """start, hold, calendar, volume or expired."""
    before: Contract | None
    """At a roll: the contract left."""


def delivery_month(symbol: str, near: date) -> date:
    """First day of a future's delivery month; the decade of a one-digit year is the nearest.

    >>> delivery_month("ESH4", date(2024, 3, 1)), delivery_month("ESM25", date(2024, 3, 1))
    (datetime.date(2024, 3, 1), datetime.date(2025, 6, 1))
    """
    digits = len(symbol) - len(symbol.rstrip("0123456789"))
    digits = min(digits, 2)
    month = MONTHS.index(symbol[-digits - 1]) + 1
    span = 10**digits
    year = int(symbol[-digits:])
    # A contract may trade some years ahead of its delivery, and hardly behind it.
    year += (near.year - 2 - year + span - 1) // span * span
    return date(year, month, 1)


def by_calendar(
    sessions: int, contracts: Sequence[Contract], days: int, rank: int
) -> Iterator[Choice]:
    """The ``rank``-th contract of those with at least ``days`` sessions left after this one.

    Contracts whose last session nobody knows are never left, and come last.
    """
    ordered = sorted(contracts, key=lambda c: (c.last is None, c.order))
    choices = (
        [c for c in ordered if c.first <= i and (c.last is None or c.last - i >= days)]
        for i in range(sessions)
    )
    return _segments(
        (
            (i, found[rank], "calendar") if rank < len(found) else None
            for i, found in enumerate(choices)
        ),
    )


def by_volume(
    sessions: int, contracts: Sequence[Contract], volumes: Volumes, rank: int
) -> Iterator[Choice]:
    """The ``rank``-th contract by the previous session's volume.

    Rank 0 moves on only to a later delivery that traded more; with nothing known of the session
    before, it stays.  The other ranks are what is left, in order of that volume.
    """
    return _segments(_ranked(sessions, contracts, volumes, rank))


def _ranked(
    sessions: int, contracts: Sequence[Contract], volumes: Volumes, rank: int
) -> Iterator[tuple[int, Contract, str] | None]:
    front: Contract | None = None
    for i in range(sessions):
        alive = [c for c in contracts if c.first <= i and (c.last is None or i <= c.last)]
        traded = volumes.get(i - 1, {})
        ordered = sorted(alive, key=lambda c: (-traded.get(c.symbol, 0), c.order))
        why = "volume"
        if front is None or front not in alive:
            why = "expired"
            later = [c for c in ordered if front is None or c.order > front.order]
            front = later[0] if later else None
        elif ordered[0].order > front.order and _more(traded, ordered[0], front):
            front = ordered[0]
        if front is None:
            yield None
            continue
        rest = [c for c in ordered if c is not front]
        if rank == 0:
            yield i, front, why
        else:
            yield (i, rest[rank - 1], "volume") if rank <= len(rest) else None


def _more(traded: Mapping[str, int], one: Contract, other: Contract) -> bool:
    return traded.get(one.symbol, 0) > traded.get(other.symbol, 0)


def _segments(chosen: Iterator[tuple[int, Contract, str] | None]) -> Iterator[Choice]:
    """Number the segments; sessions without a contract are left out."""
    roll, before = 0, None
    for item in chosen:
        if item is None:
            continue
        i, contract, why = item
        if before is None:
            yield Choice(i, contract, roll, "start", None)
        elif before is not contract:
            roll += 1
            expired = before.last is not None and before.last < i
            reason = "expired" if expired else why
            yield Choice(i, contract, roll, reason, before)
        else:
            yield Choice(i, contract, roll, "hold", None)
        before = contract
