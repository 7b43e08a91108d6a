"""Speed of features: the fixed tier-1 list from Parquet to Parquet, and where the time goes.

``mbo bench features``.  One simulated session goes through ingest and book; then the list of
:mod:`benchmarks.feature_list` (every tier-1 window) is computed by `mbo features` with one worker
and one thread, reading and writing included, in a process of its own.  Beside it, in processes of
their own on the same files: five features by this program, by a plain polars pipeline and by a
plain numpy one, all start-up included.  What a column costs is its CPU time in memory, less that of
the keys alone.  The floor is decompression of the raw file, counted as if it gave all values.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.feature_list import TIER1
from benchmarks.figures import MBO, Figure, Report, decompress, run_process
from benchmarks.stages import ALONE, simulate
from features.checks import Finding, measure_cost, record
from features.registry import FEATURES
from pipeline.checking import CatalogInputs
from pipeline.config import Settings
from pipeline.lake import open_lake
from pipeline.session_inputs import SessionPlanner, session_rows
from pipeline.stage import Selection, Task

FIVE: Final = ("mid", "queue_imbalance", "ofi_10s", "return_10s", "signed_volume_10s")
"""What the yardsticks compute."""

COST_ROWS: Final = 50_000
WINDOW: Final = 10_000_000_000
ONE_THREAD: Final = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
TOUCH: Final = ["bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00"]


# --- yardsticks: no sessions, halts, ties, nulls of warm-up; days one after the other ------------


def _files(lake: Path, table: str) -> list[Path]:
    return sorted(path for path in (lake / table).rglob("*.parquet") if "_tmp" not in path.parts)


def plain_polars(lake: Path, out: Path) -> None:
    """The five features as a polars user writes them first."""
    px = {name: pl.col(name) for name in TOUCH}
    e = (
        pl.when(px["bid_px_00"] >= px["bid_px_00"].shift(1)).then(px["bid_sz_00"]).otherwise(0)
        - pl.when(px["bid_px_00"] <= px["bid_px_00"].shift(1))
        .then(px["bid_sz_00"].shift(1))
        .otherwise(0)
        - pl.when(px["ask_px_00"] <= px["ask_px_00"].shift(1)).then(px["ask_sz_00"]).otherwise(0)
        + pl.when(px["ask_px_00"] >= px["ask_px_00"].shift(1))
        .then(px["ask_sz_00"].shift(1))
        .otherwise(0)
    )
    for number, (books, prints) in enumerate(
        zip(_files(lake, "book"), _files(lake, "trades"), strict=True)
    ):
        signed = (
            pl.scan_parquet(prints, hive_partitioning=False)
            .with_columns(pl.col("side").cast(pl.String), pl.col("size").cast(pl.Int64))
            .group_by("event", maintain_order=True)
            .agg(
                pl.col("size").filter(pl.col("side") == "B").sum()
                - pl.col("size").filter(pl.col("side") == "A").sum()
            )
            .rename({"size": "signed"})
        )
        mid = (px["bid_px_00"] + px["ask_px_00"]) / 2
        frame = (
            pl.scan_parquet(books, hive_partitioning=False)
            .select("ts_recv", "event", *TOUCH)
            .cast({"bid_sz_00": pl.Int64, "ask_sz_00": pl.Int64})
            .join(signed, on="event", how="left", maintain_order="left")
            .with_columns(mid.alias("mid"), e.alias("e"), pl.col("signed").fill_null(0))
            .sort("ts_recv", maintain_order=True)
        )
        past = frame.select(pl.col("ts_recv").alias("then"), pl.col("mid").alias("mid_then"))
        imbalance = (px["bid_sz_00"] - px["ask_sz_00"]) / (px["bid_sz_00"] + px["ask_sz_00"])
        frame.with_columns(
            (pl.col("ts_recv") - pl.duration(nanoseconds=WINDOW, time_unit="ns")).alias("back")
        ).join_asof(past, left_on="back", right_on="then").select(
            "ts_recv",
            "event",
            "mid",
            imbalance.alias("queue_imbalance"),
            pl.col("e").rolling_sum_by("ts_recv", "10s").alias("ofi_10s"),
            (pl.col("mid") - pl.col("mid_then")).alias("return_10s"),
            pl.col("signed").rolling_sum_by("ts_recv", "10s").alias("signed_volume_10s"),
        ).collect().write_parquet(out / f"polars-{number}.parquet", compression="lz4")


def plain_numpy(lake: Path, out: Path) -> None:
    """The five features with numpy arrays, prefix sums and searchsorted."""
    for number, (books, prints) in enumerate(
        zip(_files(lake, "book"), _files(lake, "trades"), strict=True)
    ):
        table = pq.ParquetFile(books).read(columns=["ts_recv", "event", *TOUCH])
        ts = np.maximum.accumulate(table["ts_recv"].cast(pa.int64()).to_numpy())
        event = table["event"].to_numpy()
        bid, ask, bid_size, ask_size = (table[name].to_numpy().astype(float) for name in TOUCH)
        flow = pq.ParquetFile(prints).read(columns=["event", "size", "side"])
        side = np.asarray(flow["side"].to_pylist(), dtype="U1")
        sign = np.where(side == "B", 1, np.where(side == "A", -1, 0))
        signed = np.zeros(event.size)
        at = np.searchsorted(event, flow["event"].to_numpy())
        inside = at < event.size
        np.add.at(signed, at[inside], (sign * flow["size"].to_numpy().astype(np.int64))[inside])
        mid = (bid + ask) / 2
        e = np.zeros(event.size)
        e[1:] = (
            np.where(bid[1:] >= bid[:-1], bid_size[1:], 0)
            - np.where(bid[1:] <= bid[:-1], bid_size[:-1], 0)
            - np.where(ask[1:] <= ask[:-1], ask_size[1:], 0)
            + np.where(ask[1:] >= ask[:-1], ask_size[:-1], 0)
        )
        start = np.searchsorted(ts, ts - WINDOW, side="right")

        def window(x: np.ndarray, first: np.ndarray = start) -> np.ndarray:
            sums = np.concatenate([[0.0], np.cumsum(x)])
            result: np.ndarray = sums[1:] - sums[first]
            return result

        with np.errstate(invalid="ignore", divide="ignore"):
            columns = {
                "ts_recv": ts,
                "event": event,
                "mid": mid,
                "queue_imbalance": (bid_size - ask_size) / (bid_size + ask_size),
                "ofi_10s": window(e),
                "return_10s": mid - mid[np.maximum(start - 1, 0)],
                "signed_volume_10s": window(signed),
            }
        pq.write_table(pa.table(columns), out / f"numpy-{number}.parquet", compression="lz4")


# --- figures -----------------------------------------------------------------------------------


def write_sets(folder: Path, head: str = "") -> Path:
    """A settings file with the sets `bench` and `five`, below other settings."""
    lines = [head]
    for name, columns in (("bench", TIER1), ("five", FIVE)):
        quoted = ", ".join(f'"{column}"' for column in columns)
        lines.append(f"[features.sets.{name}]\nfeatures = [{quoted}]\n")
    path = folder / "research.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def stage_figures(file: Path, folder: Path) -> Iterator[Report]:
    """`mbo features` on the list, and on five beside the yardsticks."""
    lake, settings = folder / "lake", write_sets(folder)
    common = ["--lake", str(lake), "--workers", "1", "--quiet", "--config", str(settings)]
    beside = [str(path) for path in sorted(file.parent.glob("*.definition.dbn.zst"))]
    environment = ALONE | ONE_THREAD
    run_process([*MBO, "ingest", str(file), *beside, *common], **environment)
    run_process([*MBO, "book", *common], **environment)
    rows = sum(pq.read_metadata(path).num_rows for path in _files(lake, "book"))
    floor = decompress(file)
    figures = []
    for name, columns in (("bench", TIER1), ("five", FIVE)):
        taken = run_process([*MBO, "features", "--set", name, *common], **environment)
        work = f"`mbo features`, {len(columns)} columns"
        figures.append(Figure(work, rows * len(columns), *taken))
    for name in ("polars", "numpy"):
        script = [sys.executable, "-m", "benchmarks.features", name, str(lake), str(folder)]
        taken = run_process(script, **environment)
        figures.append(Figure(f"plain {name}, 5 columns", rows * len(FIVE), *taken))
    floor = (floor + decompress(file)) / 2
    for what, wanted in (("the tier-1 list", figures[:1]), ("five features", figures[1:])):
        report = Report(
            f"{rows:,} rows, {what}, Parquet to Parquet, one worker, one thread, start-up included",
            unit="values",
        )
        report.add(Figure("zstd to nothing (the floor)", wanted[0].records, floor))
        report.figures += wanted
        yield report


def cost_lines(lake_path: Path) -> str:
    """Ns a value by family, and the ten costliest columns."""
    columns = FEATURES.resolve(TIER1)
    lake = open_lake(lake_path)
    planner = SessionPlanner(lake.catalog, Settings())
    recording = None
    for symbol in planner.symbols(Selection()):
        for session in reversed(symbol.sessions):
            facts = planner.facts(symbol, session)
            task = Task(symbol.keys("bench", session), facts.inputs, facts.params)
            rows = session_rows(task, CatalogInputs(lake.catalog, task))
            recording = record(rows, columns, COST_ROWS)
            if recording.frame.height:
                break
    assert recording is not None
    findings = [Finding(column, rows=recording.frame.height) for column in columns]
    measure_cost(recording, findings)
    families: dict[str, list[float]] = defaultdict(list)
    for one in findings:
        families[one.column.family.family].append(one.ns_per_value or 0.0)
    lines = [f"ns a value, each column alone, {recording.frame.height:,} rows in memory", ""]
    lines += ["| family | columns | mean | largest |", "|---|---|---|---|"]
    for name, costs in families.items():
        lines.append(f"| {name} | {len(costs)} | {np.mean(costs):.0f} | {max(costs):.0f} |")
    lines += ["", "| the ten costliest | ns a value |", "|---|---|"]
    for one in sorted(findings, key=lambda f: -(f.ns_per_value or 0.0))[:10]:
        lines.append(f"| {one.column.name} | {one.ns_per_value:.0f} |")
    return "\n".join(lines)


def measure(records: int, folder: Path) -> list[Report]:
    """All figures of features; files are written to ``folder``."""
    small = simulate(folder / "small", 5000)
    for _ in stage_figures(small, folder / "small"):
        pass  # compiles
    file = simulate(folder / "raw", records)
    reports = list(stage_figures(file, folder))
    reports[0].remarks = cost_lines(folder / "lake")
    return reports


if __name__ == "__main__":
    {"polars": plain_polars, "numpy": plain_numpy}[sys.argv[1]](
        Path(sys.argv[2]), Path(sys.argv[3])
    )
    os._exit(0)
