"""Several files for one day: which rows of which file count.

Disjoint in time: both, in order.  Overlapping and different: an error that names both, unless
the newest is preferred; then the older file's rows of that day and symbol are superseded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import InputError
from pipeline.ingest.census import Extent, Key
from pipeline.ingest.symbology import SymbolMap, day_of

Claim = tuple[str, int, str]
"""(schema, UTC day since the epoch, symbol)"""


def claims(census: dict[Key, Extent], symbols: SymbolMap) -> dict[Claim, Extent]:
    """Extent of a file's records by schema, day and symbol."""
    result: dict[Claim, Extent] = {}
    for key, extent in census.items():
        claim = (key.schema, key.day, symbols.symbol(key.instrument_id, key.day))
        known = result.get(claim)
        if known is None:
            result[claim] = Extent(extent.rows, extent.first, extent.last)
        else:
            known.rows += extent.rows
            known.first = min(known.first, extent.first)
            known.last = max(known.last, extent.last)
    return result


def disjoint(a: Extent, b: Extent) -> bool:
    """True if one ends before the other begins.  They may share that one moment only if each
    reaches beyond it: a snapshot alone must not precede the day that begins with it.
    """
    early, late = (a, b) if (a.first, a.last) <= (b.first, b.last) else (b, a)
    if early.last < late.first:
        return True
    return early.last == late.first and early.first < early.last and late.first < late.last


def settle(
    paths: Sequence[Path],
    claimed: Sequence[dict[Claim, Extent]],
    oldest_first: Sequence[int] | None,
) -> tuple[list[int], list[frozenset[Claim]]]:
    """Order of the files in time, and what each loses to a newer one.

    Parameters
    ----------
    oldest_first
        File numbers by age, where the newest is preferred; None where overlap is an error.

    Raises
    ------
    InputError
        If two files overlap and differ, or interleave so that no order is right.
    """
    lost: list[set[Claim]] = [set() for _ in paths]
    holders: dict[Claim, list[int]] = {}
    for number, own in enumerate(claimed):
        for claim in own:
            holders.setdefault(claim, []).append(number)
    before: set[tuple[int, int]] = set()
    for claim, numbers in sorted(holders.items()):
        for a, b in _pairs(numbers, oldest_first):
            if claim in lost[a] or claim in lost[b]:
                continue
            extent_a, extent_b = claimed[a][claim], claimed[b][claim]
            if disjoint(extent_a, extent_b):
                first = (extent_a.first, extent_a.last) <= (extent_b.first, extent_b.last)
                before.add((a, b) if first else (b, a))
            elif oldest_first is None:
                raise InputError(
                    f"{paths[a]} and {paths[b]} differ and both hold {claim[0]} of {claim[2]} on "
                    f'{day_of(claim[1])}; remove one of them, or set raw.prefer = "newest"'
                )
            else:
                older = a if oldest_first.index(a) < oldest_first.index(b) else b
                lost[older].add(claim)
    return _in_order(paths, claimed, before), [frozenset(items) for items in lost]


def _pairs(numbers: Sequence[int], oldest_first: Sequence[int] | None) -> list[tuple[int, int]]:
    """All pairs, those of the newest files first: what they supersede cannot supersede."""
    ranked = sorted(numbers, key=oldest_first.index, reverse=True) if oldest_first else numbers
    return [(a, b) for i, a in enumerate(ranked) for b in ranked[i + 1 :]]


def _in_order(
    paths: Sequence[Path],
    claimed: Sequence[dict[Claim, Extent]],
    before: set[tuple[int, int]],
) -> list[int]:
    """Files by their first record; contradictory orders are an error."""
    start = {
        number: min((extent.first for extent in own.values()), default=0)
        for number, own in enumerate(claimed)
    }
    left = sorted(start, key=lambda number: (start[number], str(paths[number])))
    order: list[int] = []
    while left:
        free = next((n for n in left if not any((m, n) in before for m in left if m != n)), None)
        if free is None:
            names = " and ".join(str(paths[n]) for n in left[:2])
            raise InputError(f"{names} interleave in time; join them into one file")
        left.remove(free)
        order.append(free)
    return order
