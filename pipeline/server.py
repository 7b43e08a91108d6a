"""Where the runner's workers come from: a server that has imported what they need, and forks.

A worker that starts from nothing spends a second of CPU on imports.  The server imports once for
all of them, beside the command that will need them and imports the same; forking takes
milliseconds.  The server itself imports only, it computes nothing: none of the libraries' pools
of threads, which a fork would leave behind, has started there.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.context import BaseContext
from typing import Final

_ONE_THREAD: Final = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""The second is Arrow's, too."""
_OWN_PATH: Final = {"PYTHONSAFEPATH": "1"}
"""What lies in the current folder must not be imported instead of ours."""


def has_server() -> bool:
    """Whether this system can fork a server; workers start from nothing where it cannot."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def context() -> BaseContext:
    """How worker processes are made."""
    return multiprocessing.get_context("forkserver" if has_server() else "spawn")


def start_server(modules: Sequence[str] = ()) -> None:
    """Have the server running, once a process; returns before it has imported anything.

    Parameters
    ----------
    modules
        What workers will need.  One that cannot be imported is left to the workers.
    """
    if not has_server():
        return
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload(["pipeline.serving", "pipeline.worker", *modules])
    # Interrupts are the parent's business, from the server's first instruction on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with environment({**_ONE_THREAD, **_OWN_PATH}):
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def single_threaded() -> contextlib.AbstractContextManager[None]:
    """Workers run polars on one thread: the pool is the parallelism, and results must not
    depend on how sums were split among threads.
    """
    return environment(_ONE_THREAD)


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that processes started within have."""
    old = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
