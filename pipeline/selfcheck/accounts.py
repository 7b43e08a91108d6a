"""A run's accounts, done again from its fills alone, in whole numbers and fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import polars as pl

from pipeline.lake import Lake
from pipeline.units import PRICE_SCALE


@dataclass
class Audit:
    """What was compared, and what differs."""

    fills: int = 0
    marks: int = 0
    differences: list[str] = field(default_factory=list)


def audit_run(lake: Lake, run_id: str) -> Audit:
    """Every fill's position and every mark's position, cash, value, fees and equity of a run.

    Cash is what fills paid and received, value the position at the mark's mid; both must be what
    the ledger wrote, to the last of its nine digits.
    """
    run = lake.run(run_id)
    fills, marks = run.fills.collect(), run.equity.collect()
    multipliers = {
        (row["dataset"], row["symbol"]): Fraction(row["multiplier"])
        for row in lake.scan("instruments").collect().iter_rows(named=True)
        if row["multiplier"] is not None
    }
    audit = Audit(len(fills), len(marks))
    keys = ["reading", "dataset", "symbol"]
    by_key = dict(fills.group_by(keys))
    for key, part in marks.group_by(keys, maintain_order=True):
        mine = by_key.get(key, fills.clear())
        found = _audit_symbol(mine.sort("fill"), part, multipliers[key[1], key[2]])
        audit.differences += [f"{run_id} {' '.join(map(str, key))} {line}" for line in found]
    return audit


def _audit_symbol(fills: pl.DataFrame, marks: pl.DataFrame, multiplier: Fraction) -> list[str]:
    differences: list[str] = []
    position, cash, fees = 0, Fraction(0), Fraction(0)
    rows = fills.iter_rows(named=True)
    upcoming = next(rows, None)
    for mark in marks.sort("ts", maintain_order=True).iter_rows(named=True):
        while upcoming is not None and upcoming["ts"] <= mark["ts"]:
            signed = upcoming["size"] if upcoming["side"] == "B" else -upcoming["size"]
            position += signed
            cash -= signed * upcoming["price"] * multiplier / PRICE_SCALE
            fees += Fraction(upcoming["fee"])
            if upcoming["position"] != position:
                differences.append(f"fill {upcoming['fill']}: position {upcoming['position']}, "
                                   f"the fills so far make {position}")  # fmt: skip
            upcoming = next(rows, None)
        differences += _at_mark(mark, position, cash, fees, multiplier)
    if upcoming is not None:
        differences.append(f"fill {upcoming['fill']} and later ones: after the last mark")
    return differences


def _at_mark(
    mark: Mapping[str, Any], position: int, cash: Fraction, fees: Fraction, multiplier: Fraction
) -> list[str]:
    expected: dict[str, Fraction | int] = {"position": position, "cash": cash, "fees": fees}
    value = Fraction(mark["value"])
    if mark["mark_2x"] is not None:
        value = Fraction(position * mark["mark_2x"], 2 * PRICE_SCALE) * multiplier
        expected["value"] = value
    expected["equity"] = cash + value - fees
    found = {name: Fraction(mark[name]) for name in expected}
    found["realised + unrealised - fees"] = (
        Fraction(mark["realised"]) + Fraction(mark["unrealised"]) - Fraction(mark["fees"])
    )
    expected["realised + unrealised - fees"] = expected["equity"]
    return [
        f"mark {mark['ts']}: {name} {float(found[name])}, from fills {float(expected[name])}"
        for name in expected
        if found[name] != expected[name]
    ]
