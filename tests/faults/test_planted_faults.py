"""Checks that cannot fail show nothing: each fault planted here must make some test fail.

A copy of the code is changed in one place and the tests that claim to guard it run there,
interpreted, so that nothing is compiled anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pipeline", "features", "strategies", "sql", "tests", "docs")


@dataclass(frozen=True)
class Fault:
    name: str
    file: str
    old: str
    new: str
    tests: str
    """Arguments of pytest."""


BOOK = "tests/book/test_claims.py tests/book/test_claims_of_rows.py"
SIMULATOR = "tests/backtest/test_scenarios.py"
PLAIN = "tests/backtest/test_against_plain.py"
JOINT = "tests/backtest/test_joint.py tests/backtest/test_joint_against_plain.py"
FAULTS = [
    Fault(
        "fills applied to the book",
        "pipeline/book/kernel.py",
        "    ob.note_fill(book, slot, np.int64(records.size[i]))",
        "    ob.remove(book, slot)",
        BOOK,
    ),
    Fault(
        "R ignored",
        "pipeline/book/orders.py",
        "        clear(book)\n        return _change(CLEARED, nowhere)",
        "        return _change(CLEARED, nowhere)",
        BOOK,
    ),
    Fault(
        "sides swapped",
        "pipeline/book/orders.py",
        "    if side == 66:  # B\n        return np.int64(BID)\n    if side == 65:  # A",
        "    if side == 65:\n        return np.int64(BID)\n    if side == 66:",
        BOOK,
    ),
    Fault(
        "snapshot counted as flow",
        "pipeline/book/kernel.py",
        "            if flow and flags & F_SNAPSHOT == 0:",
        "            if flow:",
        BOOK,
    ),
    Fault(
        "F_LAST ignored",
        "pipeline/book/kernel.py",
        "            if records.flags[i - 1] & F_LAST == 0:\n                continue\n",
        "",
        BOOK,
    ),
    Fault(
        "a size increase keeps its place",
        "pipeline/book/orders.py",
        "        if size <= standing and (size",
        "        if (size > old_size) or (size",
        BOOK,
    ),
    Fault(
        "zones relative to the touch after the event",
        "pipeline/book/emit.py",
        "np.int64(key < cursor[tape.TOUCH + side])",
        "np.int64(key <= cursor[tape.TOUCH + side])",
        BOOK,
    ),
    Fault(
        "a doubtful book counted as valid",
        "pipeline/book/kernel.py",
        "    if flags & F_MAYBE_BAD_BOOK:\n        cursor[tape.BAD] = 1",
        "    if flags & F_MAYBE_BAD_BOOK:\n        cursor[tape.BAD] = 0",
        BOOK,
    ),
    Fault(
        "undefined prices kept as numbers",
        "pipeline/ingest/columns.py",
        '        return Spec(name, "price", np.dtype("i8"), UNDEF_PRICE)',
        '        return Spec(name, "price", np.dtype("i8"), None)',
        "tests/ingest/test_columns.py",
    ),
    Fault(
        "a cut file taken for a short day",
        "pipeline/ingest/dbn.py",
        "        if not fault and len(rest):",
        "        if not fault and len(rest) > 56:",
        "tests/ingest/test_reader.py",
    ),
    Fault(
        "session boundary at the wrong hour",
        "pipeline/calendar.toml",
        'zone = "America/Chicago"\nopen = "17:00"\nclose = "16:00"\nregular = ["08:30", "15:15"]',
        'zone = "America/Chicago"\nopen = "17:00"\nclose = "17:00"\nregular = ["08:30", "15:15"]',
        "tests/calendar",
    ),
    Fault(
        "a window sees later rows of its tie",
        "features/order_flow.py",
        "as_good, as_bad = price >= price0, price <= price0",
        "as_good, as_bad = price > price0, price <= price0",
        "tests/features/test_against_reference.py -k ofi",
    ),
    Fault(
        "fees earned instead of paid",
        "pipeline/backtest/ledger.py",
        "        return checked(self.cash + self.value(marks) - self.fees)",
        "        return checked(self.cash + self.value(marks) + self.fees)",
        "tests/backtest/test_ledger.py",
    ),
    Fault(
        "the profit of a short position has the wrong sign",
        "pipeline/backtest/ledger.py",
        "        top = self.multiplier.numerator * mark_2x * self.position",
        "        top = self.multiplier.numerator * mark_2x * abs(self.position)",
        "tests/backtest/test_ledger.py",
    ),
    Fault(
        "a mark taken before the fill that it follows",
        "pipeline/backtest/accounts.py",
        "        while self._marks and self._marks[0][st.M_FILLS] <= fills:",
        "        while self._marks and self._marks[0][st.M_FILLS] <= fills + 1:",
        "tests/backtest/test_accounts.py -k at_every_mark",
    ),
    Fault(
        "takers count as adversely selected makers",
        "pipeline/backtest/fill_figures.py",
        '        yield size.filter(maker & (pl.col(name) < 0)).sum().alias(f"{name}_adverse")',
        '        yield size.filter(pl.col(name) < 0).sum().alias(f"{name}_adverse")',
        "tests/backtest/test_metrics.py -k hand",
    ),
    Fault(
        "a mark on the full hour begins the next one",
        "pipeline/backtest/curve.py",
        '        hour_of(pl.col("ts").cast(pl.Int64) - 1, part.zone).alias("hour"),',
        '        hour_of(pl.col("ts").cast(pl.Int64), part.zone).alias("hour"),',
        "tests/backtest/test_metrics.py -k hand",
    ),
    Fault(
        "a cancel behind us moves us up",
        "pipeline/backtest/rules.py",
        "            and change.old_priority <= sim.own[row, st.O_MARKER]",
        "            and change.old_priority >= 0",
        "tests/backtest/test_fill_rules.py",
    ),
    Fault(
        "a fill of an order ahead fills us",
        "pipeline/backtest/rules.py",
        "            elif reading == st.EXACT:\n                i += 1\n                continue",
        "            elif reading == st.EXACT:\n                pass",
        "tests/backtest/test_fill_rules.py",
    ),
    Fault(
        "what is ahead is counted before the order arrives",
        "pipeline/backtest/venue.py",
        "        ahead, orders = book.levels[level, ob.TOTAL], book.levels[level, ob.COUNT]",
        "        ahead, orders = np.int64(0), book.levels[level, ob.COUNT]",
        PLAIN,
    ),
    Fault(
        "the same depth is taken twice",
        "pipeline/backtest/venue.py",
        "                sim.taken[slot] += size\n",
        "",
        SIMULATOR,
    ),
    Fault(
        "the rest of an IOC waits in the queue",
        "pipeline/backtest/arriving.py",
        "    return own[row, st.O_PRICE] == UNDEF_PRICE or tif == la.IOC or tif == la.FOK",
        "    return own[row, st.O_PRICE] == UNDEF_PRICE or tif == la.FOK",
        PLAIN,
    ),
    Fault(
        "an order to fill or kill is filled in part",
        "pipeline/backtest/arriving.py",
        "    if own[row, st.O_TIF] == la.FOK and available(sim, row) < remaining(sim, row):",
        "    if own[row, st.O_TIF] == la.FOK and available(sim, row) == 0:",
        SIMULATOR,
    ),
    Fault(
        "a post-only order takes",
        "pipeline/backtest/arriving.py",
        "    if own[row, st.O_POST_ONLY] != 0 and matching and available(sim, row) > 0:",
        "    if own[row, st.O_POST_ONLY] > 1 and matching and available(sim, row) > 0:",
        SIMULATOR,
    ),
    Fault(
        "a stop is judged by the last print alone",
        "pipeline/backtest/arriving.py",
        "        reached = meta[st.TRADE_HIGH] if side == ob.BID else meta[st.TRADE_LOW]",
        "        reached = meta[st.TRADE_PRICE]",
        SIMULATOR,
    ),
    Fault(
        "a stop is reached by prints of events before",
        "pipeline/backtest/arriving.py",
        "        hit = meta[st.E_TRADED] > 0 and ob.key_of(",
        "        hit = meta[st.TRADE_PRICE] != UNDEF_PRICE and ob.key_of(",
        SIMULATOR,
    ),
    Fault(
        "a larger size keeps its place",
        "pipeline/backtest/arriving.py",
        "    keeps = size <= own[row, st.O_SIZE] and price == own",
        "    keeps = price == own",
        PLAIN,
    ),
    Fault(
        "a pegged order stays behind",
        "pipeline/backtest/arriving.py",
        "            if _follow(sim, row):\n                _tell_place(sim, row)\n",
        "",
        SIMULATOR,
    ),
    Fault(
        "we trade with ourselves",
        "pipeline/backtest/arriving.py",
        "    if meta[st.N_LIVE + 1 - side] == 0:",
        "    if meta[st.N_LIVE + 1 - side] >= 0:",
        SIMULATOR,
    ),
    Fault(
        "a clear leaves our orders alone",
        "pipeline/backtest/rules.py",
        "    end_all(sim, np.int64(st.CANCELLED), np.int64(st.WHY_CLEARED), np.int64(-1))\n",
        "",
        SIMULATOR,
    ),
    Fault(
        "the pessimistic reading fills at the limit",
        "pipeline/backtest/rules.py",
        "            if reading == st.PESSIMISTIC:\n                return\n            reason",
        "            reason",
        PLAIN,
    ),
    Fault(
        "an execution fills more of ours than it was for",
        "pipeline/backtest/rules.py",
        "        left -= part\n        if not whole:\n            return\n\n\n@inner\ndef auction",
        "        if not whole:\n            return\n\n\n@inner\ndef auction",
        PLAIN,
    ),
    Fault(
        "an auction fills beyond its volume",
        "pipeline/backtest/rules.py",
        "            meta[st.E_AUCTION_USED + side] += part\n",
        "",
        PLAIN,
    ),
    Fault(
        "orders reach the venue at once",
        "pipeline/backtest/wire.py",
        "    due = max(time + latency(sim, np.int64(st.TO_VENUE), time), meta[st.CLOCK])",
        "    due = max(time, meta[st.CLOCK])",
        PLAIN,
    ),
    Fault(
        "word of the venue overtakes word before it",
        "pipeline/backtest/wire.py",
        "    time = max(time, meta[st.LAST_TOLD])\n",
        "",
        PLAIN,
    ),
    Fault(
        "fees are earned",
        "pipeline/backtest/desk.py",
        "        sim.reals[FEES] += sim.rates[session, c] * size * 1e-9",
        "        sim.reals[FEES] -= sim.rates[session, c] * size * 1e-9",
        PLAIN,
    ),
    Fault(
        "the kill switch holds on to its position",
        "pipeline/backtest/executor.py",
        "    meta[st.HALTED] = why\n    meta[st.X_FLATTEN] = 1\n",
        "    meta[st.HALTED] = why\n    meta[st.X_FLATTEN] = 0\n",
        SIMULATOR,
    ),
    Fault(
        "orders of the day outlive their session",
        "pipeline/backtest/venue.py",
        "            if own[sim.live[side, i], st.O_TIF] == kept:",
        "            if kept >= 0:",
        PLAIN,
    ),
    Fault(
        "losses of several currencies added up",
        "pipeline/backtest/desk.py",
        "        if sim.purses[k] == ours:",
        "        if ours >= 0:",
        JOINT,
    ),
    Fault(
        "the kill switch stops one instrument only",
        "pipeline/backtest/executor.py",
        "        desk.stop_others(sim, time)\n",
        "",
        JOINT,
    ),
    Fault(
        "a run that is lost for one only",
        "pipeline/backtest/executor.py",
        "    if word == st.STOP_RUN:\n        meta[st.RUN_LOST] = 1",
        "    if word == st.STOP_RUN:\n        meta[st.RUN_LOST] = 0",
        JOINT,
    ),
    Fault(
        "the sessions' losses since the run's start",
        "pipeline/backtest/due.py",
        "        sim.worth[me, 1] = sim.worth[me, 0]",
        "        sim.worth[me, 1] = 0.0",
        JOINT,
    ),
    Fault(
        "at equal times an instrument named later may go on",
        "pipeline/backtest/together.py",
        "bounds[k] + (1 if k > who else 0)",
        "bounds[k] + 1",
        JOINT,
    ),
    Fault(
        "an instrument goes on past another's time",
        "pipeline/backtest/together.py",
        "bounds[k] + (1 if k > who else 0)",
        "bounds[k] + (3 if k > who else 2)",
        JOINT,
    ),
    Fault(
        "no letters to instruments named before",
        "pipeline/backtest/replay.py",
        "np.flatnonzero(self.sim.mail) if k != own]",
        "np.flatnonzero(self.sim.mail) if k > own]",
        JOINT,
    ),
    Fault(
        "one whose data are over keeps its book",
        "pipeline/backtest/replay.py",
        "        self._see_nothing()\n        self._rebind()\n\n    def provide",
        "        self._rebind()\n\n    def provide",
        JOINT,
    ),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout to spoil; each test puts back what it changed."""
    folder = tmp_path_factory.mktemp("faulty")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def run_tests(folder: Path, arguments: str) -> int:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(folder)}
    environment["MBO_REAL_DATA"] = "skip"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    # The hash of order ids wraps on purpose; only numpy's scalars speak of it.
    command += ["-W", "ignore:overflow:RuntimeWarning"]
    done = subprocess.run(
        [*command, *arguments.split()],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize("tests", sorted({fault.tests for fault in FAULTS}))
def test_without_a_fault_they_pass(copy: Path, tests: str) -> None:
    assert run_tests(copy, tests) == 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_planted_fault_is_found(copy: Path, fault: Fault) -> None:
    path = copy / fault.file
    text = path.read_text()
    assert text.count(fault.old) == 1, "the code has changed: plant the fault anew"
    path.write_text(text.replace(fault.old, fault.new))
    try:
        assert run_tests(copy, fault.tests) == 1
    finally:
        path.write_text(text)


def test_the_faults_still_fit_the_code() -> None:
    """Fast, in the default suite: planting must not fail silently when code moves."""
    for fault in FAULTS:
        assert (ROOT / fault.file).read_text().count(fault.old) == 1, fault.name
