"""Peak memory of `mbo features` on one long session: the default set, and the wide tier-1 list.

    python -m benchmarks.wide_session [RECORDS] [SET ...]     # sets: default, bench

A file of synthetic records with the action mix of real ES goes through ingest and book; 13.5 M
records make 10.2 M rows of the book in one session of 16 hours.  Each run is a process of its own
with one thread, so that its peak memory is its own.  The default set is computed a second time, by
two workers and with a sixteenth of the memory for values in hand: the files must be the same to
the byte.  The tier-1 list of that length writes 11 GB.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from benchmarks.feature_list import TIER1
from benchmarks.features import ONE_THREAD, write_sets
from benchmarks.figures import MBO, Figure, Report, decompress, run_process
from benchmarks.mbo_files import write_file
from benchmarks.stages import ALONE
from features.sets import DEFAULT_SET

RECORDS: Final = 13_500_000
SETS: Final = ("default", "bench")
LITTLE: Final = {"MBO_FEATURES__MEMORY": "32"}


def digest(lake: Path, name: str) -> str:
    """Hash of a set's features and labels."""
    whole = hashlib.sha256()
    for table in ("features", "labels"):
        for path in sorted((lake / table / f"set={name}").rglob("*.parquet")):
            with open(path, "rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def session_report(records: int, sets: list[str], folder: Path) -> Report:
    """All figures; files are written to ``folder``."""
    file, lake = write_file(folder / "raw", records), folder / "lake"
    # The synthetic day begins with neither a clear nor a snapshot.
    settings = write_sets(folder, '[book]\nassume_valid_after = "1s"\n')
    common = ["--lake", str(lake), "--quiet", "--config", str(settings)]
    environment = ALONE | ONE_THREAD
    for stage in (["ingest", str(file.path)], ["book"]):
        run_process([*MBO, *stage, "--workers", "1", *common], **environment)
    rows = sum(pq.read_metadata(path).num_rows for path in (lake / "book").rglob("*.parquet"))
    report = Report(f"one session of {rows:,} rows, {file.name}, one thread", unit="values")
    widths = {
        "default": len(DEFAULT_SET["features"]) + len(DEFAULT_SET["labels"]),
        "bench": len(TIER1),
    }
    floor = rows * widths[sets[0]]
    report.add(Figure("zstd to nothing (the floor)", floor, decompress(file.path)))
    for name in sets:
        run = [*MBO, "features", "--set", name, "--force", *common, "--workers"]
        values = rows * widths[name]
        work = f"`mbo features --set {name}`, {widths[name]} columns"
        report.add(Figure(work, values, *run_process([*run, "1"], **environment)))
        if name == "default":
            first = digest(lake, name)
            run_process([*run, "2"], **environment, **LITTLE)
            same = digest(lake, name) == first
            what = "the same bytes" if same else "OTHER BYTES"
            report.remarks = f"two workers with 32 MiB for values in hand: {what}"
    return report


def main(arguments: list[str]) -> None:
    """Print the figures."""
    records = int(arguments[0]) if arguments else RECORDS
    with tempfile.TemporaryDirectory(prefix="mbo-bench-") as folder:
        print(session_report(records, list(arguments[1:]) or list(SETS), Path(folder)).text())


if __name__ == "__main__":
    main(sys.argv[1:])
