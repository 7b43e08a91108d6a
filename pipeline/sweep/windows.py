"""Walk-forward windows: choose on some sessions, judge on later ones, move on.

Sessions are counted, not days: a window of ten sessions holds ten that can be traded, whatever
holidays fall into it.  Between the sessions that parameters are chosen on and those they are
judged on lie ``purge`` sessions that belong to neither, so that nothing that reaches from one
session into the next (features fitted on past sessions, news digested for a day) joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pipeline.errors import RequestError

_KEYS = ("train", "test", "step")


@dataclass(frozen=True)
class WalkForward:
    """``train=10,test=5,step=5`` and ``--purge``, in sessions."""

    train: int
    test: int
    step: int
    purge: int = 0

    def __str__(self) -> str:
        return f"train={self.train},test={self.test},step={self.step},purge={self.purge}"


@dataclass(frozen=True)
class Window:
    """The sessions of one step, in order."""

    number: int
    train: tuple[date, ...]
    test: tuple[date, ...]


def parse_walk_forward(text: str, purge: int = 0) -> WalkForward:
    """From ``train=10,test=5[,step=5]``; the step is the test's length where it is not said.

    Raises
    ------
    RequestError
        For unknown or missing keys, numbers below 1, test windows that would overlap.
    """
    values: dict[str, int] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if name not in _KEYS:
            raise RequestError.unknown("key", name, _KEYS, where=f"--walk-forward {text}")
        if not equals or not number.isdecimal() or int(number) < 1:
            raise RequestError(
                f"--walk-forward {text}: {name} must be a number of sessions, 1 or more"
            )
        values[name] = int(number)
    for name in ("train", "test"):
        if name not in values:
            raise RequestError(f"--walk-forward {text}: {name}=SESSIONS is missing")
    step = values.get("step", values["test"])
    if step < values["test"]:
        raise RequestError(
            f"--walk-forward {text}: with a step of {step} sessions a session would be tested "
            f"more than once; make it at least {values['test']}"
        )
    if purge < 0:
        raise RequestError(f"--purge {purge}: write 0 or more sessions")
    return WalkForward(values["train"], values["test"], step, purge)


def windows(sessions: Sequence[date], how: WalkForward) -> list[Window]:
    """All whole windows over sessions, which are in order of time.

    Raises
    ------
    RequestError
        If there is not one.
    """
    found = []
    for number, start in enumerate(range(0, len(sessions), how.step)):
        judged = start + how.train + how.purge
        test = tuple(sessions[judged : judged + how.test])
        if len(test) < how.test:
            break
        found.append(Window(number, tuple(sessions[start : start + how.train]), test))
    if not found:
        needed = how.train + how.purge + how.test
        raise RequestError(
            f"walk-forward needs {needed} sessions ({how}); the selection has {len(sessions)}"
        )
    return found


def untested(sessions: Sequence[date], found: Sequence[Window]) -> list[date]:
    """Sessions after the first window's training that no test window holds."""
    tested = {day for window in found for day in window.test}
    begin = found[0].test[0]
    return [day for day in sessions if day >= begin and day not in tested]
