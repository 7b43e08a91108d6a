"""A small market of several sessions, taken to features, labels, models and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import FeaturesSettings, FitSettings, Settings
from pipeline.featurise import FeatureStage
from pipeline.models.predict import Predict
from pipeline.models.request import ModelRequest, prepare_model
from pipeline.models.train import Train
from pipeline.rolls_stage import RollStage
from pipeline.schedule import StageSummary
from pipeline.stage import Selection
from tests.features.many_days import ManyDays
from tests.features.test_fits_stage import run

FEATURES = ["mid", "spread", "queue_imbalance", "depth_imbalance_3", "ofi_event", "return_n5"]
LABELS = ["y_return_n5", "y_return_1s", "y_next_move"]


@dataclass(frozen=True)
class Shop:
    """Settings of a feature set and of one model, ``m``."""

    model: Mapping[str, Any]
    clock: str = "event"
    features: tuple[str, ...] = tuple(FEATURES)
    labels: tuple[str, ...] = tuple(LABELS)
    files: tuple[str, ...] = ()
    along: str = "volume"

    @property
    def settings(self) -> Settings:
        own = {"clock": self.clock, "features": [*self.features], "labels": [*self.labels]}
        features = FeaturesSettings(
            set="small", sets={"small": own}, files=self.files, fits=FitSettings(along=self.along)
        )
        return Settings(features=features, models={"m": dict(self.model)})

    @property
    def request(self) -> ModelRequest:
        return prepare_model("m", self.settings, {})

    def features_of(self, lake: Path, upstream: ManyDays | None = None) -> None:
        """The lake up to features and labels."""
        for stage in (upstream or ManyDays(), RollStage(), FeatureStage()):
            summary = run(stage, lake, self.settings)
            assert summary.exit_code == 0, summary.failed

    def train(
        self, lake: Path, selection: Selection | None = None, workers: int = 1
    ) -> dict[str, StageSummary]:
        """Models and predictions."""
        fitted = run(Train(self.request), lake, self.settings, selection, workers=workers)
        return {"train": fitted, "predict": self.predict(lake, selection, workers)}

    def predict(
        self, lake: Path, selection: Selection | None = None, workers: int = 1
    ) -> StageSummary:
        """Predictions, of whatever models there are."""
        return run(Predict(self.request), lake, self.settings, selection, workers=workers)


def shop(**model: Any) -> Shop:
    """A model of a small linear estimator, of the last five rows' label, but for what is said."""
    return Shop({"estimator": "linear", "label": "y_return_n5", "every": 1, **model})
