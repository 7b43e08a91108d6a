"""Speed of ingest, file to Parquet, against plain zstd decompression of the same file in one run.

``mbo bench ingest``.  Each work runs in a process of its own, so that its
peak memory is its own, several times in turn with the floor; the best time of each counts.
Imports and compiling are not counted; hashing the raw file, planning, syncing and committing are.

The file is a real ES hour repeated (:mod:`benchmarks.mbo_files`) where one is found, else
synthetic.  Two yardsticks are the vendor's own: records to numpy, and ``to_parquet``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from benchmarks.figures import Figure, Report
from benchmarks.mbo_files import Workload, find_real_day, write_file

ROUNDS = 3
VENDOR_RECORDS = 500_000
"""The vendor's converter is measured on so many records at most: it is slow."""


def _decompress(path: Path, _: Path) -> int:
    """The floor: zstd to nothing."""
    with open(path, "rb") as raw:
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        while reader.read(1 << 20):
            pass
    return 0


def _to_numpy(path: Path, _: Path) -> int:
    """The vendor's reader, in chunks."""
    import databento

    for _ in databento.DBNStore.from_file(path).to_ndarray(count=1_000_000):
        pass
    return 0


def _our_ingest(path: Path, folder: Path) -> int:
    """`mbo ingest` of the one file with one worker, in an empty lake."""
    from pipeline.catalog import LakeCatalog
    from pipeline.config import Settings
    from pipeline.ingest.stage import INGEST
    from pipeline.progress import Quiet
    from pipeline.runner import run_stage
    from pipeline.schedule import RunOptions
    from pipeline.stage import Selection
    from pipeline.storage import lake_lock

    settings = Settings().with_values(raw={"paths": (str(path),)})
    lake = Path(tempfile.mkdtemp(dir=folder))
    with lake_lock(lake):
        catalog = LakeCatalog(lake)
        summary = run_stage(INGEST, catalog, settings, Selection(), RunOptions(workers=1), Quiet())
    if summary.failed:
        raise RuntimeError(summary.failed)
    return sum(file.stat().st_size for file in (lake / "mbo").rglob("*.parquet"))


def _vendor_parquet(path: Path, folder: Path) -> int:
    """The vendor's converter, prices fixed-point: its fastest way."""
    import databento

    out = folder / "vendor.parquet"
    databento.DBNStore.from_file(path).to_parquet(out, price_type="fixed", map_symbols=False)
    return out.stat().st_size


INGEST = "`mbo ingest`"
VENDOR_PARQUET = "databento to_parquet"
WORKS: dict[str, Callable[[Path, Path], int]] = {
    "zstd to nothing (the floor)": _decompress,
    "databento to_ndarray": _to_numpy,
    INGEST: _our_ingest,
    VENDOR_PARQUET: _vendor_parquet,
}
FLOOR, *_ = WORKS


def _warm(work: str, path: Path, folder: Path) -> None:
    """Import and compile."""
    if work == INGEST:
        from pipeline.ingest import stage

        stage.INGEST.warm()
        _our_ingest(path, folder)
    elif work != FLOOR:
        import databento  # noqa: F401


def _child(work: str, path: Path, folder: Path, small: Path) -> None:
    """One work in this process; prints what it took as JSON."""
    _warm(work, small, folder)
    cpu, wall = time.process_time(), time.perf_counter()
    written = WORKS[work](path, folder)
    taken = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    taken["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    note = f"{written / path.stat().st_size:.2f} bytes out for each in" if written else ""
    print(json.dumps({**taken, "note": note}))


def _run(work: str, workload: Workload, folder: Path, small: Path) -> Figure:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "benchmarks.ingest", work]
        command += [str(workload.path), scratch, str(small)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Figure(work, workload.records, **found)


def measure(records: int, folder: Path) -> list[Report]:
    """The floor first, then the other works; the best of several rounds of each."""
    day = find_real_day()
    small = write_file(folder / "small", min(records, 20_000), day=day)
    part = write_file(folder / "part", min(records, VENDOR_RECORDS), day=day)
    whole = write_file(folder / "whole", records, day=day)
    best: dict[str, Figure] = {}
    for _ in range(ROUNDS):
        for work in WORKS:
            workload = part if work == VENDOR_PARQUET else whole
            figure = _run(work, workload, folder, small.path)
            best[work] = min(best.get(work, figure), figure, key=lambda f: f.seconds)
    return [Report(f"{records:,} MBO records, {whole.name}, one worker", list(best.values()))]


def main(arguments: list[str]) -> None:
    """The child's side of :func:`measure`."""
    work, *paths = arguments
    _child(work, *map(Path, paths))


if __name__ == "__main__":
    main(sys.argv[1:])
