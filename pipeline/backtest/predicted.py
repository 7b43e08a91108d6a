"""Which model a backtest reads: found in the lake before anything is planned."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Settings
from pipeline.errors import RequestError


def with_model(settings: Settings) -> Settings:
    """The settings with the model's id in place of its name, and its feature set.

    Raises
    ------
    RequestError
        If the lake holds no such model, or it was trained on another set than the one named.
    """
    asked = settings.backtest.model
    if not asked:
        return settings
    from pipeline.lake import open_lake
    from pipeline.models.reporting import newest_training

    root = Path(settings.lake.path)
    if not root.is_dir():
        raise RequestError(f"{root}: no lake here; run `mbo train` first")
    lake = open_lake(root)
    if not lake.model_ids():
        raise RequestError(f"{root} holds no model; run `mbo train` first")
    model = lake.model(asked)
    trained = newest_training(model)
    if trained is None:
        raise RequestError(f"{model.model_id} predicts nothing: it had too few rows to train on")
    own, named = trained["feature_set"], settings.backtest.set
    if named and named != own:
        raise RequestError(
            f"{model.model_id} was trained on feature set {own!r}, not {named!r}; leave out --set"
        )
    return settings.with_values(
        backtest={"model": model.model_id, "set": own}, features={"set": own}
    )
