"""Models for people: a line each, and all there is to say of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline.instants import format_count

if TYPE_CHECKING:
    from pipeline.lake import Model

HEADER: Final = (
    *("model", "estimator", "label", "set", "symbols", "trainings", "sessions", "unserved"),
    *("first", "last"),
)


def row_of_model(model: Model) -> list[Any]:
    """The line of `mbo list models`."""
    served = _sessions(model)
    fitted = _fitted(model, served)
    about = fitted.row(0, named=True) if len(fitted) else {}
    days = served["session"]
    return [
        model.model_id,
        about.get("estimator"),
        about.get("label"),
        about.get("feature_set"),
        ", ".join(served["symbol"].unique().sort()),
        len(fitted),
        len(served),
        int(served["unserved"].sum()),
        str(days.min()),
        str(days.max()),
    ]


def facts_of_model(model: Model) -> dict[str, Any]:
    """What `mbo describe` says: what it reads and predicts, what each training saw, what it serves.

    The newest training speaks for those before it.
    """
    served = _sessions(model)
    fitted = _fitted(model, served)
    facts: dict[str, Any] = {}
    if len(fitted):
        newest = fitted.row(-1, named=True)
        facts |= {
            "predicts": f"{newest['label']}, {newest['task']}",
            "classes": newest["classes"],
            "estimator": newest["estimator"],
            "parameters": newest["params"],
            "feature set": f"{newest['feature_set']}, clock {newest['clock']}",
            "features": ", ".join(json.loads(newest["features"])),
            "versions": sorted(set(json.loads(newest["versions"]).values())),
            "trained": [_training(row) for row in fitted.iter_rows(named=True)],
        }
    facts["predicted"] = [
        f"{row['session']} {row['symbol']}: "
        + ("no model: no past" if row["unserved"] else f"by the model of {row['by']}")
        for row in served.iter_rows(named=True)
    ]
    facts["read it"] = f'lake.model("{model.model_id}").predictions'
    return facts


def _training(row: dict[str, Any]) -> str:
    purged = f", {row['purged_rows']:,} purged" if row["purged_rows"] else ""
    return (
        f"{row['session']} {row['symbol']}: on {row['first_session']} to {row['last_session']} "
        f"({format_count(row['sessions'], 'session')} of {row['contracts']}), "
        f"{format_count(row['rows'], 'row')}{purged}"
    )


def _fitted(model: Model, served: pl.DataFrame) -> pl.DataFrame:
    """Rows of the model itself, by session and symbol: those that sessions are served by."""
    if not any(
        item.partition["model"] == model.model_id
        for item in model.lake.catalog.partitions("models")
    ):
        return pl.DataFrame()
    rows = model.models.filter(pl.col("part") == "model").drop("text", "fill", "mean", "scale")
    used = served.select(pl.col("by").str.to_date().alias("session"), "symbol").unique()
    return rows.collect().join(used, on=["session", "symbol"], how="semi").sort("session", "symbol")


def _sessions(model: Model) -> pl.DataFrame:
    """A row a session predicted: whether it has no model, and by which it was predicted."""
    rows = [
        (item.partition["session"], item.partition["symbol"], item.notes.get("served_by"))
        for item in model.lake.partitions("predictions", model=model.model_id)
    ]
    frame = pl.DataFrame(rows, schema=["session", "symbol", "by"], orient="row").cast(pl.String)
    return frame.with_columns(unserved=pl.col("by").is_null()).sort("session", "symbol")
