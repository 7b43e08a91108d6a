"""Event strategies: small Python with callbacks, compiled; one file, no numba in sight.

    @dataclass
    class Hello(EventStrategy):
        \"\"\"Buy at the bid, sell a tick higher.\"\"\"

        size: int = parameter(1, "contracts", "of each order")
        order: int = state(-1)

        def on_market_event(self, m: Market) -> None:
            if m.two_sided() and m.working == 0 and m.position == 0:
                self.order = m.buy(m.bid, self.size)

        def on_fill(self, m: Market) -> None:
            if m.position > 0:
                m.sell(m.fill_price + m.tick, m.position)

Callbacks take the strategy and the :class:`~strategies.market.Market`, and may be left out:

================== ==============================================================================
initialize         once, before the first session
on_session_start   before each session; timers and orders of the day do not outlive theirs
on_market_event    an event has been received (``wake``: every one, touch changes, trades, never)
on_timer           ``m.timer`` is the tag it was set with
on_fill            ``m.fill_order  fill_price fill_size fill_side fill_role fill_left``
on_order           the venue's word on an order: ``m.update_order update_state update_reason``
on_reject          the same where an order, a cancel or a replacement was refused
================== ==============================================================================

Parameters, state and callbacks are typed: ``int`` (64 bits), ``float``, ``bool`` and arrays of a
fixed length.  Division by zero gives 0 (whole numbers) or inf and nan, integers wrap around,
indices are checked.  Methods of the class can call one another; functions of a module must be
decorated with ``helper``.  ``--interpret`` runs the same code in Python, where print and a
debugger work, with the same result.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, get_type_hints

import numpy as np

from pipeline.errors import RequestError
from pipeline.structs import Floats1, Ints1
from pipeline.structs import compilable as helper
from pipeline.units import NS_PER_MINUTE
from strategies.interface import Duration, Strategy, parameter
from strategies.layout import WAKES
from strategies.market import BUY, DAY, FOK, GTC, IOC, NO_PRICE, SELL, Market

__all__ = [
    "BUY", "DAY", "FOK", "GTC", "IOC", "NO_PRICE", "SELL", "Duration", "EventStrategy", "Floats1",
    "Ints1", "Market", "feature", "helper", "parameter", "state", "state_array",
]  # fmt: skip


def state(start: Any) -> Any:
    """A variable of a strategy: an int, a float or a bool that it starts with."""
    return field(default=start, init=False, metadata={"state": start})


def state_array(kind: type, length: int) -> Any:
    """An array of ``int`` or ``float`` zeros of a fixed length."""
    return field(default=None, init=False, metadata={"array": (np.dtype(kind), length)})


def feature(name: str) -> Any:
    """The number of a feature for ``m.feature``; ``{parameter}`` in its name is filled in."""
    return field(default=-1, init=False, metadata={"feature": name})


@dataclass
class EventStrategy(Strategy):
    """Base of strategies made of callbacks; see the module's docstring."""

    wake: ClassVar[str] = "event"
    """When on_market_event is called: event, touch, trade or never."""
    together: ClassVar[bool] = False
    """Trades several instruments in one simulation: all of the selection at once."""

    flatten: bool = parameter(True, "", "be flat before the session ends")
    flatten_before: Duration = parameter(
        Duration(5 * NS_PER_MINUTE), "ns", "how long before the session ends", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wake not in WAKES:
            raise RequestError.unknown("wake", self.wake, WAKES)
        for item in fields(self):
            if "feature" in item.metadata:
                self._check_name(item.metadata["feature"])

    def _check_name(self, template: str) -> None:
        known = self.values()
        for _, name, _, _ in string.Formatter().parse(template):
            if name is not None and name not in known:
                raise RequestError.unknown("parameter", name, known, where=repr(template))

    def features(self) -> tuple[str, ...]:
        """Names of the features it reads, in the order of their numbers."""
        names = [
            item.metadata["feature"].format(**self.shown())
            for item in fields(self)
            if "feature" in item.metadata
        ]
        return tuple(dict.fromkeys(names))

    def numbers(self) -> Mapping[str, int]:
        """Number of the feature of each field made by :func:`feature`."""
        names = self.features()
        shown = self.shown()
        return {
            item.name: names.index(item.metadata["feature"].format(**shown))
            for item in fields(self)
            if "feature" in item.metadata
        }

    def variables(self) -> dict[str, tuple[type, Any]]:
        """Type and first value of all that its code reads: parameters, state, features."""
        hints = get_type_hints(type(self))
        numbers = self.numbers()
        found: dict[str, tuple[type, Any]] = {}
        for item in fields(self):
            kind = hints[item.name]
            if "array" in item.metadata:
                continue
            value = numbers.get(item.name, getattr(self, item.name))
            kind = int if kind is Duration else kind
            if kind in (int, float, bool):
                found[item.name] = (kind, value)
        return found

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Arrays of its state."""
        return {
            item.name: np.zeros(item.metadata["array"][1], item.metadata["array"][0])
            for item in fields(self)
            if "array" in item.metadata
        }
