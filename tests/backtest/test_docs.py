"""The rule book names every reason the simulator gives."""

from __future__ import annotations

from pathlib import Path

from pipeline.backtest.tables import FILL_REASONS, READINGS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fills.md"


def test_rule_book_names_every_reason_and_reading():
    text = PAGE.read_text()

    assert [reason for reason in FILL_REASONS if f"`{reason}`" not in text] == []
    assert [reading for reading in READINGS if f"**{reading}**" not in text] == ["exact"]
