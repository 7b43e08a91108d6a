"""A day of very many symbols: ingest and books within bounded memory.

    python -m benchmarks.many_symbols FOLDER [--symbols 11000] [--records 10000000]

writes a DBN file of skewed symbols into the folder, runs `mbo ingest` and `mbo book` on it, each
in a process of its own, and prints records a second and the process's peak memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.symbol_days import Day, day_of, write
from pipeline.roots import ROOT

DAY: Final = Day("XNAS.ITCH", 2, 1_746_106_200 * 10**9, int(6.5 * 3600) * 10**9)
"""From 13:30 UTC on 2025-05-01."""
_SKEW: Final = 1.1
_ODD_NAMES: Final = ("BRK/B", "NULL", "A B", "..")


def names(count: int) -> list[str]:
    """Symbols, some of them awkward in paths."""
    plain = (f"{a}{b}{c}{d}" for a in _LETTERS for b in _LETTERS for c in _LETTERS for d in "QX")
    return [*_ODD_NAMES, *(next(plain) for _ in range(count - len(_ODD_NAMES)))]


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def sizes(symbols: int, records: int, seed: int = 1) -> npt.NDArray[np.int64]:
    """Records of each symbol: by rank like 1 / (rank + 3)^1.1, dealt at random; two at least."""
    weights = 1.0 / (np.arange(symbols) + 3.0) ** _SKEW
    counts = np.maximum(2, (weights / weights.sum() * records).astype(np.int64))
    np.random.default_rng(seed).shuffle(counts)
    return counts


def run(arguments: Sequence[str | Path], **environment: str) -> tuple[float, float, float]:
    """A command in a process of its own: wall and CPU seconds, and peak memory in MiB."""
    code = (
        "import resource, sys, subprocess\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)\n"
        "sys.exit(done.returncode)\n"
    )
    command = [sys.executable, "-m", "pipeline.cli", *map(str, arguments)]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
    cpu, peak = done.stdout.split()
    return time.perf_counter() - started, float(cpu), float(peak) / 1024


def measure(folder: Path, symbols: int, records: int) -> Iterator[str]:
    """Lines of figures; the files are left in the folder."""
    raw = folder / "raw" / "day.mbo.dbn.zst"
    counts = sizes(symbols, records)
    if not raw.exists():
        write(raw, names(symbols), day_of(counts.tolist(), DAY), DAY)
    total = int(counts.sum())
    yield (
        f"{symbols:,} symbols, {total:,} records; largest {counts.max():,}, median "
        f"{int(np.median(counts)):,}, smallest {counts.min():,}"
    )
    for stage in ("ingest", "book"):
        arguments = [stage, *([raw] if stage == "ingest" else []), "--lake", folder / "lake"]
        wall, cpu, peak = run([*arguments, "--workers", "1", "--quiet"])
        rate = total / cpu / 1e6
        yield (
            f"{stage:<7} {wall:6.1f} s wall, {cpu:6.1f} s CPU, {rate:5.2f} M records/s CPU, "
            f"peak {peak:,.0f} MiB"
        )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--symbols", type=int, default=11_000)
    parser.add_argument("--records", type=int, default=10_000_000)
    given = parser.parse_args()
    for line in measure(given.folder, given.symbols, given.records):
        print(line, flush=True)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"the generator itself: peak {own:,.0f} MiB")


if __name__ == "__main__":
    main()
