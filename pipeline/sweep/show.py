"""A sweep in the terminal: the best trials, a heat map, windows, and what luck explains."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.backtest.summary import NONE, count, money, number, share
from pipeline.backtest.tables import MIN_SESSIONS, READINGS, SESSIONS_A_YEAR
from pipeline.instants import format_count
from pipeline.sweep.axes import LATENCY
from pipeline.sweep.luck import (
    CONVINCING,
    Luck,
    kurtosis,
    probabilistic_sharpe,
    session_sharpe,
    skewness,
)
from pipeline.sweep.metrics import ranking
from pipeline.sweep.results import SweepResult

BEST: Final = 10
"""Trials that the table of the best shows."""
SHADES: Final = " ░▒▓█"
_WIDE: Final = 100

_FIGURES: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("net", "net", money),
    ("Sharpe", "sharpe", number(2)),
    ("drawdown", "max_drawdown", money),
    ("trips", "trades", count),
    ("hit", "hit_rate", share),
    ("a trip", "average_trade", number(2)),
    ("fills", "fills", count),
    ("1 s, ticks", "markout_1s", number(3)),
)
"""Columns of the tables: heading, column of ``runs``, how it is written."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of right-aligned columns."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]


def best_table(sweep: SweepResult) -> list[str]:
    """The best trials by the metric; those without a value are counted."""
    rows = sweep.trials.to_dicts()
    order = ranking([row["value"] for row in rows], sweep.metric)
    shown = [rows[place] for place in order[:BEST]]
    known = [name for _, name, _ in _FIGURES]
    extra = [] if sweep.metric in known else [(sweep.metric, sweep.metric, number(4))]
    figures = (*_FIGURES, *extra)
    header = ["trial", *sweep.axes, *(head for head, _, _ in figures), "run"]
    cells = [
        [
            str(row["trial"]),
            *_values(row, sweep.axes),
            *(show(row[name]) for _, name, show in figures),
            row["run_id"],
        ]
        for row in shown
    ]
    lines = table(header, cells)
    without = sum(row["value"] is None and row["done"] for row in rows)
    if without:
        lines.append(f"{format_count(without, 'trial')} without a value of {sweep.metric}")
    return lines


def _values(row: Mapping[str, Any], axes: Sequence[str]) -> list[str]:
    point = json.loads(row["point"])
    return [point.get(name, NONE) for name in axes]


def heat_map(sweep: SweepResult, x: str, y: str) -> list[str]:
    """Values by two axes, shaded from the worst (blank) to the best (full)."""
    frame = sweep.heat(x, y)
    texts = _texts(sweep)
    columns = frame.columns[1:]
    cells = frame.select(columns).to_numpy().astype(float)
    others = [name for name in sweep.axes if name not in (x, y)]
    over = f", median over {', '.join(others)}" if others else ""
    lines = [f"{sweep.metric} by {y} (down) and {x} (across){over}"]
    known = cells[np.isfinite(cells)]
    if not len(known):
        return [*lines, "no value anywhere"]
    low, high = float(known.min()), float(known.max())
    digits = 0 if max(abs(low), abs(high)) >= 1000 else 2 if high - low >= 0.1 else 4

    def cell(value: float) -> str:
        if not math.isfinite(value):
            return NONE
        place = (value - low) / (high - low) if high > low else 0.5
        shade = SHADES[min(int(place * len(SHADES)), len(SHADES) - 1)]
        return f"{value:,.{digits}f} {shade}{shade}"

    header = ["", *(texts.get((x, name), name) for name in columns)]
    names = [texts.get((y, str(value)), str(value)) for value in frame[sweep.column(y)]]
    rows = [[name, *map(cell, row)] for name, row in zip(names, cells, strict=True)]
    drawn = table(header, rows)
    if len(drawn[0]) > _WIDE:  # the shades alone
        rows = [[row[0], *(value[-2:] if value != NONE else NONE for value in row[1:])]
                for row in rows]  # fmt: skip
        drawn = table(["", *("" for _ in columns)], rows)
        lines[0] += f": {header[1]} to {header[-1]}"
    return [*lines, *drawn]


def _texts(sweep: SweepResult) -> dict[tuple[str, str], str]:
    """How the values of the axes were written, by name and the text of the typed value."""
    found = {}
    for row in sweep.trials.to_dicts():
        for name, text in json.loads(row["point"]).items():
            found[name, str(row[sweep.column(name)])] = text
    return found


def luck_lines(luck: Luck, trial: int | None) -> list[str]:
    """What chance explains, in plain sentences."""
    if luck.sessions < MIN_SESSIONS:
        few = (
            f"What luck explains needs {MIN_SESSIONS} sessions; there are {luck.sessions}. "
            f"The best of {format_count(luck.trials, 'trial')} on so few says little, whatever "
            "its profit."
        )
        return [few]
    if luck.sharpe is None or luck.expected is None or luck.effective is None:
        return [f"What luck explains needs 2 trials whose returns vary; {luck.judged} do."]
    best = (
        f"Trial {trial} has the best Sharpe ratio, {luck.sharpe:.2f} a year. Of {luck.judged} "
        f"trials without any skill, spread like these, the best would have {luck.expected:.2f} "
        "by luck alone."
    )
    lines = [best, _verdict(luck)]
    if luck.effective < luck.judged / 2:
        lines.append(
            f"The trials resemble each other: they are worth {luck.effective:.1f} independent ones."
        )
    if luck.overfitting is not None:
        lines.append(
            "Chosen on half of the sessions, the best falls into the lower half of all trials on "
            f"the other half {100 * luck.overfitting:.0f} % of the time (probability of "
            f"overfitting, {luck.splits:,} ways to halve; 50 % is pure chance)."
        )
    return lines


def _verdict(luck: Luck) -> str:
    if luck.deflated is None or luck.probabilistic is None:
        return "Its returns are too odd for a probability."
    words = (
        "luck does not explain it"
        if luck.deflated >= CONVINCING
        else f"luck explains it well enough (convincing from {CONVINCING})"
    )
    return (
        f"Deflated Sharpe ratio {luck.deflated:.3f}: {words}. Were it the only trial, "
        f"it would be {luck.probabilistic:.3f}."
    )


def walk_lines(sweep: SweepResult) -> list[str]:
    """Each window: what was chosen, how it did where it was chosen and where it was judged."""
    rows = sweep.trials.filter(pl.col("chosen")).sort("window", "role", descending=[False, True])
    windows: dict[int, dict[str, dict[str, Any]]] = {}
    for row in rows.to_dicts():
        windows.setdefault(row["window"], {})[row["role"]] = row
    also = [] if sweep.metric == "net" else ["net there"]
    header = ["window", "chosen on", *sweep.axes, f"{sweep.metric} there", "judged on",
              f"{sweep.metric} there", *also, "run"]  # fmt: skip
    cells = []
    for window, pair in windows.items():
        train, test = pair["train"], pair.get("test")
        cells.append(
            [
                str(window),
                _dates(train),
                *_values(train, sweep.axes),
                _figure(train["value"]),
                _dates(test) if test else NONE,
                _figure(test["value"]) if test else NONE,
                *(money(test["net"]) if test else NONE for _ in also),
                test["run_id"] if test else NONE,
            ]
        )
    return table(header, cells)


def _figure(value: float | None) -> str:
    return NONE if value is None else f"{value:,.2f}" if abs(value) >= 10 else f"{value:.4g}"


def _dates(row: Mapping[str, Any]) -> str:
    first, last = row["first_session"], row["last_session"]
    return str(first) if first == last else f"{first} to {last}"


def out_of_sample_lines(sweep: SweepResult) -> list[str]:
    """The sessions that no choice has seen, one after the other."""
    frame = sweep.out_of_sample
    if frame.is_empty():
        return ["No window was tested."]
    profits = frame["profit"].to_numpy()
    tests = sweep.trials.filter(pl.col("role") == "test")
    sessions = len(profits)
    won = int((profits > 0).sum())
    total = (
        f"Out of sample: {format_count(sessions, 'session')}, net {profits.sum():,.2f} "
        f"{tests['currency'][0]}, {won} of them with a profit, "
        f"{tests['trades'].sum():,} round trips."
    )
    lines = [total]
    returns = profits / sweep.capital
    ratio = session_sharpe(returns)
    if sessions < MIN_SESSIONS:
        lines.append(f"Its Sharpe ratio needs {MIN_SESSIONS} sessions.")
    elif ratio is not None:
        sure = probabilistic_sharpe(ratio, sessions, skewness(returns), kurtosis(returns))
        words = "" if sure is None else f"; probability that the true one is above 0: {sure:.3f}"
        lines.append(f"Sharpe ratio {ratio * math.sqrt(SESSIONS_A_YEAR):.2f} a year{words}.")
    return lines


_DECAY: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("net profit", "net", money),
    ("Sharpe", "sharpe", number(2)),
    ("average trade", "average_trade", number(2)),
    ("fills", "fills", count),
    ("limit orders filled", "fill_ratio", share),
    ("markout 1 s, ticks", "markout_1s", number(3)),
)


def decay_table(sweep: SweepResult) -> list[str]:
    """How a result decays: a column a latency, a block a figure, in it a row a reading."""
    rows = {(row["run_id"], row["reading"]): row for row in sweep.readings.to_dicts()}
    readings = [name for name in READINGS if any(key[1] == name for key in rows)]
    trials = sweep.rows.to_dicts()
    header = ["latency", *(json.loads(trial["point"])[LATENCY] for trial in trials)]
    cells: list[list[str]] = []
    for label, name, show in _DECAY:
        if all(row[name] is None for row in rows.values()):
            continue
        cells.append([label, *("" for _ in trials)])
        for reading in readings:
            found = [rows.get((trial["run_id"], reading)) for trial in trials]
            values = [NONE if row is None else show(row[name]) for row in found]
            cells.append([f"  {reading}", *values])
    cells.append(["run", *(trial["run_id"] for trial in trials)])
    width = max(len(row[0]) for row in [header, *cells])
    return table(
        [header[0].ljust(width), *header[1:]], [[r[0].ljust(width), *r[1:]] for r in cells]
    )
