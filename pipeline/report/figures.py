"""The tables of the page: figures, parts of a run, parameters, what it was made from; as HTML.

Which figures there are, their units and what they mean is read off the tables' declarations, so
that a new column of ``runs`` appears by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.backtest.summary import NONE, money
from pipeline.backtest.tables import BREAKDOWNS, RUNS
from pipeline.columns import Column
from pipeline.report.curves import Drawn
from pipeline.report.markup import MOST_ROWS, details, esc, label, shown, signed, table
from pipeline.report.origin import Origin

_GROUPS: Final = {
    "net": "Profit",
    "max_drawdown": "Risk",
    "orders": "Orders and fills",
    "trades": "Round trips",
    "markout_100ms": "Markouts",
}
"""The figure each group begins with, in the order of ``runs``."""

_COMPARED: Final = (
    "net", "gross", "fees", "max_drawdown", "sharpe", "fills", "maker_share", "trades",
    "hit_rate", "profit_factor", "markout_1s",
)  # fmt: skip
"""Figures of runs side by side; the rest is below."""

SPLIT_TITLES: Final = {
    "session": "By session",
    "hour": "By hour of the exchange\u2019s day",
    "symbol": "By symbol",
    "direction": "Long and short",
    "side": "Bought and sold",
    "role": "By role",
}

Row = Mapping[str, Any]


def figure_columns() -> list[Column]:
    """Columns of ``runs`` that are figures: from the first one of profit on."""
    names = [column.name for column in RUNS.columns]
    return list(RUNS.columns[names.index("net") :])


def heading(drawn: Drawn, row: Row, *, several: bool) -> str:
    """Head of a run's column: which run where there are several, and which reading."""
    name = f"<span class=run>{esc(run_label(drawn))}</span>" if several else ""
    return f"{name}<span class=reading>{esc(row['reading'])}</span>"


def run_label(drawn: Drawn) -> str:
    return f"{drawn.rows[0]['strategy']} {drawn.run.run_id[:8]}"


def figures_tables(runs: Sequence[Drawn]) -> str:
    """All figures, a column a run and reading, a table a currency."""
    several = len(runs) > 1
    parts = []
    for currency in currencies(runs):
        rows = [(d, row) for d in runs for row in d.rows if row["currency"] == currency]
        body: list[str] = []
        for column in figure_columns():
            if column.name in _GROUPS:
                title = esc(_GROUPS[column.name])
                body.append(
                    f'<tr class=group><th scope="rowgroup" colspan="{len(rows) + 1}">'
                    f"<span>{title}</span></th></tr>"
                )
            cells = "".join(
                f'<td data-figure="{column.name}">{shown(column, row.get(column.name))}</td>'
                for _, row in rows
            )
            body.append(
                f'<tr><th scope="row" title="{esc(column.description)}">{label(column)}'
                f"<small>{esc(column.description)}</small></th>{cells}</tr>"
            )
        heads = "".join(
            f'<th scope="col">{heading(d, row, several=several)}</th>' for d, row in rows
        )
        parts.append(
            f'<div class="scroll" tabindex="0" role="region" aria-label="Figures, {esc(currency)}">'
            f'<table class="figures" data-currency="{esc(currency)}"><caption><span>Money in '
            f"{esc(currency)}</span></caption><thead><tr><th></th>{heads}</tr></thead>"
            f"<tbody>{''.join(body)}</tbody></table></div>"
        )
    return "".join(parts)


def currencies(runs: Sequence[Drawn]) -> list[str]:
    return sorted({row["currency"] for drawn in runs for row in drawn.rows})


def compare_table(runs: Sequence[Drawn]) -> str:
    """Runs one below the other, each in its primary reading, with the parameters that differ."""
    rows = facts_of(runs)
    differ = [key for key, values in rows.items() if key[0] and len(set(values)) > 1]
    # Where nearly everything differs, what came of it is to be seen first.
    before, after = (differ, []) if len(differ) <= 4 else ([], differ)
    columns = [column for column in figure_columns() if column.name in _COMPARED]
    parts = []
    for currency in currencies(runs):
        body = [
            [
                f'<i class=swatch data-run="{number_}"></i>{esc(run_label(drawn))}',
                *(esc(rows[key][number_] or NONE) for key in before),
                *(shown(column, row.get(column.name)) for column in columns),
                *(esc(rows[key][number_] or NONE) for key in after),
            ]
            for number_, drawn in enumerate(runs)
            for row in drawn.rows
            if row["reading"] == drawn.primary and row["currency"] == currency
        ]
        heads = [esc(name) for _, name in before]
        heads += [f'<span title="{esc(c.description)}">{label(c)}</span>' for c in columns]
        heads += [esc(name) for _, name in after]
        reading = ", ".join(dict.fromkeys(drawn.primary for drawn in runs))
        caption = f"Runs compared, {reading} reading, money in {currency}"
        parts.append(table(["run", *heads], body, caption=esc(caption), classes="compare"))
    return "".join(parts)


def split_table(drawn: Drawn, split: str, rows: Sequence[Row]) -> str:
    """One way of taking a run apart, of its primary reading: a table a currency."""
    keys = ("reading", "currency", "split", "part", "zone", "rank")
    columns = [column for column in BREAKDOWNS.columns if column.name not in keys]
    parts = []
    for currency in currencies([drawn]):
        own = [r for r in rows if r["reading"] == drawn.primary and r["currency"] == currency]
        known = [c for c in columns if any(r.get(c.name) is not None for r in own)]
        zones = {row["zone"] for row in own}
        body = [
            [
                esc(part_label(split, row, zone=len(zones) > 1)),
                *(f'<span data-figure="{c.name}">{shown(c, row[c.name])}</span>' for c in known),
            ]
            for row in own
        ]
        one_zone = f" ({own[0]['zone']})" if split == "hour" and len(zones) == 1 else ""
        caption = f"{SPLIT_TITLES[split]}{one_zone}, {drawn.primary} reading, {currency}"
        heads = ["", *(f'<span title="{esc(c.description)}">{label(c)}</span>' for c in known)]
        parts.append(table(heads, body, caption=esc(caption), classes="split"))
    return "".join(parts)


def part_label(split: str, row: Row, *, zone: bool = False) -> str:
    """A part as people read it; hours with their time zone where there are several."""
    part = str(row["part"])
    if split == "hour":
        following = (int(part) + 1) % 24
        return f"{part}:00\u2013{following:02d}:00" + (f" {row['zone']}" if zone else "")
    return {"B": "bought", "A": "sold"}.get(part, part) if split == "side" else part


def settings_tables(runs: Sequence[Drawn]) -> str:
    """Parameters and settings of all runs side by side, those that differ first."""
    rows = facts_of(runs)
    different = [key for key, values in rows.items() if len(set(values)) > 1]
    same = [key for key in rows if key not in different]

    def body(keys: Sequence[tuple[str, str]]) -> list[list[str]]:
        return [
            [
                f"{esc(name)}{f'<small>{kind}</small>' if kind else ''}",
                *(NONE if v is None else esc(v) for v in rows[kind, name]),
            ]
            for kind, name in keys
        ]

    heads = ["", *(esc(run_label(drawn)) for drawn in runs)]
    if len(runs) == 1:
        return table(["", ""], body(same), caption="Parameters and settings", classes="facts")
    parts = [table(heads, body(same), caption="What is the same", classes="facts")]
    if different:
        parts.insert(0, table(heads, body(different), caption="What differs", classes="facts"))
    return "".join(parts)


def facts_of(runs: Sequence[Drawn]) -> dict[tuple[str, str], list[str | None]]:
    """What each run was given, by kind (parameter, setting or neither) and name."""
    rows: dict[tuple[str, str], list[str | None]] = {}
    for number_, drawn in enumerate(runs):
        row = drawn.rows[0]
        facts = {
            ("", "strategy"): row["strategy"],
            ("", "dataset"): row["dataset"],
            ("", "symbols"): row["symbols"].replace(",", ", "),
            ("", "capital"): signed(money(row["capital"])),
            ("", "queue model"): row["queue_model"],
            ("", "source"): row["source"][:16],
            **{("parameter", k): v for k, v in json.loads(row["params"]).items()},
            **{("setting", k): v for k, v in json.loads(row["settings"]).items()},
        }
        for key, value in facts.items():
            rows.setdefault(key, [None] * len(runs))[number_] = str(value)
    return rows


def origin_section(drawn: Drawn, origin: Origin) -> str:
    """What a run was made from."""
    row = drawn.rows[0]
    stale = "".join(
        f"<p class=warn>{esc(what)} has changed since: this run is stale.</p>"
        for what in origin.changed[:10]
    )
    facts = [
        ["run", f"<code>{esc(drawn.run.run_id)}</code>"],
        ["strategy source, sha256", f"<code>{esc(row['source'])}</code>"],
        *([esc(task.partition(":")[0]), f"<code>{esc(task.partition(': ')[2])}</code>"]
          for task in origin.tasks),
    ]  # fmt: skip
    inputs = [
        [esc(name), esc(key), f"<code>{esc(content or 'absent')}</code>"]
        for name, key, content in origin.inputs[:MOST_ROWS]
    ]
    raw = [[esc(name), f"<code>{esc(sha256)}</code>"] for name, sha256 in origin.raw[:MOST_ROWS]]
    return (
        f"<h3>{esc(run_label(drawn))}</h3>{stale}"
        + table(["", ""], facts, caption="Identity", classes="facts")
        + details(
            f"{len(origin.inputs):,} inputs and their content hashes",
            table(["table", "partition", "content"], inputs, caption="Inputs", classes="facts"),
            len(origin.inputs),
        )
        + details(
            f"{len(origin.raw):,} raw files",
            table(["file", "sha256"], raw, caption="Raw files", classes="facts"),
            len(origin.raw),
        )
    )


def skipped_lines(row: Row) -> list[str]:
    """Sessions left out, by reason."""
    sessions: dict[str, set[str]] = {}
    for by_session in json.loads(row["skipped"]).values():
        for session, reason in by_session.items():
            sessions.setdefault(reason, set()).add(session)
    return [
        f"left out {', '.join(sorted(days)[:8])}"
        + (f" and {len(days) - 8:,} more" if len(days) > 8 else "")
        + f": {reason}"
        for reason, days in sorted(sessions.items())
    ]
