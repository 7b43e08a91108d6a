"""Which features a model leans on: what it loses, out of sample, when one of them is shuffled.

Whole stretches of time change places, so that a feature keeps what its neighbouring rows owe to
each other; shuffled row by row it would be a thing no market shows.

Source: Breiman 2001 (shuffling); Kunsch 1989 (blocks).  Features that say the same share their
importance: each alone can be missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.models.stretches import stretches

Matrix = TypeVar("Matrix", npt.NDArray[np.float32], npt.NDArray[np.float64])
I64 = npt.NDArray[np.int64]

ROWS: Final = 10_000
"""Rows of a session that are looked at, at most."""
REPEATS: Final = 3


@dataclass(frozen=True)
class Importance:
    """What shuffling a feature costs: loss with it shuffled, less the loss as it is."""

    mean: float
    """Over the repeats; about 0 for what the model does not use, below it by chance."""
    spread: float | None
    """Standard deviation (n - 1) over the repeats; None of one."""


def thinned(rows: int, at_most: int) -> I64:
    """Numbers of rows evenly spread over all: int64[min(rows, at_most)], ascending."""
    kept = min(rows, at_most)
    return np.arange(kept, dtype=np.int64) * rows // max(kept, 1)


def shuffled(number: I64, rng: np.random.Generator) -> I64:
    """An order of the rows in which the stretches have changed places: int64[n].

    ``number``: int64[n], the stretch of each row, ascending from 0 without gaps.  No stretch
    stays in its place among the others, and rows keep their order inside it.

    Raises
    ------
    ValueError
        For a single stretch.
    """
    count = int(number[-1]) + 1 if len(number) else 0
    if count <= 1:
        raise ValueError("a single stretch of time has no place to go")
    places = np.arange(count)
    order = rng.permutation(count)
    while (order == places).any():  # e times on average
        order = rng.permutation(count)
    rank = np.empty(count, np.int64)
    rank[order] = places
    return np.argsort(rank[number], kind="stable")


def permutation_importance(
    loss: Callable[[Matrix], float],
    features: Matrix,
    ts: I64,
    *,
    length: int,
    seed: int,
    repeats: int = REPEATS,
) -> list[Importance] | None:
    """Importance of each feature, in their order.

    Parameters
    ----------
    loss
        ``loss(X)``: mean loss of the predictions from X, an array like ``features``.
    features
        [n, k], as the model takes them; NaN where undefined.  At most ``ROWS`` rows will do
        (:func:`thinned`): there are ``k * repeats`` predictions of all of them.
    ts
        int64[n], ns, ascending.
    length
        Length of a stretch, ns.
    seed
        The same seed gives the same figures.

    Returns
    -------
    None where the rows are of a single stretch of time.
    """
    number = stretches(ts, length)
    if not len(number) or number[-1] == 0:
        return None
    matrix = features.copy()
    whole = loss(matrix)
    # A feature's figures do not depend on which others there are before it.
    orders = [shuffled(number, np.random.default_rng([seed, i])) for i in range(repeats)]
    found = []
    for k in range(matrix.shape[1]):
        column = matrix[:, k].copy()
        losses = np.empty(repeats)
        for i, order in enumerate(orders):
            matrix[:, k] = column[order]
            losses[i] = loss(matrix) - whole
        matrix[:, k] = column
        spread = float(losses.std(ddof=1)) if repeats > 1 else None
        found.append(Importance(float(losses.mean()), spread))
    return found
