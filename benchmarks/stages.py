"""Time and peak memory of each stage on one file, beside plain decompression of that file.

    python benchmarks/stages.py data/sample/raw/.../sim-mdp3-20250602.mbo.dbn.zst
    python benchmarks/stages.py --records 5000000        # writes a simulated day first

Every stage runs as a process of its own on one worker, so that its peak memory is its own; the
floor (zstd to nothing) runs before and after, since a shared machine drifts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOOR = """
import sys, zstandard
with open(sys.argv[1], "rb") as raw:
    reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    while reader.read(1 << 20):
        pass
"""


def measure(arguments: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MiB of a command; stops the benchmark if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(arguments)}: failed")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


MBO = [sys.executable, "-m", "pipeline.cli"]


def simulate(folder: Path, records: int) -> Path:
    """The busiest MBO file of one simulated session of about that many records."""
    sample = ["sample", "--out", str(folder), "--days", "1", "--records", str(records)]
    subprocess.run([*MBO, *sample, "--quiet"], check=True)
    return max(folder.rglob("*.mbo.dbn.zst"), key=lambda path: path.stat().st_size)


def warm(folder: Path, strategy: str) -> None:
    """Compile all kernels on a small day, so that no stage is timed with them."""
    common = ["--lake", str(folder / "lake"), "--workers", "1", "--quiet"]
    measure([*MBO, "ingest", str(simulate(folder / "raw", 5000).parent), *common])
    for stage in (["features"], ["backtest", strategy, "--partial"]):
        measure([*MBO, *stage, *common])


def processor() -> str:
    """Model name of the machine's processor and the cores this process may use."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--strategy", default="mean_reversion")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MBO_RAW__PATH"] = str(folder / "nothing")
        warm(folder / "warm", options.strategy)
        file = options.file or simulate(folder / "raw", options.records)
        lake = folder / "lake"
        common = ["--lake", str(lake), "--workers", "1", "--quiet"]
        floor = [sys.executable, "-c", FLOOR, str(file)]
        beside = [str(path) for path in sorted(file.parent.glob("*.definition.dbn.zst"))]
        measure(floor)
        rows = [("zstd to nothing", *measure(floor))]
        rows.append(("ingest", *measure([*MBO, "ingest", str(file), *beside, *common])))
        backtest = ["backtest", options.strategy, "--partial", "--fees", "1"]
        rows += [
            (stage[0], *measure([*MBO, *stage, *common]))
            for stage in (["book"], ["features"], backtest)
        ]
        rows.append(("zstd again", *measure(floor)))
        records = sum(
            item["rows"]
            for path in (lake / "_commits" / "ingest").rglob("*.json")
            for item in json.loads(path.read_text())["outputs"]
            if item["table"] == "mbo"
        )
    base = (rows[0][1] + rows[-1][1]) / 2
    if options.json:
        keys = ("work", "wall_s", "cpu_s", "peak_mib")
        result = [dict(zip(keys, row, strict=True)) for row in rows]
        print(json.dumps({"records": records, "file": file.name, "rows": result}, indent=1))
        return
    print(f"{file.name}: {records:,} records; {processor()}")
    print("| work | wall s | x floor | M records/s | CPU s | peak MiB |")
    print("|---|---|---|---|---|---|")
    for work, wall, cpu, peak in rows:
        rate = records / wall / 1e6
        print(f"| {work} | {wall:.2f} | {wall / base:.2f} | {rate:.2f} | {cpu:.2f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
