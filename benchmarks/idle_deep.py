"""A strategy that reads the book: in a file of its own, since that is looked up by file."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.event import BUY, EventStrategy, Market, state


@dataclass
class OnBook(EventStrategy):
    """Called at every event; reads the second level of the bids."""

    calls: int = state(0)

    def on_market_event(self, m: Market) -> None:
        self.calls += m.size_at(BUY, 1)
