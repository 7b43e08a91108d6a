"""Commands that look around and tidy: status, lineage, list, describe, gc."""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.common import Invocation
from pipeline.errors import OK, RequestError
from pipeline.instants import format_count
from pipeline.stage import Stored


def text_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Aligned columns: numbers to the right, text to the left, null as a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        all(_is_number(row[i]) for row in cells) if cells else False for i in range(len(header))
    ]
    widths = [max(len(r[i]) for r in [list(header), *cells]) for i in range(len(header))]
    lines = []
    for row in [list(header), *cells]:
        parts = [
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "").lstrip("-").isdigit()


def status(call: Invocation) -> int:
    """What the lake holds, and what of it is incomplete, refused, changed or orphaned.

    Example: mbo status --symbols 'ES*'
    """
    from pipeline.cli.stages import check_matches
    from pipeline.gates import Gates
    from pipeline.lake import open_lake
    from pipeline.lineage import orphans, raw_changes, strays
    from pipeline.progress import human_bytes

    catalog = open_lake(call.root).catalog
    check_matches(call.selection, catalog)
    gates = Gates(catalog, call.settings)
    refused = gates.refusals(call.selection)
    rows = []
    incomplete = []
    for table in catalog.tables():
        stored = [s for s in catalog.partitions(table) if call.selection.admits(s.partition)]
        if not stored:
            continue
        days = sorted(
            d for s in stored if (d := s.partition.get("date") or s.partition.get("session"))
        )
        symbols = {s.partition.get("symbol") for s in stored} - {None}
        rows.append(
            (
                table,
                len(stored),
                days[0] if days else None,
                days[-1] if days else None,
                len(symbols) or None,
                sum(s.rows for s in stored),
                human_bytes(sum(s.bytes for s in stored)),
            )
        )
        incomplete += [s for s in stored if s.notes.get("complete") is False]
    conditions = _conditions(
        item for item in catalog.partitions("mbo") if call.selection.admits(item.partition)
    )
    changed = raw_changes(catalog, call.selection)
    lost = [(f"{c.stage} {c.partition}", why) for c, why in orphans(catalog)]
    stray = [str(path.relative_to(catalog.root)) for path in strays(catalog)]
    header = ("table", "partitions", "first", "last", "symbols", "rows", "size")
    if call.json:
        call.print_json(
            {
                "lake": str(call.root),
                "tables": [dict(zip(header, row, strict=True)) for row in rows],
                "incomplete": [f"{s.table} {s.partition}" for s in incomplete],
                "conditions": conditions,
                "gates": gates.active,
                "refused": [item.as_json() for item in refused],
                "raw_changes": [{"file": name, "change": what} for name, what in changed],
                "orphans": [{"partition": name, "reason": why} for name, why in lost],
                "strays": stray,
            }
        )
        return OK
    print(f"lake {call.root}")
    print(text_table(header, rows))
    _some(
        "incomplete session",
        "(a neighbouring day is missing)",
        [f"{s.table} {s.partition}" for s in incomplete],
    )
    for condition, days in conditions.items():
        _some("day", f"the vendor calls {condition} (quality.refuse_conditions)", days)
    _some(
        "day",
        "refused by [quality]: features and backtest leave out the sessions",
        [str(item) for item in refused],
        most=20,
    )
    _some(
        "raw file",
        "not what was read: what was made of that is still here",
        [f"{name} {what}" for name, what in changed],
    )
    _some("orphan", "(`mbo gc` removes it)", [f"{name}: {why}" for name, why in lost])
    _some("file", "no record owns (`mbo gc` removes it)", stray)
    return OK


def _conditions(items: Iterable[Stored]) -> dict[str, list[str]]:
    """The vendor's word on days, where it is not `available` -> those days by dataset."""
    found: dict[str, set[str]] = defaultdict(set)
    for item in items:
        condition = item.notes.get("condition")
        if condition not in (None, "available"):
            found[condition].add(f"{item.partition['dataset']} {item.partition['date']}")
    return {condition: sorted(days) for condition, days in sorted(found.items())}


def _some(noun: str, rest: str, lines: Sequence[str], most: int = 5) -> None:
    if lines:
        print(f"\n{format_count(len(lines), noun)} {rest}")
        for line in lines[:most]:
            print(f"  {line}")
        if len(lines) > most:
            print(f"  ... and {len(lines) - most} more")


def lineage(
    call: Invocation,
    path: Annotated[Path, typer.Argument(help="A file or folder of the lake.")],
) -> int:
    """Where a file of the lake came from: stages, parameters, inputs, raw files.

    Example: mbo lineage data/lake/book/dataset=GLBX.MDP3/date=2025-05-01/symbol=MESM5
    """
    from pipeline.lake import open_lake
    from pipeline.lineage import find_partition, lake_of, render, trace

    catalog = open_lake(lake_of(path) or call.root).catalog
    node = trace(catalog, *find_partition(catalog, path))
    if call.json:
        call.print_json(node.as_json())
    else:
        print("\n".join(render(node)))
    return OK


KINDS = ("features", "labels", "strategies", "tables", "models", "runs", "sweeps", "queries")


def list_(
    call: Invocation,
    kind: Annotated[
        str,
        typer.Argument(help="features, labels, strategies, tables, models, runs, sweeps, queries."),
    ],
    words: Annotated[
        list[str] | None,
        typer.Argument(help="Features: of these families, tags, tiers, ids or patterns only."),
    ] = None,
    cost: Annotated[
        str | None, typer.Option("--cost", help="Features: row, window, state or grid only.")
    ] = None,
) -> int:
    """List features, labels, strategies, tables, models, runs, sweeps or named queries.

    Example: mbo list features tier1 --cost row
    """
    if kind not in KINDS:
        raise RequestError.unknown("kind", kind, KINDS, where="mbo list")
    from pipeline import inventory

    header, rows = inventory.listing(kind, call.settings, call.root, words or (), cost or "")
    if call.json:
        call.print_json([dict(zip(header, row, strict=True)) for row in rows])
    else:
        print(fitting(text_table(header, rows)))
    return OK


def fitting(text: str) -> str:
    """Lines no longer than the terminal is wide; as they are where there is none."""
    if not sys.stdout.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = text.splitlines()
    return "\n".join(s if len(s) <= width else s[: width - 1] + "\u2026" for s in lines)


def describe(
    call: Invocation,
    name: Annotated[
        str, typer.Argument(help="A feature, label, strategy, table, model, run or query.")
    ],
) -> int:
    """Describe a feature, label, strategy, table, model, run or named query.

    Example: mbo describe ofi_10s
    """
    from pipeline import inventory

    found = inventory.describe(name, call.settings, call.root)
    if call.json:
        call.print_json(found.as_json())
    else:
        print(found.text())
    return OK


def gc(
    call: Invocation,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> int:
    """Remove what has lost its origin: orphans of vanished raw files, files nobody owns.

    Example: mbo gc --dry-run
    """
    from pipeline.catalog import LakeCatalog
    from pipeline.lake import open_lake
    from pipeline.lineage import orphans, strays
    from pipeline.progress import human_bytes
    from pipeline.storage import lake_lock

    open_lake(call.root)
    with lake_lock(call.root):
        catalog = LakeCatalog(call.root)
        lost, stray = orphans(catalog), strays(catalog)
        sizes: dict[Path, int] = defaultdict(int)
        for commit, _ in lost:
            for file, size in commit.files().items():
                sizes[catalog.root / file] = size
        for path in stray:
            sizes[path] = path.stat().st_size
        total = human_bytes(sum(sizes.values()))
        result = {
            "orphans": [{"partition": f"{c.stage} {c.partition}", "reason": w} for c, w in lost],
            "files": [str(path.relative_to(catalog.root)) for path in sorted(sizes)],
            "bytes": sum(sizes.values()),
            "removed": False,
        }
        if not call.json:
            _some("orphan", "", [f"{c.stage} {c.partition}: {why}" for c, why in lost], most=20)
            print(f"{format_count(len(sizes), 'file')}, {total}")
        if sizes and not call.dry_run and (yes or (not call.json and _confirmed(total))):
            for commit, _ in lost:
                commit.path.unlink(missing_ok=True)
            for path in sizes:
                path.unlink(missing_ok=True)
            _remove_empty_folders(catalog.root)
            result["removed"] = True
            if not call.json:
                print("removed")
    if call.json:
        call.print_json(result)
    return OK


def _confirmed(total: str) -> bool:

    if not sys.stdin.isatty():
        print("nothing removed: say --yes to remove without asking")
        return False
    return typer.confirm(f"Remove {total}?")


def _remove_empty_folders(root: Path) -> None:
    for folder in sorted((p for p in root.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
