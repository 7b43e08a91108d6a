"""Strategies that do nothing: what calling one costs, and what it costs to see more."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.event import EventStrategy, Market, state


@dataclass
class Asleep(EventStrategy):
    """Never called."""

    wake = "never"


@dataclass
class OnTouch(EventStrategy):
    """Called where the touch has changed."""

    wake = "touch"
    calls: int = state(0)

    def on_market_event(self, m: Market) -> None:
        self.calls += m.bid > 0


@dataclass
class OnEvent(EventStrategy):
    """Called at every event."""

    calls: int = state(0)

    def on_market_event(self, m: Market) -> None:
        self.calls += m.bid > 0
