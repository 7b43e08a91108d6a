"""Faults in a copy of the book's kernels: `mbo verify` on a small sample must find each.

The copy runs interpreted, so that nothing is compiled anew.  A fault in what the `book` stage
and the rebuild share shows against the simulator's own MBP-10; one in the stage alone shows where
the stored tables are put beside the rebuild.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DIFFERENCES
from tests.e2e.running import mbo

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pipeline", "features", "strategies")


@dataclass(frozen=True)
class Fault:
    name: str
    file: str
    """In pipeline/book."""
    old: str
    new: str
    shows: str
    """Rows in which it must show: the vendor's, or of a stored table."""
    quick: bool = False
    """In the default suite."""

    @property
    def path(self) -> Path:
        return Path("pipeline/book") / self.file


FAULTS = [
    Fault(
        "sides swapped",
        "orders.py",
        "    if side == 66:  # B\n        return np.int64(BID)\n    if side == 65:  # A",
        "    if side == 65:\n        return np.int64(BID)\n    if side == 66:",
        "mbp-10",
        quick=True,
    ),
    Fault(
        "a snapshot's orders are not taken in",
        "orders.py",
        "    if flags & (F_TOB | F_MBP) or",
        "    if flags & (F_TOB | F_MBP | F_SNAPSHOT) or",
        "mbp-10",
    ),
    Fault(
        "a modify to another price stays where it was",
        "orders.py",
        "    move(book, slot, side, price, size, entry)",
        "    move(book, slot, side, old_price, size, entry)",
        "mbp-10",
    ),
    Fault(
        "a smaller size is not taken over",
        "orders.py",
        "            resize(book, slot, size)\n",
        "",
        "mbp-10",
    ),
    Fault(
        "an order that leaves leaves its size behind",
        "queues.py",
        "TOTAL] -= orders[",
        "TOTAL] -= 0 * orders[",
        "mbp-10",
    ),
    Fault(
        "an order that leaves still counts",
        "queues.py",
        "COUNT] = count\n",
        "COUNT] = count + 1\n",
        "mbp-10",
    ),
    Fault(
        "the best ask is the highest",
        "ladder.py",
        "    return price ^ -side",
        "    return price",
        "mbp-10",
    ),
    Fault(
        "an emptied level stays",
        "queues.py",
        "    if count == 0:\n        close_level(book, level)\n        return\n",
        "",
        "mbp-10",
    ),
    Fault(
        "fills applied to the book",
        "kernel.py",
        "    ob.note_fill(book, slot, np.int64(records.size[i]))",
        "    ob.remove(book, slot)",
        "stored book",
        quick=True,
    ),
    Fault(
        "a row only where something traded",
        "kernel.py",
        "        if changed or validity_changed or cursor",
        "        if validity_changed or cursor",
        "stored book",
    ),
    Fault(
        "of several changed levels only the best is read again",
        "kernel.py",
        "key if clean else min(key, cursor[tape.LOW + side])",
        "key if clean else max(key, cursor[tape.LOW + side])",
        "stored book",
    ),
    Fault(
        "levels that opened or closed are not marked",
        "kernel.py",
        "    if change.new_side != ob.NO_SIDE and (",
        "    if change.new_side == ob.NO_SIDE and (",
        "stored book",
    ),
    Fault(
        "the bid beside a print is the ask",
        "kernel.py",
        "    prints.bid_px[k] = ob.best_price(book, 0)",
        "    prints.bid_px[k] = ob.best_price(book, 1)",
        "stored trades",
    ),
    Fault(
        "a locked book counted as crossed or normal",
        "kernel.py",
        "    if bid < ask:\n        return np.int64(tape.NORMAL)",
        "    if bid > ask:\n        return np.int64(tape.NORMAL)",
        "stored book",
    ),
]
IDS = [fault.name.replace(" ", "-") for fault in FAULTS]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One instrument, a Sunday evening and a Monday: 2,400 records."""
    folder = tmp_path_factory.mktemp("small")
    chosen = ("--symbols", "SIMM5", "--days", "1", "--records", "1500", "--seed", "3")
    mbo("sample", "--out", folder, *chosen, "--quiet").checked()
    return folder


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout to spoil; each test puts back what it changed."""
    folder = tmp_path_factory.mktemp("faulty")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def verify(checkout: Path, raw: Path) -> tuple[int, dict[str, Any]]:
    """`mbo verify` as the code of a checkout has it."""
    done = subprocess.run(
        # The hash of order ids wraps on purpose; only numpy's scalars speak of it.
        [sys.executable, "-W", "ignore", "-m", "pipeline.cli", "verify", str(raw), "--json"],
        cwd=checkout,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def differing(report: dict[str, Any]) -> set[str]:
    """Of which rows there are some that differ."""
    return {one["rows_of"] for one in report["comparisons"] if one["compared"] != one["equal"]}


def planted_fault_is_found(checkout: Path, raw: Path, fault: Fault) -> None:
    path = checkout / fault.path
    text = path.read_text()
    assert text.count(fault.old) == 1, "the code has changed: plant the fault anew"
    path.write_text(text.replace(fault.old, fault.new))
    try:
        code, report = verify(checkout, raw)
    finally:
        path.write_text(text)
    assert code == DIFFERENCES
    assert fault.shows in differing(report)
    assert report["differences"]
    if fault.shows != "mbp-10":
        assert "mbp-10" not in differing(report), "the rebuild shares nothing with the stage here"


def test_the_faults_still_fit_the_code() -> None:
    """Planting must not fail silently when code moves."""
    assert len(FAULTS) >= 12
    for fault in FAULTS:
        assert (ROOT / fault.path).read_text().count(fault.old) == 1, fault.name


@pytest.mark.slow
def test_without_a_fault_nothing_differs(copy: Path, raw: Path) -> None:
    code, report = verify(copy, raw)
    assert (code, differing(report)) == (0, set())
    assert {one["rows_of"] for one in report["comparisons"]} >= {fault.shows for fault in FAULTS}


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.quick], ids=lambda f: f.name)
def test_a_planted_fault_is_found(copy: Path, raw: Path, fault: Fault) -> None:
    planted_fault_is_found(copy, raw, fault)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [f for f in FAULTS if not f.quick], ids=lambda f: f.name)
def test_every_planted_fault_is_found(copy: Path, raw: Path, fault: Fault) -> None:
    planted_fault_is_found(copy, raw, fault)
