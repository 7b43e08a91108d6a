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
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import databento_dbn as dbn
import numpy as np
import numpy.typing as npt
import zstandard

from benchmarks.streams import Generator
from pipeline.roots import ROOT

DATASET: Final = "XNAS.ITCH"
DAY: Final = date(2025, 5, 1)
_OPEN_NS: Final = 1_746_106_200 * 10**9
"""13:30 UTC on that day."""
_HOURS_NS: Final = int(6.5 * 3600) * 10**9
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


def one_symbol(number: int, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A clear and a legal stream of a symbol, spread over the trading day."""
    rng = np.random.default_rng(number)
    stream = Generator(live_orders=min(3000, 8 + count // 4), seed=number + 1).block(count - 1)
    records = np.zeros(count, dtype)
    records["length"], records["rtype"] = dtype.itemsize // 4, 160
    records["publisher_id"], records["instrument_id"] = 2, number + 1
    first, rest = records[:1], records[1:]
    for name in ("order_id", "price", "size", "sequence", "flags"):
        rest[name] = getattr(stream, name)
    rest["action"] = stream.action.view("S1")
    rest["side"] = stream.side.view("S1")
    events = np.concatenate([[0], np.cumsum(stream.flags[:-1] >= 128)])
    times = np.sort(rng.integers(_OPEN_NS, _OPEN_NS + _HOURS_NS, int(events[-1]) + 1))
    rest["ts_recv"] = times[events]
    first["ts_recv"], first["action"], first["side"] = _OPEN_NS - 10**12, b"R", b"N"
    first["price"], first["flags"] = np.iinfo(np.int64).max, 128
    records["ts_event"] = records["ts_recv"] - 20_000
    return records


def day_of(counts: Sequence[int]) -> npt.NDArray[Any]:
    """All symbols' records, by time; the records of an event stay together."""
    dtype = np.dtype(dbn.MBOMsg._dtypes)  # noqa: SLF001 - no public way
    records = np.concatenate([one_symbol(i, int(n), dtype) for i, n in enumerate(counts)])
    order = np.argsort(records["ts_recv"], kind="stable")
    return records[order]


def write(path: Path, symbols: Sequence[str], records: npt.NDArray[Any]) -> None:
    """The day as a DBN file, with mappings of its symbols."""
    spans = [
        SimpleNamespace(start_date=DAY, end_date=DAY + timedelta(days=1), symbol=str(i + 1))
        for i in range(len(symbols))
    ]
    midnight = _OPEN_NS // (86_400 * 10**9) * 86_400 * 10**9
    header = dbn.Metadata(
        dataset=DATASET,
        start=midnight,
        end=midnight + 86_400 * 10**9,
        stype_in=dbn.SType.RAW_SYMBOL,
        stype_out=dbn.SType.INSTRUMENT_ID,
        schema=dbn.Schema.MBO,
        symbols=list(symbols),
        partial=[],
        not_found=[],
        mappings=[
            SimpleNamespace(raw_symbol=name, intervals=[span])
            for name, span in zip(symbols, spans, strict=True)
        ],
        ts_out=False,
        version=3,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    compressor = zstandard.ZstdCompressor(level=1)
    with open(path, "wb") as file, compressor.stream_writer(file) as out:
        out.write(bytes(header.encode()))
        for start in range(0, len(records), 1 << 20):
            out.write(records[start : start + (1 << 20)].tobytes())


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
        write(raw, names(symbols), day_of(counts.tolist()))
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
