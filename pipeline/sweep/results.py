"""A stored sweep as quants use it: ``lake.sweep(sweep_id)``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.backtest.tables import RUNS
from pipeline.errors import InputError, RequestError
from pipeline.sweep.luck import F64, Luck, luck_of
from pipeline.sweep.tables import SWEEPS
from pipeline.units import parse_duration

if TYPE_CHECKING:
    from pipeline.lake import Lake


@dataclass(frozen=True)
class SweepResult:
    """A sweep: its trials, what luck explains, and the sessions no choice has seen.

    >>> sweep = lake.sweep("3f2a")                                     # doctest: +SKIP
    >>> sweep.trials.sort("net", descending=True).head()               # doctest: +SKIP
    >>> sweep.luck.deflated, sweep.heat("entry_z", "exit_z")           # doctest: +SKIP
    """

    sweep_id: str
    lake: Lake

    @cached_property
    def rows(self) -> pl.DataFrame:
        """Its rows of ``sweeps``: one a run, tests of a walk-forward included."""
        return self.lake.scan("sweeps", sweep_id=self.sweep_id).collect()

    @cached_property
    def axes(self) -> list[str]:
        """What is varied, in the order asked for."""
        (stored,) = self.lake.partitions("sweeps", sweep_id=self.sweep_id)
        return list(stored.notes["axes"])

    @cached_property
    def walk_forward(self) -> str:
        """Its windows as asked for, ``train=20,test=5,step=5``; empty without."""
        (stored,) = self.lake.partitions("sweeps", sweep_id=self.sweep_id)
        return str(stored.notes["walk_forward"])

    def column(self, axis: str) -> str:
        """The column of :attr:`trials` with an axis's values: its name, or ``param_<name>``
        where a table has a column of that name (``window``).

        Raises
        ------
        RequestError
            If the sweep does not vary it.
        """
        if axis not in self.axes:
            raise RequestError.unknown("axis", axis, self.axes, where=f"sweep {self.sweep_id}")
        taken = {column.name for column in (*SWEEPS.columns, *RUNS.columns)}
        return f"param_{axis}" if axis in taken else axis

    @property
    def walks(self) -> bool:
        """True for a walk-forward."""
        return "test" in set(self.rows["role"]) or "train" in set(self.rows["role"])

    @property
    def metric(self) -> str:
        return str(self.rows["metric"][0])

    @property
    def reading(self) -> str:
        return str(self.rows["reading"][0])

    @cached_property
    def trials(self) -> pl.DataFrame:
        """Rows of ``sweeps`` with the varied values as columns and the figures of ``runs``.

        One row a run in the reading that counts; runs that failed have null figures.  Values
        are numbers where all of an axis are, durations in ns, texts otherwise.
        """
        points = [json.loads(point) for point in self.rows["point"]]
        columns = [
            pl.Series(self.column(name), _typed([point.get(name) for point in points]))
            for name in self.axes
        ]
        figures = self.readings.filter(pl.col("reading") == self.reading)
        kept = [name for name in figures.columns if name not in self.rows.columns]
        return self.rows.with_columns(columns).join(
            figures.select("run_id", *kept), on="run_id", how="left", maintain_order="left"
        )

    @cached_property
    def readings(self) -> pl.DataFrame:
        """Rows of ``runs``, one a run and reading."""
        wanted = self.rows.filter(pl.col("done"))["run_id"].unique(maintain_order=True).to_list()
        return self._of_runs("runs", wanted)

    def _of_runs(self, table: str, run_ids: list[str]) -> pl.DataFrame:
        wanted = set(run_ids)
        stored = self.lake.catalog.partitions(table)
        chosen = [item for item in stored if item.partition["run_id"] in wanted]
        if not chosen:
            raise InputError(f"sweep {self.sweep_id}: none of its runs has left results")
        return self.lake.scan_stored(table, chosen).collect()

    def profits(self, role: str | None = None) -> pl.DataFrame:
        """Net profit by session: ``run_id``, ``session``, ``profit`` (currency, float).

        ``role``: of these runs only.
        """
        rows = self.rows.filter(pl.col("done"))
        if role is not None:
            rows = rows.filter(pl.col("role") == role)
        run_ids = rows["run_id"].unique(maintain_order=True).to_list()
        if not run_ids:
            return pl.DataFrame(
                schema={"run_id": pl.String, "session": pl.Date, "profit": pl.Float64}
            )
        parts = self._of_runs("breakdowns", run_ids)
        mine = parts.filter((pl.col("split") == "session") & (pl.col("reading") == self.reading))
        return mine.select(
            "run_id",
            session=pl.col("part").str.to_date(),
            profit=pl.col("net").cast(pl.Float64),
        ).sort("run_id", "session")

    @cached_property
    def capital(self) -> float:
        """Equity that returns refer to."""
        return float(self.readings["capital"][0])

    @cached_property
    def _all(self) -> tuple[list[int], F64]:
        """Numbers of the trials, and their returns: float64[sessions, trials]."""
        wide = self.profits("all").pivot(on="run_id", index="session", values="profit")
        wide = wide.sort("session").fill_null(0.0)  # a symbol may have sessions others lack
        rows = self.rows.filter(pl.col("done") & (pl.col("role") == "all"))
        names = rows["run_id"].to_list()
        matrix = wide.select(names).to_numpy() / self.capital if names else np.zeros((0, 0))
        return rows["trial"].to_list(), matrix

    @cached_property
    def luck(self) -> Luck | None:
        """What chance explains of the best trial; None for a walk-forward, which is judged by
        its tests instead.
        """
        if self.walks:
            return None
        return luck_of(self._all[1], by_profit=self.metric in ("net", "gross"))

    @cached_property
    def luckiest(self) -> int | None:
        """Number of the trial that :attr:`luck` speaks of."""
        luck = self.luck
        return None if luck is None or luck.best is None else self._all[0][luck.best]

    @cached_property
    def out_of_sample(self) -> pl.DataFrame:
        """Sessions of the test windows, in order: ``window``, ``trial``, ``run_id``,
        ``session``, ``profit``, ``equity`` (their running sum, from 0).
        """
        tests = self.rows.filter(pl.col("done") & (pl.col("role") == "test"))
        return (
            tests.select("window", "trial", "run_id")
            .join(self.profits("test"), on="run_id")
            .sort("session")
            .with_columns(equity=pl.col("profit").cum_sum())
        )

    def heat(self, x: str, y: str, value: str | None = None) -> pl.DataFrame:
        """Values by two of the axes: a row a value of ``y``, a column a value of ``x``.

        ``value``: a column of :attr:`trials`; the metric without.  Where other axes vary, too,
        the median over them (their best would show luck).
        """
        value = value or self.metric
        x, y = self.column(x), self.column(y)
        cells = self.trials.filter(pl.col("role") != "test").select(x, y, pl.col(value).cast(float))
        grouped = cells.group_by(x, y).agg(pl.col(value).median()).sort(x, y)
        return grouped.pivot(on=x, index=y, values=value).sort(y)  # columns as they appear


def _typed(texts: list[str | None]) -> list[Any]:
    """Numbers where all are, then durations in ns, else the texts."""
    for kind in (int, float, parse_duration):
        try:
            return [None if text is None else kind(text) for text in texts]
        except ValueError:
            continue
    return texts
