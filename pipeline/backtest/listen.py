"""What happens to one order of ours while it waits: noted from outside the simulator.

The simulator runs as in a backtest; records that may concern the order are given to it one at a
time, and its own figures are compared before and after.  So there is no second set of rules here:
what shortened the queue is whatever the simulator shortened it by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.backtest import state as st
from pipeline.backtest.replay import Replay
from pipeline.backtest.tables import FILL_REASONS, ORDER_REASONS, ORDER_STATUS, ROLES
from pipeline.book import layout as lb
from pipeline.book.columns import Chunk, take
from pipeline.book.layout import I64, Book
from pipeline.book.orders import A, C, F, M, R, T
from pipeline.units import F_SNAPSHOT, UNDEF_PRICE

DEPTH_SHOWN: Final = 10


@dataclass
class Step:
    """One thing that happened; prices in 1e-9, times in ns, what does not apply is None."""

    what: str
    """``joined``, ``filled``, ``ended``, ``triggered``, or what a record did: see ``docs``."""
    ts: int | None
    """Venue's clock."""
    ts_recv: int | None = None
    record: int | None = None
    action: str | None = None
    price: int | None = None
    size: int | None = None
    order_id: int | None = None
    left: int = 0
    """Contracts that are no longer ahead."""
    ahead: int | None = None
    """Contracts ahead after it."""
    reason: str | None = None
    orders: int | None = None
    """Orders ahead, on joining."""
    fill: dict[str, Any] | None = None


@dataclass
class Target:
    """The order to listen for, as its stored row has it."""

    order: int
    type: str
    replaced: int
    ts_decided: int
    ts_arrived: int | None
    price: int | None
    side: int
    until_fill: int | None
    """Number of the fill that the story ends with; None for the order's end."""


class Heard(Exception):  # noqa: N818 - no error: what was asked for has happened
    """The story is over; the rest of the records need not be read."""


@dataclass
class Listener:
    """Cuts records into pieces and notes what each did to the order.

    Parameters
    ----------
    target
        The order.
    replay
        The simulation that places it.
    """

    target: Target
    replay: Replay
    steps: list[Step] = field(default_factory=list)
    depth: list[tuple[int, int, int]] = field(default_factory=list)
    """Price, size and orders of the other side's levels when it arrived (or was triggered)."""
    seen: tuple[int | None, int | None] = (None, None)
    """Best bid and ask as the strategy knew them when it decided."""
    final: dict[str, Any] = field(default_factory=dict)
    """The order when the story ended."""
    watching: bool = False
    """Its rows must stay where they are."""

    def __post_init__(self) -> None:
        self._fills = -1
        self._marker = -1
        self._limit = UNDEF_PRICE
        self._ahead = 0
        self._queue: dict[int, int] = {}
        self._triggered = 0
        self._depth_before: list[tuple[int, int, int]] = []

    # --- cutting ----------------------------------------------------------------------------------

    def pieces(self, chunk: Chunk) -> Iterator[Chunk]:
        """The records of a chunk, in pieces; when one is asked for, those before have been run."""
        n, at = len(chunk.publisher), 0
        if not self.watching:
            since = self.target.ts_decided
            if self.target.ts_arrived is not None:
                since = self.target.ts_arrived
            late = np.flatnonzero(_times(chunk) >= since)
            at = int(late[0]) if len(late) else n
            if at:
                yield take(chunk, slice(0, at))
            if at == n:
                return
            self.watching = True
            self._fills = int(self._meta[st.FILL_BASE] + self._meta[st.N_FILLS])
        nearby: npt.NDArray[np.intp] | None = None
        while at < n:
            stop = at + 1
            if self._in_one_place():
                if nearby is None:
                    nearby = np.flatnonzero(self._concerns(chunk))
                following = nearby[np.searchsorted(nearby, at) :]
                first = int(following[0]) if len(following) else n
                stop = first if first > at else at + 1
            elif self._marker < 0:
                self._depth_before = self._other_side()
            yield take(chunk, slice(at, stop))
            self.note(chunk, at, stop)
            at = stop

    def _in_one_place(self) -> bool:
        """It rests, and will rest at that price: most records cannot concern it."""
        target = self.target
        return self._marker >= 0 and target.replaced == 0 and target.type == "limit"

    def _concerns(self, chunk: Chunk) -> npt.NDArray[np.bool_]:
        """Records that might change its queue, fill it, or are worth telling."""
        r, target = chunk.records, self.target
        price, side = int(self.target.price or 0), target.side
        own, other = b"BA"[side], b"BA"[1 - side]
        defined = r.price != UNDEF_PRICE
        through = defined & ((r.price <= price) if side == lb.BID else (r.price >= price))
        changes = (r.action == A) | (r.action == C) | (r.action == M)
        ahead = np.isin(r.order_id, np.array(list(self._queue), np.int64))
        found: npt.NDArray[np.bool_] = (
            (ahead & (changes | (r.action == F)))
            | (changes & (r.side == own) & (r.price == price))
            | (changes & (r.side == other) & through)
            | (((r.action == F) | (r.action == T)) & through)
            | (r.action == R)
            | ((r.flags & F_SNAPSHOT) != 0)
        )
        return found

    # --- noting -----------------------------------------------------------------------------------

    @property
    def _meta(self) -> I64:
        return self.replay.sim.meta

    def _row(self) -> I64 | None:
        row = self.target.order - int(self._meta[st.BASE])
        if not 0 <= row < int(self._meta[st.N_OWN]):
            return None
        own: I64 = self.replay.sim.own[row]
        return own

    def note(self, chunk: Chunk | None = None, at: int = 0, stop: int = 0) -> None:
        """What the records ``at`` to ``stop`` did.

        Raises
        ------
        Heard
            When the story is over.
        """
        own = self._row()
        if own is None:
            return
        self.seen = _price(own[st.O_SEEN_BID]), _price(own[st.O_SEEN_ASK])
        if own[st.O_TRIGGERED] and not self._triggered:
            self._triggered = int(own[st.O_TRIGGERED])
            self.steps.append(Step("triggered", self._triggered, price=_price(own[st.O_STOP])))
            self._depth_before = self._other_side()
        # Where nobody else joined a queue meanwhile, another price has the same marker.
        moved = (int(own[st.O_MARKER]), int(own[st.O_PRICE])) != (self._marker, self._limit)
        if moved and own[st.O_MARKER] >= 0:
            self._joined(own)
        elif moved:
            self._marker = -1  # pulled back; it will join somewhere else
        ahead = int(own[st.O_AHEAD])
        left = self._ahead - ahead if self._marker >= 0 else 0
        one = chunk is not None and stop == at + 1
        # An order that ended otherwise than by this record had gone before it.
        there = int(own[st.O_STATUS]) in (st.RESTING, st.FILLED) or left != 0
        if chunk is not None and self._marker >= 0 and there and (one or left):
            self._record(chunk, stop - 1, own, left)
        self._ahead = ahead
        if left and int(own[st.O_STATUS]) == st.RESTING:
            self._queue = self._ahead_of(own)
        self._note_fills(own)
        self.final = {
            "status": ORDER_STATUS[own[st.O_STATUS]],
            "reason": ORDER_REASONS[own[st.O_REASON]],
            "filled": int(own[st.O_FILLED]),
            "ahead": ahead if self._marker >= 0 else None,
            "ended": int(own[st.O_ENDED]),
        }
        if int(own[st.O_STATUS]) > st.RESTING:
            reason = str(self.final["reason"])
            ended = Step("ended", int(own[st.O_ENDED]), ahead=self.final["ahead"], reason=reason)
            if int(own[st.O_STATUS]) != st.FILLED:
                self.steps.append(ended)
            raise Heard

    def _joined(self, own: I64) -> None:
        meta = self._meta
        first = self._marker < 0 and not any(step.what == "joined" for step in self.steps)
        if not self.depth:
            self.depth = self._depth_before
        self._marker = int(own[st.O_MARKER])
        self._limit = int(own[st.O_PRICE])
        self._ahead = int(own[st.O_ENTRY_AHEAD])
        self._queue = self._ahead_of(own)
        when = int(own[st.O_ARRIVED]) if first and not self._triggered else int(meta[st.CLOCK])
        self.steps.append(
            Step(
                "joined",
                when,
                price=int(own[st.O_PRICE]),
                size=int(own[st.O_SIZE] - own[st.O_FILLED]),
                ahead=self._ahead,
                orders=int(own[st.O_ENTRY_ORDERS]),
            )
        )

    def _record(self, chunk: Chunk, i: int, own: I64, left: int) -> None:
        """A market record that concerned the order."""
        what = self._effect(chunk, i, own, left)
        if not what:
            return
        r = chunk.records
        self.steps.append(
            Step(
                what,
                _price(r.ts_event[i]),
                int(r.ts_recv[i]),
                int(r.record[i]),
                chr(r.action[i]),
                _price(r.price[i]),
                int(r.size[i]),
                int(r.order_id[i]) & (2**64 - 1),
                left,
                int(own[st.O_AHEAD]),
            )
        )

    def _effect(self, chunk: Chunk, i: int, own: I64, left: int) -> str:
        """What a record did, in words; empty where it is nothing to tell."""
        r, side = chunk.records, int(own[st.O_SIDE])
        action, price, limit = int(r.action[i]), int(r.price[i]), int(own[st.O_PRICE])
        letter = chr(r.side[i])
        ours = letter == "BA"[side]
        if int(r.flags[i]) & F_SNAPSHOT or action == R:
            return "snapshot: matched again by id" if left else ""
        if left:
            whole = {A: "replaced ahead", C: "cancelled ahead", M: "modified ahead"}
            return whole.get(action, "shortened the queue")
        if price == UNDEF_PRICE:
            return ""
        through = price < limit if side == lb.BID else price > limit
        if action == T and not ours and (through or price == limit):
            auction = "auction " if letter == "N" else ""
            return f"{auction}trade {'through our price' if through else 'at our price'}"
        if action == F and (ours or letter == "N"):
            if through:
                return "fill at a worse price"
            if price == limit:
                ahead = int(r.order_id[i]) in self._queue
                return "fill ahead" if ahead else "fill of an order not ahead"
        if ours and price == limit and action in (A, C, M):
            return {A: "joined behind", C: "left behind us", M: "changed behind us"}[action]
        if not ours and letter != "N" and action in (A, M) and (through or price == limit):
            return "came to our price"
        return ""

    def _note_fills(self, own: I64) -> None:
        meta, fills = self._meta, self.replay.sim.fills
        base, n = int(meta[st.FILL_BASE]), int(meta[st.N_FILLS])
        done = False
        for k in range(max(0, self._fills - base), n):
            row = fills[k]
            if int(row[st.F_ORDER]) != self.target.order:
                continue
            if not self.depth:
                self.depth = self._depth_before
            number = base + k
            fill = {
                "fill": number,
                "order": int(row[st.F_ORDER]),
                "ts": int(row[st.F_TS]),
                "ts_known": int(row[st.F_KNOWN]),
                "event": int(row[st.F_EVENT]),
                "record": int(row[st.F_RECORD]),
                "price": int(row[st.F_PRICE]),
                "size": int(row[st.F_SIZE]),
                "role": ROLES[row[st.F_ROLE]],
                "reason": FILL_REASONS[row[st.F_REASON]],
                "ahead_at_entry": _price(row[st.F_ENTRY_AHEAD]),
                "ahead": _price(row[st.F_AHEAD]),
                "position": int(row[st.F_POSITION]),
            }
            self.steps.append(
                Step(
                    "filled",
                    int(row[st.F_TS]),
                    record=int(row[st.F_RECORD]),
                    price=int(row[st.F_PRICE]),
                    size=int(row[st.F_SIZE]),
                    ahead=_price(row[st.F_AHEAD]),
                    reason=FILL_REASONS[row[st.F_REASON]],
                    fill=fill,
                )
            )
            done = done or number == self.target.until_fill
        self._fills = base + n
        if done:
            self.final = {"status": ORDER_STATUS[own[st.O_STATUS]], "filled": int(own[st.O_FILLED])}
            raise Heard

    # --- the book ---------------------------------------------------------------------------------

    def _ahead_of(self, own: I64) -> dict[int, int]:
        """Orders ahead of ours and their sizes."""
        book = self.replay.sim.book
        level = _level(book, int(own[st.O_SIDE]), int(own[st.O_PRICE]))
        queue: dict[int, int] = {}
        slot = -1 if level < 0 else int(book.levels[level, lb.HEAD])
        while slot >= 0 and book.orders[slot, lb.PRIORITY] <= own[st.O_MARKER]:
            queue[int(book.orders[slot, lb.ORDER_ID])] = int(book.orders[slot, lb.SIZE])
            slot = int(book.orders[slot, lb.NEXT])
        return queue

    def _other_side(self) -> list[tuple[int, int, int]]:
        """The levels that an order which takes would meet."""
        book, other = self.replay.sim.book, 1 - self.target.side
        n = int(book.meta[lb.N_SIDE + other])
        slots = book.ladder[other, 1, max(0, n - DEPTH_SHOWN) : n][::-1]
        return [
            (int(row[lb.PRICE]), int(row[lb.TOTAL]), int(row[lb.COUNT]))
            for row in (book.levels[slot] for slot in slots)
        ]


def _level(book: Book, side: int, price: int) -> int:
    """Slot of a price level, -1 where there is none."""
    n = int(book.meta[lb.N_SIDE + side])
    keys = book.ladder[side, 0, :n]
    at = int(np.searchsorted(keys, price ^ -side))
    return int(book.ladder[side, 1, at]) if at < n and keys[at] == price ^ -side else -1


def _times(chunk: Chunk) -> I64:
    """When records happen at the venue; a record without a time never is the first."""
    r = chunk.records
    times: I64 = np.where((r.flags & F_SNAPSHOT) != 0, r.ts_recv, r.ts_event)
    times[times == UNDEF_PRICE] = -st.NEVER
    return times


def _price(value: Any) -> int | None:
    return None if int(value) == UNDEF_PRICE else int(value)
