"""Rows of ``features`` and ``labels`` as arrays: batch by batch, or a training window's sample.

Nulls, and whatever is no finite number, become NaN.  A session gives the window at most ``limit``
rows, evenly thinned, so that the window's memory is bounded: ``sessions * limit`` rows of float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.models.request import definition
from pipeline.reading import part_of, read_batches
from pipeline.stage import Stored

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Chunk:
    """Rows of ``features`` that follow one another."""

    event: Ints
    ts: Ints
    """ns"""
    x: Matrix
    """``[rows, features]``; null is NaN."""


@dataclass(frozen=True)
class Labels:
    """Rows of ``labels`` of a session."""

    event: Ints
    ts: Ints
    t_end: Ints
    """ns; 0 where the label is null."""
    y: Floats
    """NaN where it is null."""

    def of(self, rows: Ints) -> Labels:
        """Some of the rows."""
        return Labels(self.event[rows], self.ts[rows], self.t_end[rows], self.y[rows])


def read_features(stored: Stored, names: Sequence[str]) -> Iterator[Chunk]:
    """The rows of a session in order, in chunks of fixed size.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    for batch in read_batches(stored, ["event", "ts", *names]):
        x = np.empty((batch.num_rows, len(names)), np.float32)
        for j, name in enumerate(names):
            x[:, j] = _numbers(batch.column(name))
        yield Chunk(_whole(batch.column("event")), _whole(batch.column("ts")), x)


def read_labels(stored: Stored, label: str) -> Labels:
    """The labels of a session.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    n, at = stored.rows, 0
    event, ts, t_end = (np.empty(n, np.int64) for _ in range(3))
    y = np.empty(n, np.float64)
    for batch in read_batches(stored, ["event", "ts", f"after_{label}", label]):
        here, at = slice(at, at + batch.num_rows), at + batch.num_rows
        if at > n:
            break
        event[here], ts[here] = _whole(batch.column("event")), _whole(batch.column("ts"))
        later = _whole(batch.column(f"after_{label}"), -1)
        t_end[here] = np.where(later >= 0, ts[here] + later, 0)
        y[here] = _numbers(batch.column(label))
    if at != n:
        raise InputError.at(
            f"{stored.table} {stored.partition}",
            f"its files do not have the {n:,} rows that were committed",
            todo="run `mbo features --force` for the session",
        )
    return Labels(event, ts, t_end, y)


def _numbers(array: pa.Array) -> Floats:
    """As float64, NaN where null or not finite."""
    values = np.array(array.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def _whole(array: pa.Array, null: int = 0) -> Ints:
    """Whole numbers or times as int64, with a number in place of null."""
    filled = array.cast(pa.int64()).fill_null(null)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.int64)


@dataclass(frozen=True)
class PastRows:
    """The files of a session that is trained on."""

    features: Stored
    labels: Stored


@dataclass
class Window:
    """The rows of a training window, in order of time."""

    x: Matrix
    """``[rows, features]``"""
    y: Floats
    ts: Ints
    t_end: Ints
    session: NDArray[np.int32]
    """Which of the sessions, from 0."""
    purged: int
    """Rows left out because their label was known too late."""


def read_window(
    past: Sequence[PastRows], names: Sequence[str], label: str, limit: int, cutoff: int
) -> Window:
    """The rows with a label that was known at ``cutoff`` (ns), at most ``limit`` a session.

    Raises
    ------
    InputError
        If a file cannot be read, or features and labels of a session are not of the same rows.
    """
    # Of a session's own arrays only what is taken outlives its turn.  Memory that nothing is
    # written to is not used: the sum of what is possible can be asked for at once.
    x = np.empty((sum(min(one.labels.rows, limit) for one in past), len(names)), np.float32)
    taken: list[Labels] = []
    purged, size = 0, 0
    for one in past:
        labels = read_labels(one.labels, label)
        usable = np.isfinite(labels.y) & (labels.t_end > 0)
        early = usable & (labels.t_end <= cutoff)
        purged += int(np.count_nonzero(usable & ~early))
        rows = np.flatnonzero(early)
        rows = rows[evenly(rows.size, limit)]
        _take(one, labels.event, rows, names, x[size : size + rows.size])
        taken.append(labels.of(rows))
        size += rows.size
    none = np.zeros(0, np.int64)
    return Window(
        x[:size],
        np.concatenate([[], *(one.y for one in taken)]),
        np.concatenate([none, *(one.ts for one in taken)]),
        np.concatenate([none, *(one.t_end for one in taken)]),
        np.repeat(np.arange(len(past), dtype=np.int32), [one.y.size for one in taken]),
        purged,
    )


def evenly(n: int, limit: int) -> Ints:
    """Places of at most ``limit`` of ``n`` rows, evenly spread; all where they are no more."""
    if n <= limit:
        return np.arange(n, dtype=np.int64)
    return np.arange(limit, dtype=np.int64) * n // limit


def _take(one: PastRows, event: Ints, rows: Ints, names: Sequence[str], out: Matrix) -> None:
    """The features of some rows of a session."""
    at, done = 0, 0
    for chunk in read_features(one.features, names):
        end = at + chunk.event.size
        if end > event.size or not np.array_equal(chunk.event, event[at:end]):
            raise _differ(one)
        upto = int(np.searchsorted(rows, end))
        out[done:upto] = chunk.x[rows[done:upto] - at]
        at, done = end, upto
    if at != event.size:
        raise _differ(one)


def _differ(one: PastRows) -> InputError:
    return InputError.at(
        f"labels {one.labels.partition}",
        "its rows are not those of features",
        todo="run `mbo features --force` for the session",
    )


def check_definitions(
    stored: Stored, names: Sequence[str], versions: Mapping[str, str], clock: str
) -> None:
    """Make sure that a file's columns are what a model was, or will be, trained on.

    Raises
    ------
    InputError
        Naming the file and what differs: a column, its definition, or the clock.
    """
    import json

    place = f"{stored.table} {stored.partition}"
    todo = "run `mbo train` for the model again"
    if not stored.files:
        raise InputError.at(place, "has no file", todo="run `mbo features --force`")
    with part_of(stored, 0) as part:
        columns, meta = set(part.schema.names), part.metadata
    params = json.loads(meta.get("mbo.params", "{}"))
    if stored.notes.get("clock") != clock:
        there = stored.notes.get("clock")
        raise InputError.at(place, f"its clock is {there}, the model's is {clock}", todo=todo)
    version = meta.get("mbo.stage_version", "")
    known = {definition(version), *(definition(version, s) for s in params.get("files", ()))}
    for name in names:
        if name not in columns:
            raise InputError.at(place, f"has no column {name}, which the model reads", todo=todo)
        if versions.get(name) not in known:
            what = f"{name} is of another definition (the model's: {versions.get(name)})"
            raise InputError.at(place, what, todo=todo)
