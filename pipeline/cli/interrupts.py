"""Ctrl-C before a command runs.  Imports nothing that takes time."""

from __future__ import annotations

import os
import signal

INTERRUPTED = 130
"""As in :mod:`pipeline.errors`, which imports more than there is time for."""


def _stop(*_: object) -> None:
    os.write(2, b"mbo: interrupted\n")
    os._exit(INTERRUPTED)


def interrupts_stop() -> None:
    """Until a command runs there is nothing to tidy up: a Ctrl-C ends the process there and then.

    Libraries are imported meanwhile, and the arguments read: an exception would be printed with
    its traceback, or as the argument parser's own.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGINT, _stop)


def interrupts_raise() -> None:
    """From here on a Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
