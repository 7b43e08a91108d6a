"""The self-check: a market, the whole pipeline, and one check after the other.

Commands run as people give them, a process each, in folders of their own.  What they made is then
looked at with other means: the vendor's rows, fractions, another lake.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import zstandard

from pipeline.errors import BAD_REQUEST, DIFFERENCES, OK, MboError
from pipeline.lake import Lake, open_lake
from pipeline.selfcheck.accounts import audit_run
from pipeline.selfcheck.commands import Commands
from pipeline.selfcheck.evidence import Evidence
from pipeline.selfcheck.models import audit_model
from pipeline.selfcheck.prefix import LastFile, compare
from pipeline.units import F_LAST

STRATEGIES: Final = ("mean_reversion", "market_making")
"""One that decides by features, one that is called at events."""
MODEL: Final = "linear"
DAYS: Final = 2
RECORDS: Final = 150_000
"""Of a session of the sample."""
SPEED_RECORDS: Final = 1_000_000
PASSES: Final = 3
SPEEDS: Final = {"ingest": 0.1, "book": 0.055}
"""Least records a CPU second of a stage, as a share of what decompression alone does.  Measured on
two cores: 0.16 to 0.20 and 0.09 to 0.12, idle and with four other processes; a third of that fails.
"""
Tell = Callable[[str], None]


class SelfCheck:
    """One self-check in a folder.

    Parameters
    ----------
    raw
        A raw folder to work on; the sample market is written where there is none.
    workers
        Processes of the second of two runs that must give the same bytes; the first has one.
    fees
        Of the backtests, where the folder is not the sample's.
    """

    def __init__(
        self, folder: Path, raw: Path | None, tell: Tell, *, workers: int = 2, fees: str = "1"
    ) -> None:
        self.commands = Commands(folder)
        self.folder = folder
        self.given = raw
        self.raw = raw or folder / "raw"
        self.lake = folder / "lake"
        self.tell = tell
        self.workers = max(2, workers)
        self.money = ["--fees", fees, "--partial"] if raw else []
        about = str(raw) if raw else f"{DAYS} sessions of about {RECORDS:,} records"
        self.evidence = Evidence(about, simulated=raw is None)
        self.no_model = ""
        """Why there is none."""

    def run(self) -> Evidence:
        """All checks; the first that cannot be made ends those that rest on it.

        Raises
        ------
        MboError
            If there is no lake to look at.
        """
        started = time.monotonic()
        checks: list[tuple[str, Callable[[], tuple[bool | None, str]]]] = [
            ("every record arrived", self._records),
            ("books equal the vendor's rows", self._vendor),
            ("books know every order, fills hit the first", self._quality),
            ("features know no future", self._features),
            ("... and the check would see it", self._control),
            ("models predict later sessions only", self._models),
            ("accounts add up", self._accounts),
            ("a cut file changes nothing before the cut", self._prefix),
            (f"same bytes with {self.workers} workers", self._bytes),
            ("what is done is not done again", self._again),
        ]
        if not self.given:
            checks.append(("as fast as it should be", self._speed))
        if not self.given:
            self.tell("writing the sample market")
            self._checked("sample", "--out", self.raw, "--days", DAYS, "--records", RECORDS)
        self.tell("the pipeline: ingest, books, features, a model, two backtests")
        self._pipeline(self.raw, self.lake, 1)
        for name, check in checks:
            self.tell(name)
            self.evidence.look(name, check)
        self.evidence.seconds = time.monotonic() - started
        return self.evidence

    # --- the pipeline -------------------------------------------------------------------------

    def _checked(self, *arguments: str | int | Path) -> None:
        done = self.commands.run(*map(str, arguments), "--quiet")
        if done.code != OK:
            raise MboError(f"`mbo {' '.join(map(str, arguments))}`: {done.why}")

    def _pipeline(self, raw: Path, lake: Path, workers: int) -> None:
        common = ["--lake", str(lake), "--workers", str(workers)]
        self._checked("ingest", raw, *common)
        self._checked("features", *common)
        self._train(common)
        for name in STRATEGIES:
            self._checked("backtest", name, *self.money, *common)

    def _train(self, common: list[str]) -> None:
        """A model; without one where there cannot be any: a single session, or no scikit-learn."""
        if self.no_model:
            return
        done = self.commands.run("train", MODEL, "--no-backtest", "--quiet", *common)
        if done.code == BAD_REQUEST and (self.given or not find_spec("sklearn")):
            self.no_model = done.why
        elif done.code != OK:
            raise MboError(f"`mbo train {MODEL}`: {done.why}")

    def _open(self) -> Lake:
        return open_lake(self.lake)

    # --- checks -------------------------------------------------------------------------------

    def _records(self) -> tuple[bool, str]:
        files = sorted(self.raw.rglob("*.mbo.dbn*"))
        held = sum(_records_in(path) for path in files)
        sources = self._open().scan("sources").collect()
        mine = sources.filter(sources["schema"] == "mbo")
        rejected = sum(
            row["rejected"]
            for row in mine.unique("source", maintain_order=True).iter_rows(named=True)
        )
        rows = sum(item.rows for item in self._open().partitions("mbo"))
        text = f"{held:,} records in {len(files)} files, {rows:,} rows, {rejected:,} rejected"
        return held == rows + rejected, text

    def _vendor(self) -> tuple[bool | None, str]:
        done = self.commands.run("verify", "--lake", self.lake, "--json")
        if done.code == BAD_REQUEST and self.given:
            return None, "the folder has no rows of the vendor's beside its MBO"
        if done.code not in (OK, DIFFERENCES):
            return False, done.why
        return done.code == OK, str(done.json["summary"]).partition("  ")[0]

    def _quality(self) -> tuple[bool | None, str]:
        rows = self._open().scan("quality").collect()
        sums = {
            name: int(rows[name].sum()) for name in rows.columns if rows[name].dtype.is_integer()
        }
        unknown = sum(sums[name] for name in ("orphan_cancels", "orphan_modifies", "orphan_fills"))
        text = (
            f"{sums['records']:,} records: {unknown} of unknown orders, {sums['duplicate_adds']} "
            f"added twice; {sums['fifo_consistent']:,} of {sums['fifo_fills']:,} fills hit the "
            "first in the queue"
        )
        if self.given:
            # Real days begin in the middle and have implied fills: `docs/quality.md`.
            return None, text
        in_order = sums["fifo_consistent"] == sums["fifo_fills"]
        return unknown == 0 and sums["duplicate_adds"] == 0 and in_order, text

    def _features(self) -> tuple[bool, str]:
        done = self.commands.run("check", "--lake", self.lake, "--json")
        if done.code not in (OK, DIFFERENCES):
            return False, done.why
        [report] = done.json
        failed = [item["name"] for item in report["findings"] if not item["passed"]]
        text = f"{len(report['findings'])} features on {report['rows']:,} rows, cut and scrambled"
        return not failed, text + (f"; FAILED: {', '.join(failed)}" if failed else "")

    def _control(self) -> tuple[bool, str]:
        label = next(
            name
            for name in self._open().scan("labels").collect_schema().names()
            if name.startswith("y_")
        )
        done = self.commands.run("check", label, "--lake", self.lake, "--json")
        if done.code not in (OK, DIFFERENCES):
            return False, done.why
        causal = done.json[0]["findings"][0]["causal"]
        return causal is False, f"the label {label}, which looks ahead, is found out"

    def _models(self) -> tuple[bool | None, str]:
        if self.no_model:
            return None, self.no_model.removeprefix("mbo: ")
        lake = self._open()
        audit = audit_model(lake.model(MODEL))
        if self.given and not audit.sessions and not audit.differences:
            return None, "no session has a complete one before it: nothing is predicted"
        text = (
            f"{audit.rows:,} predictions of {audit.sessions} sessions, each by a model of earlier "
            f"ones; {audit.models} models read again predict the same bits"
        )
        if audit.differences:
            text = audit.differences[0]
        return not audit.differences and audit.rows > 0, text

    def _accounts(self) -> tuple[bool, str]:
        lake = self._open()
        audits = [audit_run(lake, run_id) for run_id in lake.run_ids()]
        differences = [line for audit in audits for line in audit.differences]
        fills, marks = sum(a.fills for a in audits), sum(a.marks for a in audits)
        text = (
            f"{fills:,} fills make every position, cash and equity of {marks:,} marks, "
            f"in {len(audits)} runs"
        )
        if differences:
            text = f"{len(differences):,} differ, first {differences[0]}"
        return not differences and fills > 0, text

    def _prefix(self) -> tuple[bool, str]:
        last = LastFile(self.raw)
        ended = (last.records["flags"][:-1] & F_LAST) != 0
        middle = len(ended) * 5 // 8
        # In the middle of an event, the hardest place there is.
        count = next((n + 1 for n in range(middle, len(ended)) if not ended[n]), middle)
        raw = last.cut(self.folder / "cut" / "raw", count)
        for path in (*raw.rglob("*.mbp-*.dbn*"), *raw.rglob("*.trades.dbn*")):
            path.unlink()
        lake = self.folder / "cut" / "lake"
        self._pipeline(raw, lake, 1)
        found = compare(self._open(), open_lake(lake))
        fills = ", ".join(f"{count} fills of {name}" for name, count in found.fills.items())
        rows = f"{found.rows:,} rows of features, {found.predictions:,} of predictions"
        text = f"cut within an event: {rows}, {fills} are the same"
        if found.differences:
            text = found.differences[0]
        return not found.differences and found.rows > 0, text

    def _bytes(self) -> tuple[bool, str]:
        other = self.folder / "again"
        self._pipeline(self.raw, other, self.workers)
        one, two = _hashes(self.lake), _hashes(other)
        unequal = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
        text = f"{len(one):,} files, each the same to the byte"
        if unequal:
            text = f"{len(unequal):,} of {len(one):,} files differ, first {unequal[0]}"
        return not unequal, text

    def _again(self) -> tuple[bool, str]:
        stages = self.commands.stages("features", "--lake", self.lake)
        done = sum(stage["done"] for stage in stages)
        kept = sum(stage["up_to_date"] for stage in stages)
        return done == 0 and kept > 0, f"{kept:,} tasks up to date, {done} done again"

    def _speed(self) -> tuple[bool, str]:
        """CPU time against CPU time, the best of passes that take turns: what else the machine
        does takes the processor away from both, and stops a clock on the wall for neither.
        """
        raw, lake = self.folder / "speed" / "raw", self.folder / "speed" / "lake"
        size = ["--days", "1", "--records", str(SPEED_RECORDS), "--symbols", "SIMM5"]
        self._checked("sample", "--out", raw, *size)
        file = max(raw.rglob("*.mbo.dbn.zst"), key=lambda path: path.stat().st_size)
        common = ["--lake", str(lake), "--workers", "1", "--force"]
        alone, taken = [], dict.fromkeys(SPEEDS, float("inf"))
        for _ in range(PASSES):
            alone.append(_decompress(file))
            done = self.commands.stages("ingest", file, *common)
            done += self.commands.stages("book", *common)
            for stage in done:
                if stage["stage"] in taken and stage["done"]:
                    name = stage["stage"]
                    taken[name] = min(taken[name], stage["cpu_seconds"])
        return judged_speeds(_records_in(file), min(alone), taken)


def _records_in(path: Path) -> int:
    """MBO records in a DBN file, by its length."""
    data = _content(path)
    start = 8 + int.from_bytes(data[4:8], "little")
    return (len(data) - start) // 56


def _content(path: Path) -> bytes:
    with open(path, "rb") as file:
        if path.suffix != ".zst":
            return file.read()
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        content: bytes = reader.read()
        return content


def judged_speeds(records: int, alone: float, taken: Mapping[str, float]) -> tuple[bool, str]:
    """Whether stages are as fast as :data:`SPEEDS` asks; CPU seconds by stage, and of
    decompression alone.
    """
    shares = {name: alone / seconds for name, seconds in taken.items()}
    text = "; ".join(
        f"{name} {records / taken[name] / 1e6:.2f} M records a CPU second, {shares[name]:.3f} of "
        f"decompression alone (at least {least})"
        for name, least in SPEEDS.items()
    )
    return all(shares[name] >= least for name, least in SPEEDS.items()), text


def _decompress(path: Path) -> float:
    """CPU seconds."""
    started = time.process_time()
    _content(path)
    return time.process_time() - started


def _hashes(lake: Path) -> dict[str, str]:
    """Hash of every Parquet file of a lake, by its path there."""
    found = {}
    for path in sorted(lake.rglob("*.parquet")):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[str(path.relative_to(lake))] = digest
    return found
