"""Reference pages made from the declarations: ``python -m pipeline.documentation`` writes them.

A test compares the pages in ``docs/`` with what this module makes, so that they cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from pipeline.columns import Column
from pipeline.roots import ROOT
from pipeline.tables import FEATURE_KEYS, STATIC_TABLES, Table, book_table

if TYPE_CHECKING:
    from features.registry import Family

_KEYS = {
    "date": "`dataset`, `date` (UTC date of the index time), `symbol`",
    "session": "`set`, `dataset`, `session` (trading date), `symbol`",
    "dataset": "`dataset`",
    "root": "`dataset`, `root`",
    "model": "`model`, `dataset`, `session` (trading date), `symbol`",
    "run": "`run_id`, and `dataset`, `symbol` where a run has several",
    "sweep": "`sweep_id`",
    "source": "`dataset`, and the file",
}

_INTRODUCTION = """# Tables

Made from the declarations in the code by `python -m pipeline.documentation`; do not edit.

Every table is plain Parquet below the lake, in hive folders named by its keys, which polars,
DuckDB and pyarrow open as they are: `lake/book/dataset=GLBX.MDP3/date=2025-05-01/symbol=MESM5/`.
Prices are Int64 in units of 1e-9; times are nanoseconds UTC; undefined is null; `event` is the
join key of everything that happens in a book.

Days of more than 500 symbols (`lake.packed_above` in `research.toml`) are packed: all symbols share
the files of `lake/book/dataset=XNAS.ITCH/date=2025-05-01/`, sorted by a column `symbol` that stands
first. `lake.scan`, SQL and every command treat both layouts alike; asked for one symbol they read
its row groups only. A symbol of many rows has row groups of its own, small ones share some, and a
day of very many rows has several files, none of which cuts a symbol. `mbo`, `vendor_*` and the
tables of `mbo book` are packed; features, labels and runs keep a folder a symbol.

In SQL, prices read as exact DECIMAL(18,9) and sizes as BIGINT (see [sql.md](sql.md)).
"""


def all_tables() -> list[Table]:
    """Every table with fixed columns, in the order data flows through them."""
    from pipeline.backtest.tables import TABLES as BACKTEST_TABLES
    from pipeline.models.tables import TABLES as MODEL_TABLES
    from pipeline.sweep.tables import SWEEPS

    early = {t.name: t for t in STATIC_TABLES}
    return [
        early["sources"],
        early["mbo"],
        early["instruments"],
        book_table(),
        early["flow"],
        early["trades"],
        early["consolidated"],
        early["quality"],
        early["order_life"],
        early["queue"],
        early["statistics"],
        early["fits"],
        early["volumes"],
        early["rolls"],
        *MODEL_TABLES,
        *BACKTEST_TABLES,
        SWEEPS,
    ]


def _rows(columns: Iterable[Column]) -> list[str]:
    lines = ["| column | type | unit | null | meaning |", "|---|---|---|---|---|"]
    lines += [
        f"| `{c.name}` | {c.type} | {c.unit} | {'yes' if c.nullable else ''} | {c.description} |"
        for c in columns
    ]
    return lines


def _shown(table: Table) -> tuple[list[Column], str]:
    """Columns to print, and a remark where a family of columns is printed once."""
    if table.name == "book":
        kept = [c for c in table.columns if not c.name[-2:].isdigit() or c.name.endswith("_00")]
        return kept, "Levels `_01` to `_09` follow like `_00` (`book.depth`, 1 to 50)."
    if table.name == "flow":
        kept = [c for c in table.columns if c.name == "event" or c.name.startswith("bid_l1_")]
        return kept, (
            "The same for `bid_l2_10_`, `bid_deep_`, `ask_l1_`, `ask_l2_10_`, `ask_deep_`. Zones "
            "are relative to the side's touch before the event: `l1` at or better than the touch, "
            "`l2_10` down to the tenth level, `deep` beyond. A C or M that an F of the same event "
            "caused counts as `fill` only, up to the F's size. `modify_lose` is the leaving leg of "
            "a modify that loses priority (old price and size), `modify_join` its arriving leg, so "
            "that the size of a side changes by add + modify_join - modify_lose - modify_keep - "
            "cancel - fill."
        )
    return list(table.columns), ""


def tables_page() -> str:
    """``docs/tables.md``."""
    parts = [_INTRODUCTION]
    for table in all_tables():
        columns, remark = _shown(table)
        parts.append(f"## {table.name}\n")
        parts.append(f"One row per {table.row}. Keys: {_KEYS[table.key]}.\n")
        parts.append("\n".join(_rows(columns)) + "\n")
        if remark:
            parts.append(remark + "\n")
    parts.append("## features, labels\n")
    parts.append(
        f"One row per decision point. Keys: {_KEYS['session']}. Then one column a feature "
        "(`mbo list features`), Float32, Float64 or integer as declared; labels begin with `y_` "
        "and come with `t_end`, when the last of a row's is known, and `after_y_...` (Int64), how "
        "many nanoseconds after `ts` each of them is: null where it is null.\n"
    )
    parts.append("\n".join(_rows(FEATURE_KEYS)) + "\n")
    return "\n".join(parts)


_FEATURES = """# Features and labels

Made from the declarations in the code by `python -m pipeline.documentation`; do not edit.

What a feature set of `research.toml` may name: a column (`ofi_10s`), a whole family (`ofi`), a
module (`order_flow`), an id of the catalogue (`F02`), a tier (`tier1`), a tag, or a pattern
(`ofi_*`). `mbo list features` narrows this list down, `mbo describe NAME` says all there is to
say of one, `mbo check NAME` proves on your own data that it knows no future. How to write your
own: [writing-features.md](writing-features.md).

- Columns run over the values shown; other windows, numbers and half-lives of the same form work,
  too: `ofi_7s`, `ofi_n33`, `ofi_h2s`.
- Windows: `10s` holds the events of the last ten seconds, `n50` the last 50 events with a value,
  `h10s` all of the segment with weights that halve every 10 s. None crosses the open, a halt or a
  gap in the data; all are null until they are full (half-lives: after five).
- Undefined is null, never 0. Prices are in ticks unless the unit says otherwise.
- Cost: `row` reads the row alone, `window` takes differences of running sums, `state` keeps more,
  `grid` samples on a fixed grid. `mbo bench features` has the figures.
"""


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _family_rows(families: Iterable[Family]) -> list[str]:
    from pipeline.inventory import bounds, cost_class

    lines = ["| name | values | id | tier | unit | range | cost | meaning | source |"]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for f in families:
        values = "; ".join(", ".join(map(str, p.values)) for p in f.params.values())
        meaning = " ".join(f.doc.split()).replace("|", "\\|")
        cells = [_code(f.template), values, f.catalogue, f.tier, f.unit, bounds(f)]
        lines.append("| " + " | ".join(map(str, [*cells, cost_class(f), meaning, f.source])) + " |")
    return lines


def features_page() -> str:
    """``docs/features.md``."""
    from features.normalise import NORMALISERS
    from features.registry import FEATURES, LABELS, load_built_in

    load_built_in()
    parts = [_FEATURES]
    shipped = [family for family in FEATURES.families() if not family.origin]
    for module in dict.fromkeys(family.family for family in shipped):
        doc = (import_module(f"features.{module}").__doc__ or "").strip()
        parts += [f"## {module}\n", doc.replace("|", "\\|") + "\n"]
        parts.append("\n".join(_family_rows(f for f in shipped if f.family == module)) + "\n")
    parts.append("## Normalisers\n")
    parts.append(
        "Any feature's column takes one, or two one after the other, behind two underscores: "
        "`ofi_10s__z_60s`, `ofi_10s__z_60s__tanh_2`; so do families and patterns. "
        "What is normalised are the values at every event, whatever the clock.\n"
    )
    lines = ["| written | id | meaning |", "|---|---|---|"]
    for one in NORMALISERS:
        written = ", ".join(f"`__{form}`" for form in one.examples)
        meaning = " ".join(one.doc.split()).replace("|", "\\|")
        lines.append(f"| {written} | {one.catalogue} | {meaning} |")
    parts.append("\n".join(lines) + "\n")
    parts.append("## Labels\n")
    parts.append(
        "Labels look forward. They are a table of their own, begin with `y_`, and never become "
        "features; `t_end` says when the last of a row's labels is known, `after_y_...` how many "
        "nanoseconds after the row each of them is.\n"
    )
    parts.append("\n".join(_family_rows(f for f in LABELS.families() if not f.origin)) + "\n")
    return "\n".join(parts)


PAGES = {"docs/tables.md": tables_page, "docs/features.md": features_page}


def main() -> None:
    """Write all generated pages."""
    for name, make in PAGES.items():
        (ROOT / name).write_text(make(), encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
