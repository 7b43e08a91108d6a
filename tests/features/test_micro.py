"""The micro-price on markets whose transitions are known, and its martingale property."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from features.components import Pairs
from features.micro import (
    BINS,
    MOVES,
    TERMS,
    Transitions,
    adjustments,
    micro_component,
    symmetrised,
)

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

SPREADS = 2
STATES = BINS * SPREADS
OTHER = (BINS - 1 - np.arange(STATES) // SPREADS) * SPREADS + np.arange(STATES) % SPREADS


@dataclass(frozen=True)
class Chain:
    """A market in states: shares of transitions without a move, of moves, of states after one."""

    still: F64
    moves: F64
    after: F64
    """Given a move: (STATES, 4, STATES)."""


def make_chain(seed: int) -> Chain:
    """The imbalance wanders; the fuller the bid, the likelier a move up.  Both sides alike."""
    rng = np.random.default_rng(seed)
    still = np.zeros((STATES, STATES))
    moves = np.zeros((STATES, len(MOVES)))
    after = rng.random((STATES, len(MOVES), STATES))
    for x in range(STATES):
        place, width = divmod(x, SPREADS)
        near = np.abs(np.arange(STATES) // SPREADS - place) <= 1
        still[x] = rng.random(STATES) * near
        pull = (place - (BINS - 1) / 2) / BINS
        moves[x] = (0.02 + 0.02 * width) * np.exp(pull * np.array(MOVES)) * [0.3, 1, 1, 0.3]
    still, moves = still + still[np.ix_(OTHER, OTHER)], moves + moves[OTHER][:, ::-1]
    after = after + after[OTHER][:, ::-1][:, :, OTHER]
    left = 1 - moves.sum(axis=1, keepdims=True)
    return Chain(
        still / still.sum(axis=1, keepdims=True) * left,
        moves,
        after / after.sum(axis=2, keepdims=True),
    )


def expected(chain: Chain) -> F64:
    """G* of the chain itself."""
    led = np.einsum("xk,xky->xy", chain.moves, chain.after)
    rest = np.linalg.inv(np.eye(STATES) - chain.still)
    term = rest @ chain.moves @ (np.array(MOVES) / 2)
    value = term.copy()
    for _ in range(TERMS - 1):
        term = rest @ led @ term
        value += term
    return value


def simulate(chain: Chain, paths: int, steps: int, seed: int) -> tuple[I64, I64]:
    """States and mids (half ticks) of many paths, (steps + 1, paths) each."""
    rng = np.random.default_rng(seed)
    outcomes = np.concatenate([chain.still, chain.moves], axis=1).cumsum(axis=1)
    nexts = chain.after.cumsum(axis=2)
    states, mids = np.zeros((2, steps + 1, paths), dtype=np.int64)
    states[0] = rng.integers(0, STATES, paths)
    for n in range(steps):
        drawn = (rng.random((paths, 1)) > outcomes[states[n]]).sum(axis=1)
        drawn = np.minimum(drawn, STATES + len(MOVES) - 1)
        moved = drawn >= STATES
        move = np.maximum(drawn - STATES, 0)
        led = (rng.random((paths, 1)) > nexts[states[n], move]).sum(axis=1)
        states[n + 1] = np.where(moved, np.minimum(led, STATES - 1), drawn)
        mids[n + 1] = mids[n] + np.where(moved, np.array(MOVES)[move], 0)
    return states, mids


def counted(states: I64, mids: I64) -> Pairs:
    """What the statistic keeps of the paths."""
    gatherer = Transitions(SPREADS)
    # One path after the other; the first point of each has nothing before it.
    x = pl.Series(states.T.ravel())
    first = pl.Series(np.arange(x.len()) % states.shape[0] == 0)
    move = pl.Series(mids.T.ravel()).diff()
    before = pl.select(pl.when(~first).then(x.shift(1))).to_series()
    gatherer.push(np.arange(x.len()), [before, x, before, x, move])
    return gatherer.result()


def fitted(*sessions: Pairs) -> F64:
    combined = micro_component(SPREADS).combine(sessions, 1)
    assert combined.keys.tolist() == list(range(STATES))
    return combined.values


@pytest.fixture(scope="module")
def market() -> tuple[Chain, I64, I64]:
    chain = make_chain(1)
    return chain, *simulate(chain, 400, 1500, seed=2)


def test_known_transitions_are_recovered(market: tuple[Chain, I64, I64]) -> None:
    chain, states, mids = market
    sessions = [counted(states[:, k::5], mids[:, k::5]) for k in range(5)]
    truth = expected(chain)
    assert np.abs(truth).max() > 0.2
    # D12 asks for less than 0.05 tick a state.
    assert np.abs(fitted(*sessions) - truth).max() < 0.03


def test_the_fit_is_the_same_seen_from_the_other_side(market: tuple[Chain, I64, I64]) -> None:
    _, states, mids = market
    ours, theirs = fitted(counted(states, mids)), fitted(counted(OTHER[states], -mids))
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(ours, -ours[OTHER], atol=1e-12)


def test_the_micro_price_foretells_the_mid_and_is_a_martingale(
    market: tuple[Chain, I64, I64],
) -> None:
    """On other paths: E[m_later - micro | state] is nil where the mid's own error is not, and
    the micro-price has no drift.
    """
    chain, states, mids = market
    value = fitted(counted(states, mids))
    x, m = simulate(chain, 20_000, 120, seed=3)
    micro = m / 2 + value[x]
    later = m[-1] / 2
    for state in range(STATES):
        here = x[0] == state
        for error in (later - micro[0], micro[20] - micro[0]):
            noise = 3.5 * error[here].std() / np.sqrt(here.sum())
            assert abs(error[here].mean()) < 0.02 + noise, state
    top = x[0] >= STATES - SPREADS
    assert (later - m[0] / 2)[top].mean() > 0.1
    assert np.std(later - micro[0]) < np.std(later - m[0] / 2)


def test_states_that_never_led_to_a_move_have_no_value() -> None:
    still, moves, after = np.zeros((3, 3)), np.zeros((3, len(MOVES))), np.zeros((3, 3))
    still[0, 1], moves[1, 3], after[1, 0] = 4.0, 2.0, 2.0  # 0 -> 1 -> a tick up; 2 stands alone
    still[2, 2] = 5.0
    found = adjustments(still, moves, after)
    assert np.isnan(found[2])
    assert found[0] == found[1] == TERMS  # a tick up again and again, one a term
    assert np.isnan(adjustments(still[2:, 2:], moves[2:], after[2:, 2:])).all()


def test_counts_are_mirrored_state_by_state() -> None:
    """Bin 0 and spread 1, a tick up into bin 9: from the other side bin 9, down into bin 0."""
    gatherer = Transitions(1)
    one = [pl.Series([v]) for v in (0, 9, 0, 9, 2)]
    gatherer.push(np.zeros(1, dtype=np.int64), one)
    pairs = gatherer.result()
    counts = np.zeros(gatherer.counts.size)
    counts[pairs.keys] = pairs.values
    still, moves, after = symmetrised(counts, BINS, 1)
    assert still.sum() == 0
    assert moves[0].tolist() == [0, 0, 0, 2]
    assert moves[9].tolist() == [2, 0, 0, 0]
    assert after[0, 9] == after[9, 0] == 2
