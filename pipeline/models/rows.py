"""Rows of ``features`` and ``labels`` as arrays: batch by batch, or a training window's sample.

Nulls, and whatever is no finite number, become NaN.  A session gives the window at most ``limit``
rows, evenly thinned, so that the window's memory is bounded: ``sessions * limit`` rows of float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

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
    """The rows of ``labels`` of a session."""

    event: Ints
    ts: Ints
    t_end: Ints
    """ns; 0 where the label is null."""
    y: Floats
    """NaN where it is null."""


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
    after = f"after_{label}"
    found = list(read_batches(stored, ["event", "ts", after, label]))
    none = np.zeros(0, np.int64)
    event, ts, later = (
        np.concatenate([none, *(_whole(b.column(name), null) for b in found)])
        for name, null in (("event", 0), ("ts", 0), (after, -1))
    )
    y = np.concatenate([[], *(_numbers(b.column(label)) for b in found)])
    return Labels(event, ts, np.where(later >= 0, ts + later, 0), y)


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
    chosen: list[tuple[Labels, Ints]] = []
    purged = 0
    for one in past:
        labels = read_labels(one.labels, label)
        usable = np.isfinite(labels.y) & (labels.t_end > 0)
        early = usable & (labels.t_end <= cutoff)
        purged += int(np.count_nonzero(usable & ~early))
        rows = np.flatnonzero(early)
        chosen.append((labels, rows[evenly(rows.size, limit)]))
    starts = [0, *accumulate(rows.size for _, rows in chosen)]
    x = np.empty((starts[-1], len(names)), np.float32)
    for one, (labels, rows), start in zip(past, chosen, starts, strict=False):
        _take(one, labels, rows, names, x[start : start + rows.size])
    none = np.zeros(0, np.int64)
    return Window(
        x,
        np.concatenate([[], *(labels.y[rows] for labels, rows in chosen)]),
        np.concatenate([none, *(labels.ts[rows] for labels, rows in chosen)]),
        np.concatenate([none, *(labels.t_end[rows] for labels, rows in chosen)]),
        np.repeat(np.arange(len(chosen), dtype=np.int32), np.diff(starts)),
        purged,
    )


def evenly(n: int, limit: int) -> Ints:
    """Places of at most ``limit`` of ``n`` rows, evenly spread; all where they are no more."""
    if n <= limit:
        return np.arange(n, dtype=np.int64)
    return np.arange(limit, dtype=np.int64) * n // limit


def _take(one: PastRows, labels: Labels, rows: Ints, names: Sequence[str], out: Matrix) -> None:
    """The features of some rows of a session."""
    at, done = 0, 0
    for chunk in read_features(one.features, names):
        end = at + chunk.event.size
        if end > labels.event.size or not np.array_equal(chunk.event, labels.event[at:end]):
            raise _differ(one)
        upto = int(np.searchsorted(rows, end))
        out[done:upto] = chunk.x[rows[done:upto] - at]
        at, done = end, upto
    if at != labels.event.size:
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
