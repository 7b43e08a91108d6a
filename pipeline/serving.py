"""Imported first by the server of workers, and nowhere else: it must not outlive the command.

Python's own way is to look for the end of the parent between two requests.  While it imports, it
does not look, and a command that was done at once would leave it behind for a second, with the
terminal or a pipe in its hands.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1

if sys.platform == "linux":  # elsewhere the second is spent
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
