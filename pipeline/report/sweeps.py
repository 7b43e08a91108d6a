"""A sweep on the page: which of its runs are compared, its heat map, and what luck explains."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from pipeline.errors import RequestError
from pipeline.report.markup import esc, signed, table
from pipeline.sweep import show
from pipeline.sweep.axes import LATENCY
from pipeline.sweep.metrics import ranking
from pipeline.sweep.results import SweepResult

BEST: Final = 8
"""Runs of a sweep that are compared on the page."""


def runs_of(sweep: SweepResult) -> list[str]:
    """Its best runs by the metric; of a walk-forward the tests, in the order of time.

    Raises
    ------
    RequestError
        If none of its runs left results.
    """
    rows = sweep.rows.filter(pl.col("done"))
    if sweep.walks:
        rows = rows.filter(pl.col("role") == "test").sort("window").tail(BEST)
        names = rows["run_id"].to_list()
    else:
        order = ranking(rows["value"].to_list(), sweep.metric)
        names = [rows["run_id"][place] for place in order[:BEST]]
    if not names:
        raise RequestError(f"sweep {sweep.sweep_id} has no run with a value of {sweep.metric}")
    return list(dict.fromkeys(names))


def sweep_section(sweep: SweepResult) -> str:
    """The sweep as HTML."""
    strategy = sweep.rows["strategy"][0]
    parts = [f"<h3>{esc(strategy)} {esc(sweep.sweep_id)}</h3>"]
    if sweep.walks:
        parts.append(_text(show.walk_lines(sweep)))
        parts += [f"<p>{esc(line)}</p>" for line in show.out_of_sample_lines(sweep)]
    elif sweep.axes == [LATENCY]:
        parts.append(_text(show.decay_table(sweep)))
    else:
        luck = sweep.luck
        lines = show.luck_lines(luck, sweep.luckiest) if luck else []
        parts += [f"<p>{esc(line)}</p>" for line in lines]
        if len(sweep.axes) > 1:
            parts.append(heat_table(sweep, sweep.axes[1], sweep.axes[0]))
        parts.append(_text(show.best_table(sweep)))
    parts.append(
        f"<p class=hint>{'The tests of its last windows' if sweep.walks else 'Its best runs'}, "
        f"at most {BEST}, are compared on this page.</p>"
    )
    return "".join(parts)


def heat_table(sweep: SweepResult, x: str, y: str) -> str:
    """Values by two axes, coloured from the worst to the best; others by their median."""
    frame = sweep.heat(x, y)
    texts = _written(sweep)
    columns = frame.columns[1:]
    cells = frame.select(columns).to_numpy().astype(float)
    known = cells[np.isfinite(cells)]
    if 2 * len(known) < cells.size:
        return ""  # a random search: points, no grid
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    digits = 0 if max(abs(low), abs(high)) >= 1000 else 2 if high - low >= 0.1 else 4

    def cell(value: float) -> str:
        if not math.isfinite(value):
            return "-"
        place = (value - low) / (high - low) if high > low else 0.5
        side, strength = ("gain", 2 * place - 1) if place >= 0.5 else ("loss", 1 - 2 * place)
        text = signed(f"{value:,.{digits}f}")
        return f'<span class="heat-cell {side}" style="--strength:{strength:.2f}">{text}</span>'

    body = [
        [esc(texts.get((y, str(value)), value)), *map(cell, row)]
        for value, row in zip(frame[y].to_list(), cells.tolist(), strict=True)
    ]
    heads = [f"{esc(y)} \\ {esc(x)}", *(esc(texts.get((x, name), name)) for name in columns)]
    others = [name for name in sweep.axes if name not in (x, y)]
    over = f", median over {', '.join(others)}" if others else ""
    caption = f"{sweep.metric} by {y} (down) and {x} (across){over}, {sweep.reading} reading"
    return table(heads, body, caption=esc(caption), classes="heat-table")


def _written(sweep: SweepResult) -> dict[tuple[str, str], str]:
    """Values of the axes as they were asked for, by name and the text of the typed value."""
    rows = sweep.trials.select("point", *sweep.axes).to_dicts()
    return {
        (name, str(row[name])): text
        for row in rows
        for name, text in json.loads(row["point"]).items()
    }


def _text(lines: Sequence[str]) -> str:
    return f'<div class="scroll" tabindex="0"><pre>{esc(chr(10).join(lines))}</pre></div>'
