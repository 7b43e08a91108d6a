"""The story of an order as text for a terminal, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from pipeline.backtest.explain import Story
from pipeline.backtest.listen import Step
from pipeline.backtest.tables import MARKOUT_HORIZONS
from pipeline.instants import decimals_of, format_count, format_instant, format_price
from pipeline.units import NS_PER_MS

WIDTH: Final = 100
ENDS_SHOWN: Final = 20
"""Changes at each end of a long wait that are shown."""

RULES: Final = {
    "behind": "an aggressor executed an order behind us in the queue: that size would have met "
    "us first",
    "worse_price": "an aggressor executed an order at a worse price than ours: it would have met "
    "us on the way",
    "came_to_rest": "an order of the other side came to rest at our price or through it: it would "
    "have met us",
    "auction": "an auction took place at a price better for us than our limit",
    "auction_queue": "an auction at our limit executed an order behind us: it reached beyond us",
    "nothing_ahead": "optimistic reading: any execution at our price fills us, as if nothing were "
    "ahead",
    "print_only": "optimistic reading: a trade at our price or through it fills us, though no "
    "order is known to have met it",
    "took_depth": "our order took displayed depth of the other side",
}
"""The rule behind each reason of docs/fills.md, in a sentence."""

ENDS: Final = {
    "none": "it was filled whole",
    "asked": "we cancelled it",
    "no_depth": "no more depth was displayed within its limit",
    "session_end": "its session ended",
    "book_cleared": "the venue cleared the book",
    "closed": "the market was closed",
    "crossed": "the book was crossed",
    "invalid": "the book's contents were not known to be complete",
    "end_of_data": "the data ended",
    "too_late": "it had ended before",
    "would_take": "post-only, and it would have taken",
    "not_whole": "fill-or-kill, and not all of it could be filled",
    "self_match": "it would have met an order of our own",
    "stop_passed": "the last trade had passed its trigger already",
    "risk_size": "larger than the limit of an order's size",
    "risk_position": "it would have exceeded the limit of the position",
    "risk_rate": "too many orders within a second",
    "risk_loss": "the limit of loss was reached",
    "flattening": "positions were being closed",
    "bad_order": "such an order cannot be",
}
"""Why an order ended, in words."""


class Telling:
    """Text of a story.

    Parameters
    ----------
    story
        What happened.
    everything
        Show long waits whole.
    """

    def __init__(self, story: Story, *, everything: bool = False) -> None:
        self.story = story
        self.everything = everything
        order, fill = story.order, story.fill
        prices = [story.contract[2], order["price"], order["bid_px"], order["ask_px"]]
        self.decimals = decimals_of([*prices, fill["price"] if fill else None])
        own = [int(order["ts_decided"])]
        self.day = format_instant(own[0])[:10]

    # --- words ------------------------------------------------------------------------------------

    def price(self, units: int | None) -> str:
        return "-" if units is None else format_price(units, self.decimals)

    def time(self, ns: int | None) -> str:
        """Time of day; with its date where that is not the decision's."""
        if ns is None:
            return "-"
        text = format_instant(ns)
        return text[11:] if text[:10] == self.day else text

    def touch(self, bid: int | None, ask: int | None) -> str:
        return f"{self.price(bid)} / {self.price(ask)}"

    @staticmethod
    def later(ns: int) -> str:
        return f"{ns / NS_PER_MS:,.3f} ms"

    # --- parts ------------------------------------------------------------------------------------

    def title(self) -> list[str]:
        story, order = self.story, self.story.order
        asked = story.asked
        simulated = "SIMULATED  " if asked.dataset.startswith("SIM.") else ""
        what = f"order {asked.order}" if asked.fill is None else f"fill {asked.fill}"
        verb = "buy" if order["side"] == "B" else "sell"
        at = "" if order["price"] is None else f" at {self.price(order['price'])}"
        lines = [
            f"{simulated}{what} of run {asked.run_id}, {asked.reading} reading, {asked.symbol}",
            (
                f"{verb} {order['size']}{at}, {order['type']} {order['tif']}, order {asked.order}, "
                f"{self.day} UTC"
            ),
        ]
        if story.queue_model != "exact":
            lines.append("The queue is approximate: the match algorithm is not first in first out.")
        return lines

    def sending(self) -> list[str]:
        story, order = self.story, self.story.order
        lines = [
            (
                f"decided   {self.time(order['ts_decided'])}  our clock; "
                f"touch as we knew it {self.touch(*story.seen)}"
            )
        ]
        arrived = order["ts_arrived"]
        if arrived is None:
            return [*lines, "It never reached the venue."]
        lines += [
            (
                f"arrived   {self.time(arrived)}  "
                f"{self.later(arrived - order['ts_decided'])} later, after event "
                f"{order['event_arrived']}"
            ),
            f"          touch there {self.touch(order['bid_px'], order['ask_px'])}",
        ]
        return lines

    def walked(self) -> list[str]:
        """Levels of the other side, and what we took of each."""
        fills = [s.fill for s in self.story.steps if s.fill and s.fill["role"] == "taker"]
        if not fills:
            return []
        taken: dict[int, int] = {}
        for fill in fills:
            taken[fill["price"]] = taken.get(fill["price"], 0) + fill["size"]
        worst = max(taken) if self.story.order["side"] == "B" else min(taken)
        rows: list[list[str]] = []
        for price, size, orders in self.story.depth:
            rows.append([self.price(price), f"{size:,}", f"{orders:,}", str(taken.get(price, 0))])
            if price == worst:
                break
        return ["", "levels it walked:", *_aligned(["price", "size", "orders", "taken"], rows)]

    def waiting(self) -> list[str]:
        """Everything from joining a queue to the end, the middle of long waits left out."""
        steps = self.story.steps
        if not steps:
            return []
        shown: list[Step | int] = list(steps)
        if not self.everything and len(steps) > 2 * ENDS_SHOWN + 1:
            hidden = len(steps) - 2 * ENDS_SHOWN
            shown = [*steps[:ENDS_SHOWN], hidden, *steps[-ENDS_SHOWN:]]
        rows = []
        for step in shown:
            if isinstance(step, int):
                middle = steps[ENDS_SHOWN:-ENDS_SHOWN]
                left = sum(s.left for s in middle)
                rows.append(["...", f"{step:,} more (--all)", "", "", "", f"-{left}", "", ""])
            else:
                rows.append(self._row(step))
        header = ["venue's clock", "what", "order", "size", "price", "left", "ahead", "received"]
        return ["", *_aligned(header, rows)]

    def _row(self, step: Step) -> list[str]:
        words = {
            "joined": f"we join, {format_count(step.orders or 0, 'order')} ahead",
            "filled": f"WE ARE FILLED: {step.reason}",
            "ended": f"our order ends: {step.reason}",
            "triggered": "our stop is triggered",
        }
        received = ""
        if step.ts_recv is not None and step.ts is not None:
            received = f"{(step.ts_recv - step.ts) / NS_PER_MS:+,.3f} ms"
        known = step.order_id is not None and step.order_id != 0
        return [
            self.time(step.ts),
            words.get(step.what, step.what),
            str(step.order_id) if known else "",
            "" if step.size is None else f"{step.size:,}",
            "" if step.price is None else self.price(step.price),
            f"-{step.left:,}" if step.left else "",
            "" if step.ahead is None else f"{step.ahead:,}",
            received,
        ]

    def ending(self) -> list[str]:
        _story, fill = self.story, self.story.fill
        lines = self._filled(fill) if fill else self._unfilled()
        return [part for line in lines for part in _folded(line, " " * 10)]

    def _filled(self, fill: Any) -> list[str]:
        story = self.story
        currency = fill["currency"]
        after = [
            f"{fill[name] / story.contract[2]:+.1f} after {name[8:]}"
            for name in MARKOUT_HORIZONS
            if fill[name] is not None
        ]
        position, ahead = fill["position"], fill["ahead"]
        lines = [
            "",
            (
                f"filled    {self.time(fill['ts'])}  {fill['size']} at {self.price(fill['price'])} "
                f"as {fill['role']}, by record {fill['record']} of event {fill['event']}"
            ),
            f"why       {fill['reason']}: {RULES[fill['reason']]}",
        ]
        if ahead is not None:
            lines.append(
                f"queue     {fill['ahead_at_entry']} ahead on joining, {ahead} at the fill"
            )
        lines += [
            (
                f"known     {self.time(fill['ts_known'])}  our clock, "
                f"{self.later(fill['ts_known'] - fill['ts'])} later"
            ),
            f"markouts  {', '.join(after) or 'none'}" + (" (ticks, for us)" if after else ""),
            (
                f"money     position {position:+}, realised {fill['realised']:f} gross, "
                f"fee {fill['fee']:f} {currency}"
            ),
        ]
        return lines

    def _unfilled(self) -> list[str]:
        order, final = self.story.order, self.story.final
        lines = [
            "",
            (
                f"ended     {self.time(order['ts_ended'])}  {order['status']}, "
                f"{order['filled']} of {order['size']} filled: {ENDS[order['reason']]}"
            ),
        ]
        ahead = final.get("ahead")
        if ahead is not None and order["filled"] < order["size"]:
            lines.append(
                f"queue     {order['ahead_at_entry']} ahead on joining, {ahead} at its end"
            )
        return lines

    def verdict(self) -> str:
        if not self.story.disagreements:
            return "The replay agrees with what the run stored."
        return "THE REPLAY DISAGREES with what the run stored: " + "; ".join(
            self.story.disagreements
        )

    def text(self) -> str:
        """All of it."""
        parts = [self.title(), [""], self.sending(), self.walked(), self.waiting(), self.ending()]
        lines = [line for part in parts for line in part]
        return "\n".join([*lines, "", *_folded(self.verdict(), "")])


def as_json(story: Story) -> dict[str, Any]:
    """Prices in 1e-9 and times in ns, as the tables have them."""
    asked = asdict(story.asked)
    return {
        **asked,
        "order_row": dict(story.order),
        "fill_row": None if story.fill is None else dict(story.fill),
        "seen": {"bid_px": story.seen[0], "ask_px": story.seen[1]},
        "depth": [dict(zip(("price", "size", "orders"), row, strict=True)) for row in story.depth],
        "steps": [asdict(step) for step in story.steps],
        "why": RULES[story.fill["reason"]] if story.fill else ENDS[story.order["reason"]],
        "agrees": not story.disagreements,
        "disagreements": story.disagreements,
    }


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns: those of numbers to the right; ones without any cell are left out."""
    keep = [i for i in range(len(header)) if any(row[i] for row in rows)]
    table = [[header[i] for i in keep], *([row[i] for i in keep] for row in rows)]
    numbers = {"size", "price", "left", "ahead", "orders", "taken"}
    widths = [max(len(row[i]) for row in table) for i in range(len(keep))]
    lines = []
    for row in table:
        cells = [
            text.rjust(width) if header[i] in numbers else text.ljust(width)
            for text, width, i in zip(row, widths, keep, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _folded(line: str, indent: str) -> list[str]:
    """A line in as many as it needs."""
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, drop_whitespace=True) or [""]
