"""``mbo bench``: the figures in the README, measured here."""

from __future__ import annotations

import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from pipeline.cli.common import Invocation
from pipeline.errors import OK, RequestError
from pipeline.roots import ROOT

DEFAULT_RECORDS: Final = {
    "ingest": 5_000_000,
    "book": 20_000_000,
    "features": 2_000_000,
    "backtest": 5_000_000,
    "stages": 5_000_000,
}
KINDS: Final = tuple(DEFAULT_RECORDS)


def bench(
    call: Invocation,
    what: Annotated[
        list[str] | None, typer.Argument(help=f"{', '.join(KINDS)}; all without.")
    ] = None,
    records: Annotated[
        int | None, typer.Option("--records", min=100_000, help="Records of the workload.")
    ] = None,
) -> int:
    """Measure speed and memory beside plain decompression and other programs.

    Everything that is compared runs in one go, so that ratios hold on a busy machine too.

    Example: mbo bench book --records 5000000
    """
    for kind in what or ():
        if kind not in KINDS:
            raise RequestError.unknown("benchmark", kind, KINDS)
    if find_spec("benchmarks") is None:
        raise RequestError(f"the folder benchmarks/ is missing; start from the checkout, {ROOT}")
    collected = []
    for kind in what or KINDS:
        module = import_module(f"benchmarks.{kind}")
        with tempfile.TemporaryDirectory(prefix="mbo-bench-") as folder:
            reports = module.measure(records or DEFAULT_RECORDS[kind], Path(folder))
        for report in reports:
            collected.append(report.as_dict())
            if not call.json:
                print(report.text(), end="\n\n", flush=True)
    if call.json:
        call.print_json(collected)
    return OK
