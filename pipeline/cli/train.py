"""``mbo train``: models fitted walk-forward, and their predictions as a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.common import Invocation, program
from pipeline.cli.stages import feature_stages, finish, load, peers_of, run_stages
from pipeline.config import Settings
from pipeline.errors import OK, RequestError
from pipeline.schedule import StageSummary
from pipeline.stage import Selection, Stage

if TYPE_CHECKING:
    import polars as pl

    from pipeline.lake import Model
    from pipeline.models.exporting import Exported
    from pipeline.models.request import ModelRequest
    from pipeline.models.summary import Summary


def train(
    call: Invocation,
    model: Annotated[str, typer.Argument(help="Name of [models.NAME], lightgbm or linear.")],
    label: Annotated[
        str | None, typer.Option("--label", help="Label of the set to predict.")
    ] = None,
    set_: Annotated[str | None, typer.Option("--set", help="Feature set to read.")] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=0, help="Trials of the search for parameters.")
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", help="key=value of the estimator; may be repeated."),
    ] = None,
    backtest: Annotated[
        bool, typer.Option("--backtest/--no-backtest", help="Trade the predictions: strategy ml.")
    ] = True,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="Write the newest models here, as ONNX.")
    ] = None,
) -> int:
    """Train a model on past sessions and predict later ones.

    Sessions are predicted in time order, each by a model whose training ended before it; what is
    up to date is not trained again.

    Example: mbo train lightgbm --label y_return_10s --symbols 'ES.v.0'
    """
    from pipeline.lake import open_lake
    from pipeline.models.reporting import summary_of
    from pipeline.models.request import prepare_model

    changed = {"label": label, "set": set_, "trials": trials}
    request = prepare_model(model, call.settings, changed, parameters or ())
    if onnx is not None:
        from pipeline.models.exporting import check_exportable

        check_exportable(request.kind.name)
    settings = call.settings.with_values(features={"set": request.settings.set})
    summaries = _upstream(call, settings, request)
    if call.dry_run:
        return finish(call, [*summaries, *_models(call, settings, request)])
    code = finish(replace(call, json=False), summaries)
    if code != OK and not call.quiet:
        print("train: goes on with what could be computed", file=sys.stderr)
    own = _models(call, settings, request)
    code = max(code, finish(replace(call, json=False), own))
    lake = open_lake(call.root)
    if request.model_id not in lake.model_ids():
        return code  # nothing could be predicted; why has been said
    trained = lake.model(request.model_id)
    summary = summary_of(trained, call.selection)
    traded = _trade(call, settings, request.model_id) if backtest else None
    files = _exported(call, trained, onnx) if onnx is not None else []
    if call.json:
        stages = [one.as_json() for one in (*summaries, *own)]
        found = {"model": request.model_id, "stages": stages}
        money = traded.as_json() if traded else None
        written = [one.as_json() for one in files]
        call.print_json({**found, "scores": summary.as_json(), "backtest": money, "onnx": written})
    elif not call.quiet:
        _show(call, request, trained, summary, traded)
        for one in files:
            print(one.line)
    return code


def export(
    call: Invocation,
    model: Annotated[str, typer.Argument(help="A trained model: its name, or its ID.")],
    onnx: Annotated[Path, typer.Option("--onnx", help="Folder for the files.")],
) -> int:
    """Write trained models as ONNX files: by contract the one that serves the last session.

    --symbols, --start and --end choose contracts and sessions.  The file's metadata name the
    features in order, their versions, what it was trained on and the units of what it gives.

    Example: mbo export linear --onnx models
    """
    from pipeline.lake import open_lake

    files = _exported(call, open_lake(call.root).model(model), onnx)
    if call.json:
        call.print_json([one.as_json() for one in files])
    elif not call.quiet:
        for one in files:
            print(one.line)
    return OK


def _exported(call: Invocation, model: Model, folder: Path) -> list[Exported]:
    from pipeline.models.exporting import export as write

    return write(model, call.selection, folder, dry=call.dry_run)


@dataclass(frozen=True)
class Traded:
    """What the strategy `ml` made of a model's predictions, or why there is no such figure."""

    readings: pl.DataFrame | None
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Figures by reading and currency; money as text, exact."""
        rows = [] if self.readings is None else self.readings.to_dicts()
        return {"readings": rows, "why_not": self.why or None}

    def lines(self) -> list[str]:
        """For the report."""
        from pipeline.cli.look import text_table

        head = "after costs: strategy `ml`, its defaults, on these predictions"
        if self.readings is None:
            return [f"{head}: not computed: {self.why}"]
        header = ["reading", "", "net", "gross", "fees", "round trips", "each"]
        rows = [
            [r["reading"], r["currency"], *(f"{r[n]:,.2f}" for n in ("net", "gross", "fees")),
             r["trades"], "-" if r["average_trade"] is None else f"{r['average_trade']:,.2f}"]
            for r in self.readings.iter_rows(named=True)
        ]  # fmt: skip
        return [head, text_table(header, rows)]


def _trade(call: Invocation, settings: Settings, model_id: str) -> Traded:
    """Backtest the built-in strategy on the predictions, in every reading."""
    from pipeline.backtest.predicted import with_model
    from pipeline.backtest.request import prepare
    from pipeline.backtest.tables import READINGS
    from pipeline.lake import open_lake

    try:
        chosen = settings.with_values(backtest={"model": model_id, "readings": READINGS})
        chosen = with_model(chosen.with_values(lake={"path": str(call.root)}))
        request = prepare("ml", [], chosen)
        done = run_stages(call, request.stages(), chosen, first=False)
    except RequestError as error:
        return Traded(None, str(error))
    if any(summary.exit_code != OK for summary in done):
        return Traded(None, next(message for s in done for _, message in (*s.failed, *s.blocked)))
    names = ["reading", "currency", "net", "gross", "fees", "trades", "average_trade"]
    return Traded(open_lake(call.root).run(request.run_id).readings.select(names))


def _upstream(call: Invocation, settings: Settings, request: ModelRequest) -> list[StageSummary]:
    """Books of what was asked for; features also of the sessions that is trained on."""
    from pipeline.catalog import LakeCatalog
    from pipeline.models.train import needed_sessions

    names = feature_stages(settings)
    at = names.index("rolls") + 1
    first = load(names[:at], settings, explicit_raw=False)
    summaries = run_stages(call, first, settings, peers=peers_of(settings))
    catalog = LakeCatalog(call.root)
    if call.dry_run and not catalog.partitions("book"):
        return summaries
    needed = needed_sessions(request, catalog, settings, call.selection)
    wider = replace(call, selection=Selection(contracts=needed))
    rest = load(names[at:], settings, explicit_raw=False)
    return [*summaries, *run_stages(wider, rest, settings, first=False)]


def _models(call: Invocation, settings: Settings, request: ModelRequest) -> list[StageSummary]:
    """The models and what they predict."""
    from pipeline.catalog import LakeCatalog
    from pipeline.models.predict import Predict
    from pipeline.models.score import ScoreStage
    from pipeline.models.train import Train, blocks_of

    catalog = LakeCatalog(call.root)
    if not catalog.partitions("book"):
        return []
    blocks = [block for block, _ in blocks_of(request, catalog, settings, call.selection)]
    if not any(block.served for block in blocks):
        raise RequestError(_nothing_to_train_on(request, blocks))
    stages: list[Stage] = [Train(request), Predict(request), ScoreStage(request)]
    return run_stages(call, stages, settings, first=False)


def _nothing_to_train_on(request: ModelRequest, blocks: Sequence[object]) -> str:
    least = request.settings.at_least
    sessions = "a complete session" if least == 1 else f"{least} complete sessions"
    where = "none of the sessions selected has" if blocks else "no session is selected that has"
    return f"{request.name}: nothing to train on: {where} {sessions} before it"


def _show(
    call: Invocation,
    request: ModelRequest,
    model: Model,
    summary: Summary,
    traded: Traded | None,
) -> None:
    from pipeline.models.reporting import about_model
    from pipeline.models.show import report

    rule = "=" * 78
    own = program() + call.lake_option
    about = about_model(model, call.selection, request.settings.every)
    print("\n".join([rule, *report(about, summary), ""]))
    if traded is not None:
        print("\n".join([*traded.lines(), ""]))
    print("Accuracy is not money: fills, queues and fees decide what is left.  Try next:")
    print(f"  {own} backtest ml --model {request.model_id} -p threshold=0.5")
    print(f"  {own} describe {request.model_id}")
    print(f'  {own} sql "model_scores model={request.model_id}"')
    print(rule)
