"""Speed of ingest, file to Parquet, against plain zstd decompression of the same file in one run.

``python -m benchmarks.ingest [RECORDS]``.  Each work runs in a process of its own, so that its
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

from benchmarks.figures import Figure
from benchmarks.mbo_files import Workload, find_real_day, write_file
from benchmarks.stages import processor

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
    from pipeline.runner import RunOptions, run_stage
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


WORKS: dict[str, Callable[[Path, Path], int]] = {
    "zstd decompression": _decompress,
    "databento to_ndarray": _to_numpy,
    "ingest": _our_ingest,
    "databento to_parquet": _vendor_parquet,
}
FLOOR, *_ = WORKS


def _warm(work: str, path: Path, folder: Path) -> None:
    """Import and compile."""
    if work == "ingest":
        from pipeline.ingest.stage import INGEST

        INGEST.warm()
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
        command = [sys.executable, "-m", "benchmarks.ingest", "--child", work]
        command += [str(workload.path), scratch, str(small)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Figure(work, workload.records, **found)


def measure(records: int = 5_000_000, folder: Path | None = None) -> list[Figure]:
    """The floor first, then the other works; the best of several rounds of each."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root, day = Path(name), find_real_day()
        small = write_file(root / "small", min(records, 20_000), day=day)
        part = write_file(root / "part", min(records, VENDOR_RECORDS), day=day)
        whole = write_file(root / "whole", records, day=day)
        best: dict[str, Figure] = {}
        for _ in range(ROUNDS):
            for work in WORKS:
                workload = part if work == "databento to_parquet" else whole
                figure = _run(work, workload, root, small.path)
                best[work] = min(best.get(work, figure), figure, key=lambda f: f.seconds)
    return list(best.values())


def main(arguments: list[str]) -> None:
    """Print rates, and times as multiples of the floor's."""
    if arguments[:1] == ["--child"]:
        work, *paths = arguments[1:]
        _child(work, *map(Path, paths))
        return
    records = int(arguments[0]) if arguments else 5_000_000
    floor, *others = measure(records)
    day = find_real_day()
    source = "synthetic records" if day is None else f"a real hour ({day.name}) repeated"
    print(f"{records:,} MBO records: {source}; one worker (two threads); {processor()}")
    print(f"{'work':22} {'M rec/s':>8} {'x floor':>8} {'CPU x':>6} {'peak MiB':>9}")
    for figure in (floor, *others):
        time_ratio = floor.rate / figure.rate
        cpu = (figure.cpu_seconds or 0.0) / figure.records
        cpu_ratio = cpu / ((floor.cpu_seconds or 1.0) / floor.records)
        print(
            f"{figure.work:22} {figure.rate / 1e6:8.2f} {time_ratio:8.2f} {cpu_ratio:6.2f} "
            f"{figure.peak_mib or 0:9.0f}  {figure.note}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
