"""``mbo bench``: the figures in the README, measured here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipeline.cli.common import Invocation
from pipeline.errors import OK, RequestError
from pipeline.roots import ROOT

DEFAULT_RECORDS: Final = {
    "ingest": 5_000_000,
    "book": 20_000_000,
    "features": 2_000_000,
    "backtest": 5_000_000,
    "train": 1_000_000,
    "stages": 5_000_000,
    "scale": 20_000_000,
    "rehearsal": 10_000_000,
}
KINDS: Final = tuple(DEFAULT_RECORDS)
PROFILED: Final = ("ingest", "book", "features", "backtest")
PROFILE_RECORDS: Final = 2_000_000


def bench(
    call: Invocation,
    what: Annotated[
        list[str] | None, typer.Argument(help=f"{', '.join(KINDS)}; all without.")
    ] = None,
    records: Annotated[
        int | None, typer.Option("--records", min=100_000, help="Records of the workload.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Where the time goes, ns a record by part.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for bench.json and bench.md, too.")
    ] = None,
) -> int:
    """Measure speed and memory beside plain decompression and other programs.

    Everything that is compared runs in one go, so that ratios hold on a busy machine too.

    Example: mbo bench book --records 5000000
    """
    if find_spec("benchmarks") is None:
        raise RequestError(f"the folder benchmarks/ is missing; start from the checkout, {ROOT}")
    kinds = PROFILED if profile else KINDS
    for kind in what or ():
        if kind not in kinds:
            where = "--profile" if profile else ""
            raise RequestError.unknown("benchmark", kind, kinds, where=where)
    collected: list[dict[str, Any]] = []
    texts: list[str] = []
    for reports in _profiles(what, records) if profile else _measured(what, records):
        for report in reports:
            collected.append(report.as_dict())
            texts.append(report.text())
            if not call.json:
                print(texts[-1], end="\n\n", flush=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "bench.json").write_text(json.dumps(collected, indent=1) + "\n", encoding="utf-8")
        (out / "bench.md").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    if call.json:
        call.print_json(collected)
    return OK


def _measured(what: Sequence[str] | None, records: int | None) -> Iterator[list[Any]]:
    """The reports of each kind, as they come."""
    for kind in what or KINDS:
        module = import_module(f"benchmarks.{kind}")
        with tempfile.TemporaryDirectory(prefix="mbo-bench-") as folder:
            reports = module.measure(records or DEFAULT_RECORDS[kind], Path(folder))
        for report in reports:
            report.kind = kind
        yield reports


def _profiles(what: Sequence[str] | None, records: int | None) -> Iterator[list[Any]]:
    """Where the time of stages goes."""
    module = import_module("benchmarks.profile")
    with tempfile.TemporaryDirectory(prefix="mbo-bench-") as folder:
        reports = module.measure(records or PROFILE_RECORDS, Path(folder), what or PROFILED)
    for report in reports:
        report.kind = "profile"
    yield reports
