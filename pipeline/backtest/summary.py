"""The readable summary of a run: what was assumed, what came out, what to try next."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pipeline.backtest.tables import MIN_SESSIONS, READINGS

Row = Mapping[str, Any]
NONE: Final = "-"
_PAGE: Final = 78
_WIDTH: Final = 14
_DAYS: Final = 8
"""Sessions of one reason that are named one by one."""
_HORIZONS: Final = (("100 ms", "100ms"), ("1 s", "1s"), ("10 s", "10s"), ("60 s", "60s"))


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


def duration(seconds: float | None) -> str:
    """``850 ms``, ``12.5 s``, ``3 m 20 s``, ``5 h 2 m``, ``12 d 4 h``."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60} s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} m"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


_Lines = tuple[tuple[str, str, Callable[[Any], str]], ...]
_BLOCKS: Final[tuple[tuple[str, _Lines], ...]] = (
    (
        "profit",
        (
            ("net profit", "net", money),
            ("gross profit", "gross", money),
            ("fees", "fees", money),
            ("unrealised, gross", "unrealised", money),
            ("net of longs", "net_long", money),
            ("net of shorts", "net_short", money),
        ),
    ),
    (
        "risk",
        (
            ("max drawdown", "max_drawdown", money),
            ("its length", "drawdown_s", duration),
            ("in sessions", "drawdown_sessions", number(0)),
            ("Sharpe", "sharpe", number(2)),
            ("Sortino", "sortino", number(2)),
            ("Calmar", "calmar", number(2)),
            ("time in the market", "exposure", share),
            ("mean position", "mean_position", number(2)),
            ("largest position", "max_position", count),
            ("largest notional", "max_notional", money),
        ),
    ),
    (
        "round trips",
        (
            ("number", "trades", count),
            ("hit rate", "hit_rate", share),
            ("profit factor", "profit_factor", number(2)),
            ("expectancy", "average_trade", number(2)),
            ("held, mean", "holding_s", duration),
            ("held, median", "holding_median_s", duration),
            ("held, longest", "holding_max_s", duration),
        ),
    ),
    (
        "orders and fills",
        (
            ("orders", "orders", count),
            ("rejected", "rejected", count),
            ("fill ratio", "fill_ratio", share),
            ("ahead at entry", "ahead_at_entry", number(1)),
            ("ahead at fill", "ahead_at_fill", number(1)),
            ("fills", "fills", count),
            ("contracts", "contracts", count),
            ("maker share", "maker_share", share),
            ("turnover", "turnover", money),
        ),
    ),
    (
        "markouts, ticks",
        (
            *((f"maker {at}", f"maker_markout_{h}", number(3)) for at, h in _HORIZONS),
            *((f"taker {at}", f"taker_markout_{h}", number(3)) for at, h in _HORIZONS),
            ("adverse after 1 s", "adverse_1s", share),
            ("adverse after 10 s", "adverse_10s", share),
        ),
    ),
)
"""Blocks of the table: label, column of ``runs``, how it is written."""


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
    rule = "=" * _PAGE
    lines = [rule]
    if any(row["simulated"] for row in rows):
        lines.append("SIMULATED market: the built-in sample, not real trading data")
    lines += [
        *_wrapped("", f"{first['strategy']} on {_all(rows, 'dataset')} {_all(rows, 'symbols')}"),
        f"sessions    {_sessions(rows)}"
        + (", incomplete ones too (--partial)" if settings.get("partial") == "true" else ""),
        *_wrapped("parameters  ", _pairs(params)),
        f"latency     {_latency(settings)}",
        f"fees        schedule {settings['fees']}",
        f"queue       {_queue(rows)}",
    ]
    limits = {key[5:]: value for key, value in settings.items() if key.startswith("risk.")}
    lines += _wrapped("limits      ", _pairs(limits)) if limits else []
    lines += [f"roll        {roll}" for roll in settings.get("rolls", "").split("; ") if roll]
    lines += _skipped(first)
    for currency in sorted({row["currency"] for row in rows}):
        shown = sorted(
            (row for row in rows if row["currency"] == currency),
            key=lambda row: READINGS.index(row["reading"]),
        )
        lines += ["", *_table(shown, currency)]
    lines += ["", "The rest of the market does not react to our orders."]
    if not any(row["fills"] for row in rows):
        lines.append(
            "No order was filled: all were rejected; `reason` of the table `orders` says why."
            if any(row["orders"] for row in rows)
            and all(row["rejected"] == row["orders"] for row in rows)
            else "No order was filled: the signal never asked for a position, or nobody met us."
        )
    sessions = max(row["sessions"] for row in rows)
    if sessions < MIN_SESSIONS:
        lines.append(
            f"Sharpe, Sortino, Calmar need {MIN_SESSIONS} sessions; "
            f"{sessions} {'says' if sessions == 1 else 'say'} little, "
            "whatever the profit."
        )
    lines += _next(run_id, rows, root, asked, program, again)
    lines.append(rule)
    return "\n".join(lines)


def _all(rows: Sequence[Row], column: str) -> str:
    """A list with commas, of all currencies together."""
    return ", ".join(dict.fromkeys(name for row in rows for name in row[column].split(",")))


def _sessions(rows: Sequence[Row]) -> str:
    traded = [row for row in rows if row["first_session"] is not None]
    if not traded:
        return "none"
    first = min(row["first_session"] for row in traded)
    last = max(row["last_session"] for row in traded)
    return f"{max(row['sessions'] for row in traded)}, {first} to {last}"


def _latency(settings: Mapping[str, str]) -> str:
    if "response" not in settings:
        return settings["latency"]  # a table, by its file's name
    text = f"{settings['latency']} to the venue, {settings['response']} back"
    if "feed" in settings:
        text += f", {settings['feed']} of the feed"
    return text + (f"; seed {settings['seed']}" if "seed" in settings else "")


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        label + text, _PAGE, subsequent_indent=" " * len(label), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _pairs(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def _queue(rows: Sequence[Row]) -> str:
    if all(row["queue_model"] == "exact" for row in rows):
        return "exact: the very orders ahead of us, by id"
    return "APPROXIMATE: the match algorithm is not known to be first in first out"


def _skipped(row: Row) -> list[str]:
    skipped = json.loads(row["skipped"])
    sessions: dict[str, set[str]] = {}
    for by_session in skipped.values():
        for session, reason in by_session.items():
            sessions.setdefault(reason, set()).add(session)
    lines: list[str] = []
    for reason, days in sorted(sessions.items()):
        shown = sorted(days)
        if len(shown) > _DAYS:
            shown = [f"{len(shown)} sessions from {shown[0]} to {shown[-1]}"]
        lines += _wrapped("left out    ", f"{', '.join(shown)}: {reason}")
    return lines


def _table(rows: Sequence[Row], currency: str) -> list[str]:
    lines: list[tuple[str, list[str]]] = [(currency, [row["reading"] for row in rows])]
    for title, block in _BLOCKS:
        shown = [line for line in block if any(_worth(row, line[1]) for row in rows)]
        lines += [(title, [])] if shown else []
        lines += [(f"  {label}", [show(row[key]) for row in rows]) for label, key, show in shown]
    width = max(_WIDTH, *(len(value) + 1 for _, values in lines for value in values))
    texts = [
        f"{label:<20}{''.join(f'{value:>{width}}' for value in values)}".rstrip()
        for label, values in lines
    ]
    return [texts[0], "-" * len(texts[0]), *texts[1:]]


def _worth(row: Row, key: str) -> bool:
    """Whether a line says something: it is not null, and no nought that goes without saying."""
    return row[key] is not None and (key not in ("unrealised", "rejected") or bool(row[key]))


def _next(
    run_id: str, rows: Sequence[Row], root: Path, asked: str, program: str, again: str
) -> list[str]:
    lines = ["", f"Run {run_id}; tables: {root}/*/run_id={run_id}"]
    tries = []
    if len({row["reading"] for row in rows}) < len(READINGS):
        tries.append(
            f"{program} backtest {asked} --readings {','.join(READINGS)}{again}"
            "   # what the queue costs"
        )
    tries += [
        f"{program} backtest {asked} --latency 10ms{again}   # how fast one has to be",
        f'{program} sql "pnl_by_hour run={run_id}"   # or pnl_by_session, markouts_by_rule',
        f"{program} describe {asked}   # its rule and its parameters",
    ]
    return [*lines, "Try next:", *(f"  {line}" for line in tries)]
