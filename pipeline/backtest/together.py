"""Several simulations in the order of time: the loop that :mod:`pipeline.backtest.joint` drives.

A switch from one instrument to another happens every few records: all of them lie behind
addresses, so that it costs no call from Python.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pipeline.backtest import state as st
from pipeline.backtest.due import lacking
from pipeline.backtest.kernel import finish, replay
from pipeline.backtest.rules import prints_alone
from pipeline.backtest.state import Sim
from pipeline.book.layout import I64, Scalar
from pipeline.book.tape import Records
from pipeline.jit import inner, kernel
from pipeline.structs import Bytes1, Ints1, Struct, Words1, at_address
from pipeline.units import F_SNAPSHOT, UNDEF_PRICE

NOT_BEGUN: Final = -1
"""Instead of a number of records: the first of them has not been looked at."""
GOES_ON, ENDING, ENDED = range(3)
"""An instrument's records: there are more; there are none, its last session is to end; over."""


class Tape(Struct):
    """Columns of :class:`~pipeline.book.tape.Records`, behind an address."""

    ts_recv: Ints1
    ts_event: Ints1
    sequence: Words1
    order_id: Ints1
    price: Ints1
    size: Words1
    flags: Bytes1
    channel: Bytes1
    action: Bytes1
    side: Bytes1
    record: Ints1


_sim_at: Any = at_address(Sim)
_tape_at: Any = at_address(Tape)


@inner
def _records(tape: Any) -> Records:
    return Records(
        tape.ts_recv, tape.ts_event, tape.sequence, tape.order_id, tape.price, tape.size,
        tape.flags, tape.channel, tape.action, tape.side, tape.record,
    )  # fmt: skip


@inner
def _bound(sim: Sim, tape: Any, at: Scalar, over: Scalar, end: Scalar) -> Scalar:
    """Nothing happens before this time, with the records from ``at`` on to come."""
    meta = sim.meta
    due = meta[st.NEXT_DUE]
    if over == ENDED:
        return due
    if over == ENDING:
        # What is due before its end comes first; the end is the last thing of that nanosecond.
        return due if due < end else end - 1
    if at >= tape.flags.shape[0]:
        return due
    if _at_once(sim):
        return np.int64(-st.NEVER)
    return min(due, _time_of(sim, tape, at))


@inner
def _at_once(sim: Sim) -> Scalar:
    """Whether the next record comes before anything else.

    An event under way goes on; prints without an F are judged by the next record, and what they
    fill was filled when they were printed.
    """
    return sim.meta[st.IN_EVENT] != 0 or sim.meta[st.N_PRINTS] > 0


@inner
def _time_of(sim: Sim, tape: Any, at: Scalar) -> Scalar:
    """When a record that begins an event happens."""
    if tape.flags[at] & F_SNAPSHOT:
        return tape.ts_recv[at]
    if tape.ts_event[at] == UNDEF_PRICE:
        return sim.meta[st.CLOCK]
    return tape.ts_event[at]


@inner
def _before_part(sim: Sim, first: Scalar, limit: Scalar) -> tuple[Scalar, Scalar]:
    """What comes before records whose first event is of a time; whether there was something."""
    meta = sim.meta
    if meta[st.IN_EVENT]:
        return np.int64(st.DONE), np.int64(0)
    if meta[st.N_PRINTS] > 0 and meta[st.E_TS_EVENT] != first:
        lack = lacking(sim)
        if lack == st.DONE:
            prints_alone(sim, meta[st.LAST_RECORD])
        return lack, np.int64(1)
    if meta[st.N_PRINTS] == 0 and meta[st.NEXT_DUE] < first:
        return finish(sim, min(limit, first), np.int64(st.ONLY_WAIT)), np.int64(1)
    return np.int64(st.DONE), np.int64(0)


@kernel
def interleave(
    sims: I64, tapes: I64, at: I64, over: I64, ends: I64, bounds: I64
) -> tuple[Scalar, Scalar]:
    """Let instruments go on in the order of time; at equal times the one named first.

    Parameters
    ----------
    sims, tapes
        Addresses of their simulations and of the records at hand.
    at
        How many of these have been run, or NOT_BEGUN; changed in place.
    over
        GOES_ON, ENDING or ENDED.
    ends
        Where one is ENDING: what is due before this time still happens, then it ends.
    bounds
        Room for a time each.

    Returns
    -------
    (int, int)
        What is needed, and the number of the instrument that needs it: DONE, its records have
        been run, or its end has come, or (-1) nothing is left to happen anywhere; NEW_PART, it is
        about to begin those at hand; FOREIGN, it has sent commands to others; or what
        :func:`~pipeline.backtest.kernel.replay` needs.
    """
    n = sims.shape[0]
    for k in range(n):
        sim, tape = _sim_at(sims[k]), _tape_at(tapes[k])
        bounds[k] = _bound(sim, tape, max(at[k], np.int64(0)), over[k], ends[k])
    while True:
        who = np.int64(0)
        for k in range(1, n):
            if bounds[k] < bounds[who]:
                who = np.int64(k)
        if bounds[who] >= st.NEVER:
            return np.int64(st.DONE), np.int64(-1)
        limit = np.int64(st.NEVER)
        for k in range(n):
            if k != who:
                limit = min(limit, bounds[k] + (1 if k > who else 0))
        sim, tape = _sim_at(sims[who]), _tape_at(tapes[who])
        if over[who] != GOES_ON:
            if over[who] == ENDING:
                if sim.meta[st.NEXT_DUE] >= ends[who]:
                    return np.int64(st.DONE), who
                limit = min(limit, ends[who])
            status = finish(sim, limit, np.int64(st.ONLY_WAIT))
            if status != st.DONE:
                return status, who
        else:
            if at[who] < 0:
                # The book may be another's from the first of these records on.
                first = _time_of(sim, tape, np.int64(0))
                status, waited = _before_part(sim, first, limit)
                if status != st.DONE:
                    return status, who
                if waited:
                    bounds[who] = _bound(sim, tape, np.int64(0), over[who], ends[who])
                    continue
                return np.int64(st.NEW_PART), who
            status, done = replay(sim, _records(tape), at[who], limit)
            at[who] = done
            if status != st.PAUSED:
                return status, who
        bounds[who] = _bound(sim, tape, max(at[who], np.int64(0)), over[who], ends[who])
