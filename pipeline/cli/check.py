"""``mbo check``: do features know the future, and are they what they say?"""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.common import Invocation
from pipeline.cli.look import text_table
from pipeline.errors import RequestError

ROWS = 20_000


def check(
    call: Invocation,
    features: Annotated[
        list[str] | None,
        typer.Argument(help="Features, families, tags or patterns; default: those of the set."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every feature, over its whole grid.")
    ] = False,
    set_: Annotated[
        str | None, typer.Option("--set", help="Set whose features and clock are meant.")
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", min=100, max=5_000_000, help="Rows of the session to use.")
    ] = ROWS,
) -> int:
    """Check features on the newest session: causality, range, nulls, warm-up, cost.

    Rows are cut off, and replaced by another future: what was known before must not change, to
    the bit.  Exit code 3 if a feature fails; labels always do.

    Example: mbo check ofi_10s my_feature --symbols ESM5
    """
    from features.clocks import make_clock
    from features.kernels import compile_kernels
    from pipeline.checking import check_lake, wanted_columns
    from pipeline.fitting import chosen_set
    from pipeline.lake import open_lake

    if everything and features:
        raise RequestError("name features or say --all, not both")
    settings = call.settings.with_values(features={"set": set_})
    columns = wanted_columns(features or [], settings, everything=everything)
    clock = chosen_set(settings).columns.clock if set_ or not features else "event"
    make_clock(clock)
    compile_kernels()
    reports = []
    for report in check_lake(open_lake(call.root), settings, call.selection, columns, rows, clock):
        reports.append(report)
        if call.json or call.quiet:
            continue
        print(text_table(*report.table()))
        for line in report.problems():
            print(line)
        print(report.summary(), flush=True)
    if call.json:
        call.print_json([report.as_json() for report in reports])
    return max(report.exit_code for report in reports)
