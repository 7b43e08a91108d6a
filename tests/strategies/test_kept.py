"""Compiled strategies are kept on disk: an unchanged one is not compiled again, no other code runs
in its place, and a damaged file is compiled anew.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba.core.event as numba_events
import pytest

from pipeline.jit import cache_dir, nb
from pipeline.roots import ROOT
from pipeline.structs import Ints1, Struct
from strategies import kept
from strategies.entry import Entry
from strategies.layout import FILL, MARKET_EVENT, TIMER
from strategies.registry import load
from strategies.running import Program

pytestmark = pytest.mark.skipif(bool(nb.config.DISABLE_JIT), reason="nothing is compiled")

STEP = """
import enum
from dataclasses import dataclass
from strategies.event import EventStrategy, Market, helper, parameter, state
import {other} as other

class Kind(enum.IntEnum):
    ONE = 10

SCALE = 100

@helper
def scaled(value: int) -> int:
    return value * SCALE

def made(added):
    @dataclass
    class Step(EventStrategy):
        by: {kind} = parameter(1, "", "of each step")
        n: {kind} = state(0)

        def on_market_event(self, m: Market) -> None:
            self.n += self.by + added + scaled(other.NUMBER) + Kind.ONE.value

        def on_timer(self, m: Market) -> None:
            self.n //= 0 * self.n
            raise ValueError("never")
    return Step

First, Second = made(1), made(2)
"""

SHOW = """
import json, sys
import numba.core.event as events
sys.path.insert(0, sys.argv[1])
from tests.strategies.test_kept import stepped
counted = events.RecordingListener()
events.register("numba:compile", counted)
found = [stepped(name) for name in sys.argv[2:]]
print(json.dumps([found, len(counted.buffer)]))
"""


def stepped(name: str, **parameters: int) -> int:
    """What a strategy has counted after one event."""
    strategy = load(name).strategy(**parameters)
    running = Program(strategy).run([])
    word = ctypes.c_int64
    call = ctypes.CFUNCTYPE(word, word, word, word)(running.address)
    assert call(MARKET_EVENT, running.instance, 0) == 0
    return int(running.memory.n)


def written(folder: Path, number: int = 3, kind: str = "int") -> Path:
    """A file with two strategies of one name, and the module with a number that it imports."""
    other = f"other_{os.path.basename(folder)}_{number}".replace("-", "_")
    (folder / f"{other}.py").write_text(f"NUMBER = {number}\n")
    path = folder / f"step{number}{kind}.py"
    path.write_text(STEP.format(other=other, kind=kind))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MBO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "_compiled", {})
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def kept_files() -> list[Path]:
    folder = cache_dir() / "strategies"
    return sorted(path for path in folder.glob("*") if not path.suffix)


def compilations() -> numba_events.RecordingListener:
    counted = numba_events.RecordingListener()
    numba_events.register("numba:compile", counted)
    return counted


def begin(folder: Path, *names: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SHOW, str(folder), *names]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[list[int], int]:
    found, compiled = json.loads(process.communicate()[0])
    assert process.returncode == 0
    return found, compiled


def test_processes_compile_once_and_take_no_code_of_another(folder: Path) -> None:
    path = written(folder)
    # Two at once, one of which has to wait; a third whose functions have the same names.
    three = [begin(folder, f"{path}:{name}") for name in ("First", "First", "Second")]

    (one, a), (two, b), (other, c) = map(end, three)
    both, compiled = end(begin(folder, f"{path}:First", f"{path}:Second"))

    assert (one, two, other, both) == ([312], [312], [313], [312, 313])
    assert sorted((a > 0, b > 0)) == [False, True]
    assert c > 0
    assert compiled == 0


def test_kinds_of_parameters_count(folder: Path) -> None:
    assert stepped(f"{written(folder)}:First") == 312
    assert stepped(f"{written(folder, kind='float')}:First") == 312
    assert len(kept_files()) == 2


def test_values_of_parameters_do_not_count_those_of_imported_modules_do(folder: Path) -> None:
    name = f"{written(folder)}:First"
    assert stepped(name) == 312
    counted = compilations()
    try:
        assert stepped(name, by=7) == 318
    finally:
        numba_events.unregister("numba:compile", counted)
    assert not counted.buffer
    assert len(kept_files()) == 1
    sys.modules[f"other_{folder.name}_3".replace("-", "_")].NUMBER = 5  # type: ignore[attr-defined]
    assert stepped(name) == 512


DAMAGE = {
    "empty": lambda _: b"",
    "cut": lambda text: text[: len(text) // 2],
    "a bit": lambda text: text[:5000] + bytes([text[5000] ^ 1]) + text[5001:],
    "something else": lambda _: hashlib.sha256(pickle.dumps(7)).digest() + pickle.dumps(7),
}


class Nothing(Struct):
    values: Ints1


def fails(own, market) -> None:
    raise ValueError("always")


def called() -> int:
    """What the entry of a callback that fails returns."""
    entry = Entry({3: nb.njit(fails)}, nb.types.int64, nb.types.int64)
    return int(kept.compiled(Nothing, {"fails": fails}, entry).ctypes(3, 0, 0))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_file_is_compiled_anew(folder: Path, monkeypatch, damage) -> None:
    assert called() == 1
    (file,) = kept_files()
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    monkeypatch.setattr(kept, "_compiled", {})

    assert called() == 1

    assert kept_files() == [file]
    assert file.read_bytes() != damaged


def test_a_folder_that_cannot_be_written_only_costs_time(folder: Path, monkeypatch) -> None:
    (folder / "file").write_text("")
    monkeypatch.setenv("MBO_CACHE_DIR", str(folder / "file"))
    assert called() == 1


def test_what_cannot_be_looked_into_is_not_kept(folder: Path) -> None:
    path = written(folder)
    text = path.read_text().replace("SCALE = 100", "SCALE = 100\nPAIRS = {1: 2}")
    path.write_text(text.replace('raise ValueError("never")', "self.n = PAIRS[1]"))
    cls = load(f"{path}:First").strategy
    program = Program(cls(), interpret=True)
    assert kept.fingerprint(program._memory, program._functions) is None


def test_strategies_used_long_ago_are_forgotten(folder: Path, monkeypatch) -> None:
    assert called() == 1
    (file,) = kept_files()
    others = [file.with_name(f"{k}") for k in range(4)]
    for k, other in enumerate(others):
        other.write_bytes(b"x")
        other.with_name(f"{k}.lock").write_bytes(b"")
        os.utime(other, (k, k))
    os.utime(file, (1, 1))  # older than three of them, until it is used
    monkeypatch.setattr(kept, "_MOST", 3)
    monkeypatch.setattr(kept, "_compiled", {})
    assert called() == 1
    assert len(kept_files()) == 5
    assert stepped(f"{written(folder)}:First") == 312

    left = kept_files()
    assert len(left) == 3
    assert {file, others[3]} < set(left)
    assert {path.stem for path in file.parent.glob("*.lock")} == {path.name for path in left}


@pytest.mark.parametrize("broken", ["numba", "_reduce", "cgutils"])
def test_without_what_numba_keeps_to_itself_strategies_are_compiled_all_the_same(
    folder: Path, monkeypatch, broken: str
) -> None:
    """As with a numba in which these have another name: nothing may be kept, all works."""
    if broken == "numba":
        monkeypatch.setattr(kept, "_numba", object())
    elif broken == "_reduce":
        monkeypatch.delattr(nb.core.compiler.CompileResult, "_reduce")
    else:
        public = SimpleNamespace(njit=nb.njit, types=nb.types, extending=nb.extending)
        monkeypatch.setattr("strategies.entry.nb", public)

    path = written(folder)

    assert stepped(f"{path}:First") == 312
    assert stepped(f"{path}:Second", by=3) == 315
    assert kept_files() == []


def test_what_fails_is_told_without_what_numba_keeps_to_itself(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(kept, "_numba", object())
    running = Program(load(f"{written(folder)}:First").strategy()).run([])
    word = ctypes.c_int64
    call = ctypes.CFUNCTYPE(word, word, word, word)(running.address)

    assert call(TIMER, running.instance, 0) == 1
    assert call(MARKET_EVENT, running.instance, 0) == 0
    assert call(FILL, running.instance, 0) == 0
