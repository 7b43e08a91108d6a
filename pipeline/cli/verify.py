"""``mbo verify``: rebuilt books against the vendor's own rows."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from pipeline.cli.common import Invocation, Notice
from pipeline.cli.look import text_table
from pipeline.cli.stages import finish, flags_of, load, run_stages
from pipeline.errors import BAD_REQUEST, FAILED, OK, RequestError
from pipeline.stage import Selection

DAYS_BEFORE: Final = timedelta(days=7)


def verify(
    call: Invocation,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders of .dbn or .dbn.zst; default: what the lake holds."),
    ] = None,
    differences: Annotated[
        int, typer.Option("--differences", min=0, help="Differences to show of each comparison.")
    ] = 3,
    sample: Annotated[
        bool, typer.Option("--sample", help="Check everything, on the sample market (2 minutes).")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="With --sample: leave what was made here.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --sample and a key: pay what the data costs.")
    ] = False,
) -> int:
    """Rebuild books from MBO and compare them with the vendor's MBP, trades and bars.

    Without PATH: what the lake holds.  Exit code 3 if anything differs.  --sample takes a small
    market through the whole pipeline instead and checks all that can be checked, from the records
    to the accounts: the raw folder PATH, or with DATABENTO_API_KEY a small session of the
    vendor's (cost first; above 1 USD only with --yes), or the built-in one.

    Examples: mbo verify ~/downloads/GLBX-20250528-84NHYCGUFY --symbols 'ES*'; mbo verify --sample
    """
    if sample or keep or yes:
        return _sample(call, paths or [], keep, sample=sample, yes=yes)
    from pipeline.progress import choose_reporter
    from pipeline.verify.run import verify_lake

    for path in paths or ():
        if not path.exists():
            raise RequestError.missing_path(path)
    with _lake(call, paths or []) as here:
        code = _upstream(here, explicit_raw=bool(paths))
        if call.dry_run:
            return code
        reporter = choose_reporter(quiet=call.quiet, json=call.json)
        report = verify_lake(here.root, here.selection, differences, reporter)
    nothing = report.exit_code == BAD_REQUEST
    if call.json:
        call.print_json(report.as_json())
    elif not call.quiet:
        if report.comparisons:
            print(text_table(*report.table()))
        if not nothing:
            for line in [*report.reasons(), *report.difference_lines()]:
                print(line)
            print(f"\n{report.summary()}")
    for partition, message in report.failed:
        print(f"mbo: verify {partition}: {message}", file=sys.stderr)
    if nothing and not report.failed:
        raise RequestError(report.nothing())
    return FAILED if nothing else report.exit_code or (FAILED if report.failed else code)


def _sample(
    call: Invocation, paths: list[Path], keep: Path | None, *, sample: bool, yes: bool
) -> int:
    """The self-check."""
    from pipeline.download.vendor import KEY_VARIABLE
    from pipeline.selfcheck.fetching import described, fetch_sample, sample_request
    from pipeline.selfcheck.run import SelfCheck

    if not sample:
        raise RequestError("--keep and --yes belong to --sample")
    if len(paths) > 1:
        raise RequestError("--sample takes one raw folder, or none for the sample market")
    if paths and not paths[0].is_dir():
        raise RequestError.missing_path(paths[0])
    if call.selection != Selection():
        raise RequestError("--sample checks a whole folder: leave out the selection")
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise RequestError(f"--keep {keep}: the folder is not empty; name another")

    def tell(what: str) -> None:
        if not (call.quiet or call.json):
            print(f"verify: {what}", file=sys.stderr)

    with contextlib.ExitStack() as stack:
        folder = keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="mbo-verify-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        raw, about = (paths[0].resolve() if paths else None), ""
        if raw is None and os.environ.get(KEY_VARIABLE, "").strip():
            raw = fetch_sample(folder.resolve(), call.settings, tell, yes=yes)
            about = described(sample_request())
        check = SelfCheck(folder.resolve(), raw, tell, workers=call.workers)
        check.evidence.about = about or check.evidence.about
        found = check.run()
    if call.json:
        call.print_json(found.as_json())
    elif not call.quiet:
        if found.simulated:
            print("SIMULATED market: the built-in sample, not real trading data")
        print(f"{found.about}\n")
        print(text_table(*found.table()))
        print(f"\n{found.summary()}")
    return found.exit_code


@contextlib.contextmanager
def _lake(call: Invocation, paths: list[Path]) -> Iterator[Invocation]:
    """The lake to look at: the user's, or one made of the paths, which goes afterwards."""
    if not paths:
        yield call
        return
    with tempfile.TemporaryDirectory(prefix="mbo-verify-") as folder:
        settings = call.settings.with_values(
            raw={"paths": tuple(str(path) for path in paths)},
            lake={"path": folder},
            # Every level the vendor may show is stored, and so compared too.
            book={"depth": 10, "materialise": "full", "flow": False},
        )
        yield replace(call, settings=settings, lake=Path(folder), notice=Notice())


def _upstream(call: Invocation, *, explicit_raw: bool) -> int:
    """Ingest what is there, and books where there is MBO."""
    from pipeline.catalog import LakeCatalog

    everything = replace(call, json=False)
    if explicit_raw and call.selection.start:
        # A book may go on from the days before; a week reaches back to the last opening.
        start = call.selection.start - DAYS_BEFORE
        everything = replace(everything, selection=replace(call.selection, start=start))
    stages = load(["ingest", "instruments"], call.settings, explicit_raw=explicit_raw)
    # What files of paths do not have is told in the words of the request, not of a passing lake.
    summaries = run_stages(everything, stages, first=not explicit_raw)
    code = finish(everything, summaries)
    if explicit_raw and call.selection != Selection() and not summaries[-1].tasks and code == OK:
        raise RequestError(f"nothing in the files given matches {flags_of(call.selection)}")
    mbo = LakeCatalog(call.root).partitions("mbo")
    if any(everything.selection.admits(item.partition) for item in mbo):
        stages = load(["book"], call.settings, explicit_raw=True)
        code = max(code, finish(everything, run_stages(everything, stages)))
    return code
