"""A model's predictions, held against what it was trained on and made once more from its text."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipeline.lake import Lake, Model
from pipeline.models.rows import read_features
from pipeline.models.served import key_of_features
from pipeline.models.storing import Floats, Opened, load_parts
from pipeline.reading import read_table
from pipeline.stage import Partition, Stored


@dataclass
class ModelAudit:
    """What was compared, and what differs."""

    rows: int = 0
    """Predictions that are not null."""
    sessions: int = 0
    """With predictions."""
    models: int = 0
    differences: list[str] = field(default_factory=list)


def audit_model(model: Model) -> ModelAudit:
    """Every session's predictions: the model named in its rows ended training before the session
    began, its text comes back as it is, and read again it predicts the same bits from the rows of
    `features`.  Sessions without a model predict nothing.
    """
    audit, opened = ModelAudit(), dict[Partition, Opened]()
    for item in model.lake.partitions("predictions", model=model.model_id):
        found = _audit_session(model.lake, item, opened, audit)
        audit.differences += [f"predictions {item.partition}: {line}" for line in found]
    audit.models = len(opened)
    return audit


def _audit_session(
    lake: Lake, item: Stored, opened: dict[Partition, Opened], audit: ModelAudit
) -> list[str]:
    rows = read_table(item)
    stored = rows["prediction"].to_numpy()
    audit.rows += int(np.isfinite(stored).sum())
    by = {str(day) for day in rows["served_by"].unique().to_pylist() if day is not None}
    if not by:
        return [] if np.isnan(stored).all() else ["there are some, and no model is named"]
    if len(by) > 1:
        return [f"by models of {', '.join(sorted(by))}"]
    audit.sessions += 1
    key = item.partition.replace(session=by.pop())
    if key not in opened:
        source = lake.catalog.get("models", key)
        part = load_parts(source).get("model") if source else None
        if part is None:
            return [f"its model {key} is not there"]
        opened[key] = part.open()
        if opened[key].fitted.to_text() != part.text:
            return [f"the text of {key} does not come back as it is"]
    trained = opened[key].part.trained
    session, first = item.partition["session"], rows["ts"].cast(pa.int64())[0].as_py()
    if str(trained.last_session) >= session or trained.known_until >= first:
        return [f"by a model that was trained on {trained.last_session}"]
    return _again(lake, item, opened[key], stored)


def _again(lake: Lake, item: Stored, model: Opened, stored: Floats) -> list[str]:
    key = key_of_features(item.partition, model.part.feature_set)
    features = lake.catalog.get("features", key)
    if features is None:
        return [f"features {key} are not there"]
    chunks = read_features(features, model.part.features)
    found = np.concatenate([model.predict(chunk.x).prediction for chunk in chunks])
    if found.tobytes() == stored.tobytes():
        return []
    differ = found.size if found.size != stored.size else int(np.sum(found != stored))
    return [f"{differ:,} of {stored.size:,} are others when its text is read again"]
