"""The readable summary of a run: what was assumed, what came out, what to try next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pipeline.backtest.metrics import MIN_SESSIONS
from pipeline.backtest.tables import READINGS

Row = Mapping[str, Any]
NONE: Final = "-"
_WIDTH: Final = 14


def as_json(run_id: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The figures as JSON values: money as text, exact."""
    return {
        "run_id": run_id,
        "readings": [
            {
                key: json.loads(value)
                if key in ("params", "settings", "skipped")
                else (str(value) if isinstance(value, Decimal) else value)
                for key, value in row.items()
            }
            for row in rows
        ],
    }


def money(value: Decimal | None) -> str:
    """``-1,234.50``; digits beyond two only where there are any."""
    if value is None:
        return NONE
    text = f"{value:,.2f}"
    return text if Decimal(text.replace(",", "")) == value else f"{value.normalize():,f}"


def number(digits: int) -> Callable[[Any], str]:
    """A formatter of that many digits; null is ``-``."""
    return lambda value: NONE if value is None else f"{value:,.{digits}f}"


def share(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f} %"


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


_LINES: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("net profit", "net", money),
    ("gross profit", "gross", money),
    ("fees", "fees", money),
    ("max drawdown", "max_drawdown", money),
    ("Sharpe", "sharpe", number(2)),
    ("Sortino", "sortino", number(2)),
    ("round trips", "trades", count),
    ("hit rate", "hit_rate", share),
    ("profit factor", "profit_factor", number(2)),
    ("average trade", "average_trade", number(2)),
    ("holding time, s", "holding_s", number(1)),
    ("orders", "orders", count),
    ("fills", "fills", count),
    ("contracts", "contracts", count),
    ("limit orders filled", "fill_ratio", share),
    ("filled resting", "maker_share", share),
    ("ahead at entry", "ahead_at_entry", number(1)),
    ("turnover", "turnover", money),
    ("exposure", "exposure", share),
    ("markout 100 ms, ticks", "markout_100ms", number(3)),
    ("markout 1 s", "markout_1s", number(3)),
    ("markout 10 s", "markout_10s", number(3)),
    ("markout 60 s", "markout_60s", number(3)),
)


def render(
    run_id: str,
    rows: Sequence[Row],
    root: Path,
    *,
    asked: str,
    program: str = "mbo",
    again: str = "",
) -> str:
    """The summary of a run as text.

    Parameters
    ----------
    rows
        Its rows of ``runs``, one a reading and currency.
    root
        The lake, for saying where the tables are.
    asked
        The strategy as it was named.
    """
    first = rows[0]
    settings, params = json.loads(first["settings"]), json.loads(first["params"])
    rule = "=" * 78
    lines = [rule]
    if first["simulated"]:
        lines.append("SIMULATED market: the built-in sample, not real trading data")
    lines += [
        f"{first['strategy']} on {first['dataset']} {first['symbols'].replace(',', ', ')}",
        f"sessions    {_sessions(first)}"
        + (", incomplete ones too (--partial)" if settings.get("partial") == "true" else ""),
        f"parameters  {_pairs(params)}",
        f"latency     {settings['latency']} to the venue, {settings['response']} back",
        f"fees        schedule {settings['fees']}",
        f"queue       {_queue(first)}",
    ]
    lines += [f"roll        {roll}" for roll in settings.get("rolls", "").split("; ") if roll]
    lines += _skipped(first)
    lines.append("")
    for currency in sorted({row["currency"] for row in rows}):
        shown = sorted(
            (row for row in rows if row["currency"] == currency),
            key=lambda row: READINGS.index(row["reading"]),
        )
        lines += _table(shown, currency)
    lines += ["", "The rest of the market does not react to our orders."]
    if not first["fills"]:
        lines.append(
            "No order was filled: the signal never asked for a position, or nobody met us."
        )
    if first["sessions"] < MIN_SESSIONS:
        lines.append(
            f"Sharpe and Sortino need {MIN_SESSIONS} sessions; "
            f"{first['sessions']} {'says' if first['sessions'] == 1 else 'say'} little, "
            "whatever the profit."
        )
    lines += _next(run_id, rows, root, asked, program, again)
    lines.append(rule)
    return "\n".join(lines)


def _sessions(row: Row) -> str:
    if row["first_session"] is None:
        return "none"
    return f"{row['sessions']}, {row['first_session']} to {row['last_session']}"


def _pairs(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def _queue(row: Row) -> str:
    if row["queue_model"] == "exact":
        return "exact: the very orders ahead of us, by id"
    return "APPROXIMATE: the match algorithm is not known to be first in first out"


def _skipped(row: Row) -> list[str]:
    skipped = json.loads(row["skipped"])
    sessions: dict[str, set[str]] = {}
    for by_session in skipped.values():
        for session, reason in by_session.items():
            sessions.setdefault(reason, set()).add(session)
    return [
        f"left out    {', '.join(sorted(days))}: {reason}"
        for reason, days in sorted(sessions.items())
    ]


def _table(rows: Sequence[Row], currency: str) -> list[str]:
    head = f"{currency:<22}" + "".join(f"{row['reading']:>{_WIDTH}}" for row in rows)
    lines = [head, "-" * len(head)]
    for label, key, show in _LINES:
        values = [show(row[key]) for row in rows]
        width = max(_WIDTH, *(len(value) + 1 for value in values))
        lines.append(f"{label:<22}" + "".join(f"{value:>{width}}" for value in values))
    return lines


def _next(
    run_id: str, rows: Sequence[Row], root: Path, asked: str, program: str, again: str
) -> list[str]:
    lines = ["", f"Run {run_id}; tables: {root}/{{runs,orders,fills,equity}}/run_id={run_id}"]
    tries = []
    where = f"run_id = '{run_id}' GROUP BY reason"
    if len({row["reading"] for row in rows}) < len(READINGS):
        tries.append(
            f"{program} backtest {asked} --readings {','.join(READINGS)}{again}"
            "   # what the queue costs"
        )
    query = f"SELECT reason, count(*), avg(markout_1s) FROM fills WHERE {where}"
    tries += [
        f"{program} backtest {asked} --latency 10ms{again}   # how fast one has to be",
        f'{program} sql "{query}"',
        f"{program} describe {asked}   # its rule and its parameters",
    ]
    return [*lines, "Try next:", *(f"  {line}" for line in tries)]
