"""Values as people write them, as HTML.  Every text is escaped here."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from pipeline.backtest.summary import NONE, count, money, number, share
from pipeline.columns import MONEY, TS, Column

MOST_ROWS: Final = 300
"""Rows of long lists; of more, how many they are is said."""


def esc(value: object) -> str:
    """Text as HTML."""
    return html.escape(str(value))


def shown(column: Column, value: Any) -> str:
    """A value as people write it; undefined is a dash."""
    if value is None:
        return NONE
    if column.type == MONEY:
        return signed(money(value))
    if column.type == TS:
        return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) else NONE
    if column.unit == "s":
        return duration(float(value))
    formats: dict[str, Callable[[Any], str]] = {"share": share}
    if column.unit == "sessions":
        return count(int(value))
    if isinstance(value, int):
        return count(value)
    return signed(formats.get(column.unit, number(3 if column.unit == "ticks" else 2))(value))


def signed(text: str) -> str:
    """A typographic minus, so that columns of figures read well."""
    return text.replace("-", "\u2212") if text != NONE else text


def duration(seconds: float) -> str:
    """``350 ms``, ``12.5 s``, ``4 min 05 s``, ``3 h 20 min``, ``2 d 04 h``."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def table(
    head: Sequence[str],
    body: Iterable[Sequence[str]],
    *,
    caption: str = "",
    classes: str = "",
) -> str:
    """A table that scrolls within its frame; cells are HTML already."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    rows = "".join(
        "<tr>"
        f'<th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>"
        for row in body
    )
    title = f"<caption><span>{caption}</span></caption>" if caption else ""
    hidden = "" if any(head) else " class=none"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption or "Table"}">'
        f'<table class="{classes}">{title}<thead{hidden}><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def label(column: Column) -> str:
    """A column's name as people write it, with its unit."""
    unit = column.unit if column.unit in ("ticks", "contracts", "1/year", "1/sqrt(year)") else ""
    name = column.name.removesuffix("_s") if column.unit == "s" else column.name
    words = name.replace("_", " ").replace("100ms", "100 ms")
    for horizon in ("1s", "10s", "60s"):
        words = words.replace(f" {horizon}", f" {horizon[:-1]}\u00a0s")
    return esc(words) + (f" <i>{esc(unit)}</i>" if unit and unit not in words else "")


def details(title: str, content: str, number_: int) -> str:
    more = (
        f"<p>{number_ - MOST_ROWS:,} more are left out here; <code>mbo lineage</code> lists all."
        "</p>"
        if number_ > MOST_ROWS
        else ""
    )
    return f"<details><summary>{esc(title)}</summary>{content}{more}</details>"


def as_float(value: Decimal | float | None) -> float | None:
    """A figure for drawing."""
    return None if value is None else float(value)
