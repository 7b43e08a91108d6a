"""A command with its parts timed: ``python -m benchmarks.profiled_run FILE ingest ...``.

Writes seconds by part to the file, as JSON.  A part is a function or method named in
:data:`PARTS`; what it calls that is a part of its own does not count for it.  Seconds are wall
clock in whichever thread does the work: threads overlap, so that parts can add up to more than the
command took.
"""

from __future__ import annotations

import functools
import inspect
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

PARTS: Final[dict[str, dict[str, list[str]]]] = {
    "ingest": {
        "hash of the raw file": ["pipeline.storage:HashCache.sha256"],
        "decompress": ["pipeline.ingest.bytestream:ByteStream.readinto"],
        "cut into records, check": ["pipeline.ingest.decode:Decoder._decode"],
        "records to columns": ["pipeline.ingest.columns:ColumnBuffer.append"],
        "columns to Arrow": ["pipeline.ingest.columns:ColumnBuffer.take"],
    },
    "book": {
        "read Parquet": ["pipeline.reading:Part.batches"],
        "Arrow to arrays": ["pipeline.book.stage:chunk_of_arrow"],
        "order books (kernel)": ["pipeline.book.engine:run_kernel"],
        "rows to columns": ["pipeline.book.engine:BookEngine._batch"],
    },
    "features": {
        "read and join events": ["features.events:Events.__iter__"],
        "running states": ["features.timeline:Timeline.push"],
        "expressions": ["features.timeline:View.evaluate"],
        "columns to Arrow": ["pipeline.featurise:FeatureStage._write"],
    },
    "backtest": {
        "read Parquet": ["pipeline.reading:Part.batches"],
        "Arrow to arrays": ["pipeline.book.stage:chunk_of_arrow"],
        "read features": [
            "pipeline.backtest.decisions:FeatureRows._read",
            "pipeline.backtest.decisions:batches",
            "pipeline.backtest.decisions:_frame",
        ],
        "decide, signal strategies": ["pipeline.backtest.decisions:evaluate"],
        "check them for causality": ["pipeline.backtest.decisions:check_causal"],
        "compile the strategy": ["strategies.running:Program.__init__"],
        "simulate (kernel, with strategy)": ["pipeline.backtest.replay:Replay.feed"],
        "figures of the run": ["pipeline.backtest.summarise:Summarise.run"],
    },
}
"""Parts of each stage, and the functions that do them."""

COMMON: Final = {
    "encode and write Parquet": ["pipeline.parquet:ParquetFile._write_group"],
    "commit (fsync, lineage)": ["pipeline.worker:TaskOutputs.commit"],
}


class Spans:
    """Seconds by part; nested parts are taken out of those around them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._here = threading.local()

    def begin(self) -> None:
        """A part begins in this thread."""
        if not hasattr(self._here, "inner"):
            self._here.inner = []
        self._here.inner.append((time.perf_counter(), [0.0]))

    def end(self, part: str) -> None:
        """The part that began last ends."""
        started, inside = self._here.inner.pop()
        taken = time.perf_counter() - started
        if self._here.inner:
            self._here.inner[-1][1][0] += taken
        with self._lock:
            self.seconds[part] += taken - inside[0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted; of a generator, the time it is at work."""
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
                items = function(*args, **kwargs)
                while True:
                    self.begin()
                    try:
                        item = next(items, self)
                    finally:
                        self.end(part)
                    if item is self:
                        return
                    yield item

            return generator

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.begin()
            try:
                return function(*args, **kwargs)
            finally:
                self.end(part)

        return wrapper


def resolve(place: str) -> tuple[Any, str]:
    """What holds a function, and the function's name in it: ``module:Class.method``."""
    module, _, path = place.partition(":")
    holder: Any = import_module(module)
    *outer, name = path.split(".")
    for attribute in outer:
        holder = getattr(holder, attribute)
    return holder, name


def patch(spans: Spans, stage: str) -> None:
    """Have the parts of a stage counted."""
    for part, places in (COMMON | PARTS[stage]).items():
        for place in places:
            holder, name = resolve(place)
            setattr(holder, name, spans.timed(part, getattr(holder, name)))


if __name__ == "__main__":
    from pipeline.cli import main

    target = Path(sys.argv.pop(1))
    counted = Spans()
    patch(counted, sys.argv[1])
    begun = time.perf_counter()
    try:
        main()
    finally:
        total = {"command": time.perf_counter() - begun}
        target.write_text(json.dumps(total | counted.seconds))
