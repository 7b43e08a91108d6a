"""Measured figures into the pages: ``python -m benchmarks.pages bench.json ...``.

Takes files of ``mbo bench --out``, keeps their reports in ``benchmarks/results.json`` (in the place
of those of the same kind) and writes them as tables into README.md and docs/performance.md, between
lines ``<!-- bench: KIND NUMBER -->`` and ``<!-- end -->``.  Without files the tables are written
anew from what is kept; a test compares.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Figure, Report, Table
from pipeline.roots import ROOT

RESULTS: Final = ROOT / "benchmarks" / "results.json"
PAGES: Final = (ROOT / "README.md", ROOT / "docs" / "performance.md")
_BLOCK: Final = re.compile(r"(<!-- bench: (\w+) (\d+) -->\n).*?(<!-- end -->)", re.DOTALL)


def restored(report: dict[str, Any]) -> str:
    """A stored report as Markdown, with the machine it was measured on."""
    if "rows" in report:
        table = Table(report["title"], report["header"], report["rows"], report["remarks"])
        return table.text()
    figures = [
        Figure(**{k: v for k, v in figure.items() if k not in ("records_per_s", "x_floor")})
        for figure in report["figures"]
    ]
    whole = Report(report["workload"], figures, report["unit"], report["remarks"])
    whole.measured_on = report["machine"]
    return whole.text()


def kept() -> dict[str, list[dict[str, Any]]]:
    """Stored reports by kind."""
    if not RESULTS.is_file():
        return {}
    found: dict[str, list[dict[str, Any]]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def keep(reports: list[dict[str, Any]]) -> None:
    """Put reports in the place of the kept ones of their kinds."""
    everything = kept()
    kinds = dict.fromkeys(report["kind"] for report in reports)
    everything |= {k: [r for r in reports if r["kind"] == k] for k in kinds}
    text = json.dumps(dict(sorted(everything.items())), indent=1, ensure_ascii=False)
    RESULTS.write_text(text + "\n", encoding="utf-8")


def written(page: str) -> str:
    """A page with its tables as the kept reports say."""
    reports = kept()

    def table(block: re.Match[str]) -> str:
        begin, kind, number, end = block.groups()
        return f"{begin}{restored(reports[kind][int(number)])}\n{end}"

    return _BLOCK.sub(table, page)


def main(files: list[str]) -> None:
    """Keep the reports of the files, and write the pages."""
    for file in files:
        keep(json.loads(Path(file).read_text(encoding="utf-8")))
    for path in PAGES:
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
