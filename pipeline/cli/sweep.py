"""``mbo sweep``: many backtests in one go, and what luck explains of the best."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.common import Invocation, program
from pipeline.cli.stages import finish, peers_of, run_stages, stages_before
from pipeline.errors import FAILED, OK, RequestError
from pipeline.instants import format_count
from pipeline.schedule import StageSummary
from pipeline.stage import Stage

if TYPE_CHECKING:
    from pipeline.sweep.request import SweepRequest
    from pipeline.sweep.results import SweepResult
    from pipeline.sweep.run import Outcome


def sweep(
    call: Invocation,
    strategy: Annotated[str, typer.Argument(help="Name, or path/to/file.py:name.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", help="key=a,b,c or key=lo..hi:step or key=lo..hi:log."),
    ] = None,
    random: Annotated[
        int | None, typer.Option("--random", min=1, help="So many draws instead of the grid.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draws.")] = 0,
    metric: Annotated[
        str, typer.Option("--metric", help="Column of runs the best is chosen by.")
    ] = "net",
    reading: Annotated[
        str | None, typer.Option("--reading", help="optimistic, exact or pessimistic.")
    ] = None,
    walk_forward: Annotated[
        str | None,
        typer.Option("--walk-forward", help="train=10,test=5,step=5, in sessions."),
    ] = None,
    purge: Annotated[
        int, typer.Option("--purge", min=0, help="Sessions left out between train and test.")
    ] = 0,
    latency: Annotated[
        str | None, typer.Option("--latency", help="Decision to venue; several with commas.")
    ] = None,
    fees: Annotated[str | None, typer.Option("--fees", help="Fee schedule [fees.NAME].")] = None,
    set_: Annotated[str | None, typer.Option("--set", help="Feature set to read.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Model whose predictions are read, name or id.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Trade incomplete sessions, too.")
    ] = False,
) -> int:
    """Run a strategy with many parameters; show the best and what luck explains of it.

    What is stored is not run again: after an interrupt the same command goes on.

    Example: mbo sweep mean_reversion -p entry_z=2,2.5,3 -p exit_z=0.2,0.5,1
    """
    from pipeline.backtest.predicted import with_model
    from pipeline.sweep.request import Search, prepare_sweep
    from pipeline.sweep.windows import parse_walk_forward

    if purge and not walk_forward:
        raise RequestError("--purge belongs to --walk-forward")
    settings = call.settings.with_values(
        backtest={
            "fees": fees,
            "set": set_,
            "model": model,
            "readings": (reading or _only_reading(call),),
            "partial": partial or None,
        },
    )
    request = prepare_sweep(
        strategy,
        parameters or [],
        with_model(
            settings.with_values(features={"set": settings.backtest.set or settings.features.set})
        ),
        latency=latency,
        search=Search(random, seed) if random else None,
        metric=metric,
        walk=parse_walk_forward(walk_forward, purge) if walk_forward else None,
    )
    return run_and_show(call, request)


def _only_reading(call: Invocation) -> str:
    readings = call.settings.backtest.readings
    return readings[0] if len(readings) == 1 else "exact"


def run_and_show(call: Invocation, request: SweepRequest, *, decay: bool = False) -> int:
    """Features, the runs, the table; then what came out.  ``decay``: latency is all that varies."""
    from pipeline.lake import open_lake
    from pipeline.sweep.request import check_features
    from pipeline.sweep.run import plan_legs, run_sweep
    from pipeline.sweep.stage import SimulateMany

    request.trials[0].request.compile()  # values of parameters make no other code
    settings = request.settings
    read = check_features(request)
    earlier = stages_before(settings, reads_features=bool(read))
    summaries = run_stages(call, earlier, settings, peers=peers_of(settings))
    if call.dry_run:
        legs, _, _ = plan_legs(request, call.root, call.selection)
        planned = run_stages(call, [SimulateMany(legs)], settings, first=False)
        return finish(call, [*summaries, *planned])
    code = finish(replace(call, json=False), summaries)
    if code != OK and not call.quiet:
        print("sweep: runs on what could be computed", file=sys.stderr)
    made: list[StageSummary] = []

    def run(stages: Sequence[Stage]) -> list[StageSummary]:
        own = run_stages(call, stages, settings, first=False)
        made.extend(own)
        return own

    def told(line: str) -> None:
        if not (call.quiet or call.json):
            print(f"sweep: {line}", file=sys.stderr)

    outcome = run_sweep(request, call.root, call.selection, run, told)
    code = max(code, finish(replace(call, json=False), made))
    result = open_lake(call.root).sweep(outcome.sweep_id)
    if call.json:
        call.print_json(as_json(result))
    elif not call.quiet:
        print(render(call, request, outcome, result, decay=decay))
    return max(code, FAILED if outcome.failed else OK)


def as_json(result: SweepResult) -> dict[str, Any]:
    """The figures as JSON values; money as text, exact."""
    luck = result.luck
    return {
        "sweep_id": result.sweep_id,
        "metric": result.metric,
        "reading": result.reading,
        "axes": result.axes,
        "trials": result.trials.to_dicts(),
        "luck": asdict(luck) if luck else None,
        "out_of_sample": result.out_of_sample.to_dicts(),
    }


def render(
    call: Invocation,
    request: SweepRequest,
    outcome: Outcome,
    result: SweepResult,
    *,
    decay: bool,
) -> str:
    """The sweep as text."""
    from pipeline.sweep import show

    rule = "=" * 78
    first = result.readings.row(0, named=True)
    lines = [rule]
    if first["simulated"]:
        lines.append("SIMULATED market: the built-in sample, not real trading data")
    lines.append(f"{first['strategy']} on {first['dataset']} {first['symbols'].replace(',', ', ')}")
    lines += _about(request, outcome, result)
    lines.append("")
    if decay:
        lines += show.decay_table(result)
    elif result.walks:
        lines += [*show.walk_lines(result), "", *show.out_of_sample_lines(result)]
    else:
        lines += [f"best by {result.metric}, {result.reading} reading, {first['currency']}"]
        lines += show.best_table(result)
        if len(request.axes) > 1 and request.search is None:
            y, x = request.axes[:2]
            lines += ["", *show.heat_map(result, x.name, y.name)]
        luck = result.luck
        assert luck is not None  # no walk-forward
        lines += ["", *show.luck_lines(luck, result.luckiest)]
    lines += ["", "The rest of the market does not react to our orders."]
    lines.append(f"Sweep {result.sweep_id}; table: {call.root}/sweeps/sweep_id={result.sweep_id}")
    lines += ["Try next:", *(f"  {line}" for line in _next(call, result, decay=decay))]
    return "\n".join([*lines, rule])


def _about(request: SweepRequest, outcome: Outcome, result: SweepResult) -> list[str]:
    begin = min(result.rows["first_session"].to_list())
    end = max(result.rows["last_session"].to_list())
    varied = ", ".join(axis.name for axis in request.axes)
    lines = [f"sessions    {begin} to {end}"]
    how = f", drawn with seed {request.search.seed}" if request.search else ""
    what = f" of {varied}" if varied else ""
    lines.append(f"trials      {len(request.trials):,}{what}{how}")
    if request.walk:
        lines.append(
            f"walking     {format_count(len(outcome.windows), 'window')} of {request.walk} sessions"
        )
    if outcome.untested:
        days = format_count(len(outcome.untested), "session")
        lines.append(f"untested    {days} that fill no window, the last {outcome.untested[-1]}")
    if request.refused:
        point, why = request.refused[0]
        values = " ".join(f"{name}={value}" for name, value in point.items())
        combinations = format_count(len(request.refused), "combination")
        lines.append(f"left out    {combinations}, such as {values}: {why}")
    lines += [
        f"undecided   window {number}: no trial has a value of {result.metric}"
        for number in outcome.undecided
    ]
    if outcome.failed:
        runs = format_count(len(outcome.failed), "run")
        lines.append(f"failed      {runs}; the errors are above, the same command tries again")
    return lines


def _next(call: Invocation, result: SweepResult, *, decay: bool) -> list[str]:
    own = program() + call.lake_option
    lines = []
    best = result.rows.filter(result.rows["chosen"])
    if len(best) and not decay:
        run_id = best["run_id"][-1]
        lines.append(f"{own} describe {run_id}   # all figures of the best")
    lines.append(f'{own} sql "sweep_trials sweep={result.sweep_id}"')
    return lines
