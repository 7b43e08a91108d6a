"""The rule book names every reason the simulator gives, the metrics page every figure."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from pipeline.backtest.tables import (
    BREAKDOWNS,
    FILL_REASONS,
    ORDER_REASONS,
    ORDER_STATUS,
    ORDER_TYPES,
    READINGS,
    RUNS,
    SPLITS,
    TIMES_IN_FORCE,
)
from pipeline.roots import ROOT

PAGE = ROOT / "docs" / "fills.md"


def test_rule_book_names_every_reason_and_reading():
    text = PAGE.read_text()

    assert [reason for reason in FILL_REASONS if f"`{reason}`" not in text] == []
    assert [reading for reading in READINGS if f"**{reading}**" not in text] == ["exact"]


def test_rule_book_explains_every_kind_of_order_and_of_end():
    rows = re.findall(r"^\| `([a-z_]+)` \|", PAGE.read_text(), re.MULTILINE)

    assert sorted(rows) == sorted([*ORDER_TYPES, *TIMES_IN_FORCE, *ORDER_REASONS])
    assert [status for status in ORDER_STATUS if f"`{status}`" not in PAGE.read_text()] == []


def test_metrics_page_defines_every_figure_and_no_other():
    text = (ROOT / "docs" / "metrics.md").read_text()
    first_cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    named = [name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)]
    columns = [column.name for column in RUNS.columns]
    figures = [*columns[columns.index("net") :], *SPLITS]
    known = {*figures, *(column.name for column in BREAKDOWNS.columns)}

    assert [n for n in figures if not any(fnmatchcase(n, pattern) for pattern in named)] == []
    assert [p for p in named if not any(fnmatchcase(n, p) for n in known)] == []
