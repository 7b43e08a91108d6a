"""The stages by name, in the order data flows through them.

A new stage is one line here and one module of its own; the runner is not touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from pipeline.errors import RequestError
from pipeline.stage import Stage
from pipeline.startup import loading

STAGES: dict[str, str] = {
    "ingest": "pipeline.ingest.stage:INGEST",
    "instruments": "pipeline.ingest.stage:INSTRUMENTS",
    "book": "pipeline.book.stage:BOOK",
    "order_life": "pipeline.book.life_stage:ORDER_LIFE",
    "queue": "pipeline.book.queue_stage:QUEUE",
    "rolls": "pipeline.rolls_stage:ROLLS_STAGE",
    "statistics": "pipeline.fitting:STATISTICS_STAGE",
    "fits": "pipeline.fitting:FITS_STAGE",
    "features": "pipeline.featurise:FEATURES",
    "train": "pipeline.models.train:TRAIN",
    "predict": "pipeline.models.predict:PREDICT",
    "score": "pipeline.models.score:SCORE",
    "simulate": "pipeline.backtest.stage:SIMULATE",
    "summarise": "pipeline.backtest.stage:SUMMARISE",
    "sweep": "pipeline.sweep.stage:SWEEP",
}


def load_stage(name: str) -> Stage:
    """The stage of that name; its module is imported only now."""
    if name not in STAGES:
        raise RequestError.unknown("stage", name, STAGES)
    module, _, attribute = STAGES[name].partition(":")
    with loading():
        return cast("Stage", getattr(import_module(module), attribute))


def stage_module(name: str) -> str:
    """Name of the module that a stage is in."""
    return STAGES[name].partition(":")[0]


def upstream(name: str) -> list[str]:
    """The stages that come before, then the stage itself."""
    names = list(STAGES)
    return names[: names.index(name) + 1]
