"""The consolidated touch in plain dictionaries: slow, obvious, independent of the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LARGEST = 2**32 - 1

Row = Mapping[str, Any]


def consolidated(rows: Sequence[Row], before: Sequence[Row] = ()) -> list[dict[str, Any]]:
    """Rows of `consolidated` made by the rows of `book` of one day.

    ``before`` are the rows of the days it was carried from: they are followed, not shown.
    """
    books: dict[int, Row] = {}
    for row in before:
        books[row["publisher_id"]] = row
    shown = best(books)
    clock: int | None = None
    out = []
    for row in rows:
        books[row["publisher_id"]] = row
        clock = row["ts_recv"] if clock is None else max(clock, row["ts_recv"])
        now = best(books)
        if now != shown:
            keys = {name: row[name] for name in ("event", "ts_event", "publisher_id")}
            out.append({**keys, "ts_recv": clock, **now})
            shown = now
    return out


def best(books: Mapping[int, Row]) -> dict[str, Any]:
    """What all valid books together show."""
    valid = {who: row for who, row in books.items() if row["valid"]}
    found: dict[str, Any] = {"valid": bool(books) and len(valid) == len(books)}
    for side, pick in (("bid", max), ("ask", min)):
        prices = [p for row in valid.values() if (p := row[f"{side}_px_00"]) is not None]
        price = pick(prices, default=None)
        there = {
            who: row[f"{side}_sz_00"]
            for who, row in valid.items()
            if price is not None and row[f"{side}_px_00"] == price
        }
        found[f"{side}_px"] = price
        found[f"{side}_sz"] = min(sum(there.values()), LARGEST)
        found[f"{side}_publishers"] = len(there)
        found[f"{side}_publisher_id"] = min(there, key=lambda who: (-there[who], who), default=None)
    bid, ask = found["bid_px"], found["ask_px"]
    if bid is None or ask is None:
        found["state"] = "one_sided"
    else:
        found["state"] = "normal" if bid < ask else "locked" if bid == ask else "crossed"
    return found
