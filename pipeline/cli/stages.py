"""Commands that make tables: sample, ingest, book, features, backtest; and doctor."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import Invocation, program
from pipeline.config import Settings
from pipeline.errors import FAILED, OK, RequestError
from pipeline.instants import format_count
from pipeline.runner import run_stage
from pipeline.schedule import RunOptions, StageSummary
from pipeline.stage import Catalog, Selection, Stage

Paths = Annotated[
    list[Path] | None,
    typer.Argument(help="Files or folders of .dbn or .dbn.zst; default: raw.path, data/raw."),
]


def run_stages(
    call: Invocation,
    stages: Sequence[Stage],
    settings: Settings | None = None,
    *,
    first: bool = True,
    peers: Sequence[str] = (),
) -> list[StageSummary]:
    """Run stages one after the other on the call's lake, holding its lock.

    ``peers`` are symbols that stages by UTC date work on besides those selected.
    ``first``: these are the command's first stages, which tell of raw files that have changed.
    """
    from pipeline.catalog import LakeCatalog
    from pipeline.lineage import raw_changes
    from pipeline.progress import choose_reporter
    from pipeline.storage import lake_lock

    reporter = choose_reporter(quiet=call.quiet, json=call.json)
    options = RunOptions(call.workers, call.force, call.dry_run)
    summaries = []
    with lake_lock(call.root):
        catalog = LakeCatalog(call.root)
        for stage in stages:
            selection = call.selection
            if selection.symbols and peers and stage.name in ("ingest", "book", "rolls"):
                selection = replace(selection, symbols=",".join([selection.symbols, *peers]))
            summary = run_stage(
                stage, catalog, settings or call.settings, selection, options, reporter
            )
            summaries.append(summary)
            if call.debug:
                for detail in summary.details:
                    print(detail, file=sys.stderr)
        if summaries and first:
            summaries[0].raw_changes = raw_changes(catalog, call.selection)
        if summaries and first and not summaries[-1].tasks:
            if summaries[-1].refused:
                raise RequestError(_all_refused(summaries[-1]))
            if call.selection != Selection():
                raise RequestError(_nothing_matches(call.selection, catalog))
    return summaries


def flags_of(selection: Selection) -> str:
    """A selection as it is typed: ``--symbols ES* --start 2025-05-01``."""
    words = {
        "--dataset": selection.dataset,
        "--symbols": selection.symbols,
        "--start": selection.start,
        "--end": selection.end,
    }
    return " ".join(f"{name} {value}" for name, value in words.items() if value is not None)


def _nothing_matches(selection: Selection, catalog: Catalog) -> str:
    asked = flags_of(selection)
    stored = catalog.partitions("mbo")
    symbols = sorted({item.partition["symbol"] for item in stored})
    days = sorted({item.partition["date"] for item in stored})
    if not days:
        return f"nothing matches {asked}: {catalog.root} holds no mbo yet"
    shown = ", ".join(symbols[:8]) + (", ..." if len(symbols) > 8 else "")
    return f"nothing matches {asked}; {catalog.root} holds {shown} of {days[0]} to {days[-1]}"


def check_matches(selection: Selection, catalog: Catalog) -> None:
    """A selection that fits nothing of a lake is a wrong request, as it is for stages.

    Raises
    ------
    RequestError
        With what the lake holds.
    """
    if selection == Selection():
        return
    for table in catalog.tables():
        for stored in catalog.partitions(table):
            part = stored.partition
            # Tables that are not kept by symbol or by day say nothing about them.
            told = part.get("symbol") or not selection.symbols
            dated = part.get("date") or part.get("session")
            told = told and (dated or not (selection.start or selection.end))
            if part.get("dataset") and told and selection.admits(part):
                return
    raise RequestError(_nothing_matches(selection, catalog))


def _all_refused(summary: StageSummary) -> str:
    name, reason = summary.refused[0]
    more = f" (and {len(summary.refused) - 1:,} more)" if len(summary.refused) > 1 else ""
    return f"{summary.stage}: nothing is left to do: {name}{more}: {reason}"


def finish(call: Invocation, summaries: Sequence[StageSummary]) -> int:
    """Print the closing summary; returns the exit code.

    Failures have been told as they happened, and each stage's line counts them.
    """
    if call.json:
        call.print_json({"stages": [summary.as_json() for summary in summaries]})
    elif not call.quiet:
        blocked = sum(len(s.blocked) for s in summaries)
        if call.dry_run:
            for summary in summaries:
                for name in summary.planned:
                    print(f"would run {summary.stage} {name}")
        for summary in summaries:
            _print_refused(summary)
            _print_changed(summary)
        if blocked:
            first = next(item for s in summaries for item in s.blocked)
            print(f"{blocked} could not run, for example {first[0]}: {first[1]}", file=sys.stderr)
    return max((summary.exit_code for summary in summaries), default=OK)


def _print_refused(summary: StageSummary, most: int = 5) -> None:
    """What the settings left out; asked for, so no failure, but never silent."""
    for name, reason in summary.refused[:most]:
        print(f"{summary.stage} leaves out {name}: {reason}", file=sys.stderr)
    if len(summary.refused) > most:
        rest = len(summary.refused) - most
        print(f"{summary.stage} leaves out {rest:,} more; `mbo status` has them", file=sys.stderr)


def _print_changed(summary: StageSummary) -> None:
    """Results that look up to date may be of raw files that are no longer there."""
    if summary.raw_changes:
        name, change = summary.raw_changes[0]
        more = len(summary.raw_changes) - 1
        others = f" (and {format_count(more, 'more raw file')})" if more else ""
        print(
            f"{name} {change}{others}; what was made from it earlier is still in the lake: "
            "`mbo status` names all",
            file=sys.stderr,
        )


def load(names: Sequence[str], settings: Settings, *, explicit_raw: bool) -> list[Stage]:
    """The named stages; ingest only where there are raw files or they were asked for."""
    from pipeline.server import start_server
    from pipeline.stages import load_stage, stage_module

    wanted = list(names)
    if not explicit_raw and not any(root.exists() for root in settings.raw.roots):
        wanted = [name for name in wanted if name != "ingest"]
    if settings.run.workers > 1:
        # Workers were asked for: the server imports beside us.  Where nobody asked it waits for
        # a stage that has more than one task.
        start_server([stage_module(name) for name in wanted])
    return [load_stage(name) for name in wanted]


def sample(
    call: Invocation,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; default: data/sample/raw.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=13, help="Trading sessions.")
    ] = None,
    records: Annotated[
        int | None, typer.Option("--records", min=1000, help="Records a session.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Same seed, same bytes.")] = None,
    null: Annotated[
        bool, typer.Option("--null", help="Flow that does not depend on the book.")
    ] = False,
) -> int:
    """Write the simulated sample market, a genuine batch folder.

    Example: mbo sample --days 5 --records 500000 --out /tmp/sample
    """
    from pipeline.sample import SampleOptions, write_sample
    from pipeline.sample.instruments import INSTRUMENTS

    section = call.settings.sample
    known = [one.symbol for one in INSTRUMENTS]
    chosen = [symbol for symbol in known if call.selection.admits_symbol(symbol)]
    if not chosen:
        raise RequestError.unknown("symbol", str(call.selection.symbols), known)
    options = SampleOptions(
        out=out or Path(section.raw),
        days=days or section.days,
        symbols=chosen,
        records=records or section.records,
        seed=section.seed if seed is None else seed,
        null=null,
    )
    if call.dry_run:
        if call.json:
            call.print_json({"folder": str(options.out), "sessions": options.days})
        elif not call.quiet:
            sessions = format_count(options.days, "session")
            print(f"would write {sessions} of {', '.join(chosen)} to {options.out}")
        return OK
    say = None if call.quiet or call.json else _say
    summary = write_sample(options, say)
    if call.json:
        call.print_json(summary.as_json())
    elif not call.quiet:
        print(summary)
    return OK


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def doctor(call: Invocation, paths: Paths = None) -> int:
    """Show what a raw folder holds, before anything is written.

    Example: mbo doctor ~/downloads/GLBX-20250528-84NHYCGUFY
    """
    from pipeline.ingest.doctor import examine, render

    roots = tuple(paths) if paths else call.settings.raw.roots
    if not paths:
        call.notice.tell()
    report = examine(roots, call.settings)
    if call.json:
        call.print_json(report.as_json())
    else:
        print(render(report))
    return FAILED if report.refused else OK


def ingest(
    call: Invocation,
    paths: Paths = None,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every file's hash anew.")] = False,
    retick: Annotated[
        bool, typer.Option("--retick", help="Accept a smaller tick than the pinned one.")
    ] = False,
) -> int:
    """Turn DBN files into partitioned Parquet, row for row.

    Example: mbo ingest ~/downloads/GLBX-20250528-84NHYCGUFY --workers 4
    """
    for path in paths or ():
        if not path.exists():
            raise RequestError.missing_path(path)
    settings = call.settings.with_values(
        raw={
            "paths": tuple(str(p) for p in paths) if paths else None,
            "rehash": rehash or None,
            "retick": retick or None,
        }
    )
    if not paths and not any(root.exists() for root in settings.raw.roots):
        raise RequestError(
            f"{settings.raw.path}: no such folder; put Databento files there, name their "
            "folder, or run `mbo sample` for a simulated market"
        )
    stages = load(["ingest", "instruments"], settings, explicit_raw=True)
    return finish(call, run_stages(call, stages, settings))


def book(
    call: Invocation,
    order_life: Annotated[
        bool, typer.Option("--order-life", help="Write a row per resting order, too.")
    ] = False,
    queue: Annotated[
        bool, typer.Option("--queue", help="Write what single orders tell beside each row, too.")
    ] = False,
) -> int:
    """Rebuild books, flow, trades and quality from MBO records.

    Example: mbo book --symbols 'ES*' --start 2025-05-01 --end 2025-05-09
    """
    settings = call.settings.with_values(
        book={"order_life": order_life or None, "queue": queue or None}
    )
    names = ["ingest", "instruments", "book"]
    names += [name for name in ("order_life", "queue") if getattr(settings.book, name)]
    stages = load(names, settings, explicit_raw=False)
    return finish(call, run_stages(call, stages, settings))


def feature_stages(settings: Settings) -> list[str]:
    """What `mbo features` runs; past sessions are summed up only where the set asks for it."""
    from pipeline.fitting import chosen_set

    fitted = bool(chosen_set(settings).columns.components)
    between = ["queue"] if settings.book.queue else []
    between += ["rolls", *(["statistics", "fits"] if fitted else [])]
    return ["ingest", "instruments", "book", *between, "features"]


def stages_before(settings: Settings, *, reads_features: bool) -> list[Stage]:
    """What a backtest needs done: features only where the strategy reads any."""
    names = ["ingest", "instruments", "book", "rolls"]
    return load(feature_stages(settings) if reads_features else names, settings, explicit_raw=False)


def peers_of(settings: Settings) -> list[str]:
    """Other symbols that the feature set reads."""
    from pipeline.fitting import chosen_set

    return list(chosen_set(settings).columns.peers.values())


def features(
    call: Invocation,
    set_: Annotated[
        str | None, typer.Option("--set", help="Feature set of research.toml, or default.")
    ] = None,
) -> int:
    """Compute features and labels by trading session.

    Example: mbo features --set default --symbols ESM5
    """
    settings = call.settings.with_values(features={"set": set_})
    stages = load(feature_stages(settings), settings, explicit_raw=False)
    return finish(call, run_stages(call, stages, settings, peers=peers_of(settings)))


def backtest(
    call: Invocation,
    strategy: Annotated[str, typer.Argument(help="Name, or path/to/file.py:name.")],
    parameters: Annotated[
        list[str] | None, typer.Option("-p", "--param", help="key=value; may be repeated.")
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option("--latency", help="Decision to venue, e.g. 1ms; several: 0,1ms,5ms."),
    ] = None,
    fees: Annotated[str | None, typer.Option("--fees", help="Fee schedule [fees.NAME].")] = None,
    set_: Annotated[str | None, typer.Option("--set", help="Feature set to read.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Model whose predictions are read, name or id.")
    ] = None,
    readings: Annotated[
        str | None, typer.Option("--readings", help="Of optimistic, exact, pessimistic.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Trade incomplete sessions, too.")
    ] = False,
    interpret: Annotated[
        bool, typer.Option("--interpret", help="Run an event strategy's Python as it is.")
    ] = False,
) -> int:
    """Run one backtest; print and store its result.

    A strategy is a name (`mbo list strategies`) or a class of a file of yours. --latency takes a
    duration, lognormal:MEDIAN:SIGMA or table:FILE; several with commas show how the result decays.

    Example: mbo backtest mean_reversion -p entry_z=2.0 --latency 1ms
    """
    from pipeline.backtest.command import prepare, present
    from pipeline.backtest.predicted import with_model
    from pipeline.backtest.tables import READINGS

    several = latency is not None and "," in latency
    if several and not readings and call.settings.backtest.readings == Settings().backtest.readings:
        readings = ",".join(READINGS)
    settings = call.settings.with_values(
        backtest={
            "latency": None if several else latency,
            "fees": fees,
            "set": set_,
            "model": model,
            "readings": tuple(r.strip() for r in readings.split(",")) if readings else None,
            "partial": partial or None,
        },
    )
    settings = with_model(
        settings.with_values(features={"set": settings.backtest.set or settings.features.set})
    )
    if several:
        from pipeline.cli.sweep import run_and_show
        from pipeline.sweep.request import prepare_decay

        many = prepare_decay(strategy, parameters or [], settings, str(latency))
        return run_and_show(call, many, decay=True)
    request = prepare(strategy, parameters or [], settings, interpret=interpret)
    request.compile()
    earlier = stages_before(settings, reads_features=bool(request.strategy.features()))
    summaries = run_stages(call, earlier, settings, peers=peers_of(settings))
    if call.dry_run:
        return finish(
            call, [*summaries, *run_stages(call, request.stages(), settings, first=False)]
        )
    code = finish(replace(call, json=False), summaries)
    if code != OK and not call.quiet:
        print("backtest: runs on what could be computed", file=sys.stderr)
    own_call = replace(call, force=call.force or interpret)
    own = run_stages(own_call, request.stages(), settings, first=False)
    code = max(code, finish(replace(call, json=False), own))
    for summary in own:
        if summary.wrong:  # seen in the middle of the run only
            raise RequestError(summary.failed[0][1])
    given: list[tuple[str, object]] = [
        ("--fees", fees),
        ("--set", set_),
        ("--model", model),
        ("--symbols", call.selection.symbols),
    ]
    given += [("--start", call.selection.start), ("--end", call.selection.end)]
    given += [("-p", shlex.quote(item)) for item in parameters or ()]
    again = "".join(f" {name} {value}" for name, value in given if value is not None)
    if call.json or not call.quiet:
        present(
            call.root,
            request,
            print_json=call.print_json if call.json else None,
            program=program() + call.lake_option,
            again=again + (" --partial" if partial else ""),
        )
    return code
