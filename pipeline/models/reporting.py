"""What ``mbo train`` reports of a stored model: its head lines and the summary of its scores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.backtest.summarise import SIMULATED
from pipeline.instants import format_count
from pipeline.models.show import About
from pipeline.models.summary import Summary, summarise
from pipeline.stage import Selection

if TYPE_CHECKING:
    from pipeline.lake import Model


def summary_of(model: Model, selection: Selection) -> Summary:
    """The summary of the selected sessions; of none, where none is scored."""
    if not any(
        item.partition["model"] == model.model_id
        for item in model.lake.catalog.partitions("scores")
    ):
        return summarise(pl.DataFrame())
    return summarise(model.lake.scan("scores", **_chosen(model, selection)).collect())


def about_model(model: Model, selection: Selection, every: int) -> About:
    """The head of the report; ``every``: a model serves so many sessions."""
    served = model.lake.partitions("predictions", **_chosen(model, selection))
    symbols = sorted({item.partition["symbol"] for item in served})
    datasets = sorted({item.partition["dataset"] for item in served})
    what, trained = "nothing: too few rows to train on", "never"
    if fitted := newest_training(model):
        features = format_count(len(json.loads(fitted["features"])), "feature")
        what = (
            f"{fitted['label']} ({fitted['task']}) from {features} of the set "
            f"{fitted['feature_set']}, by {fitted['estimator']}"
        )
        trained = (
            f"anew every {format_count(every, 'session')}, the last time on "
            f"{format_count(fitted['sessions'], 'session')} to {fitted['last_session']}: "
            f"{format_count(fitted['rows'], 'row')}, {fitted['purged_rows']:,} purged"
        )
    return About(
        model_id=model.model_id,
        what=what,
        symbols=f"{', '.join(datasets)} {', '.join(symbols)}",
        simulated=all(name.startswith(SIMULATED) for name in datasets),
        trained=trained,
        without=sum(item.notes.get("served_by") is None for item in served),
    )


def _chosen(model: Model, selection: Selection) -> dict[str, Any]:
    """Arguments of ``lake.scan`` and ``lake.partitions``."""
    return {
        "model": model.model_id,
        "dataset": selection.dataset,
        "symbols": selection.symbols,
        "start": selection.start,
        "end": selection.end,
    }


def newest_training(model: Model) -> dict[str, Any] | None:
    """The row of ``models`` of the last training; None where nothing could be trained."""
    rows = model.models.filter(pl.col("part") == "model").drop("text", "fill", "mean", "scale")
    found = rows.sort("session", "symbol").collect()
    return found.row(-1, named=True) if len(found) else None
