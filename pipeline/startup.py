"""What every process would spend on starting, and need not."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While modules and kernels are loaded, look for garbage a hundred times less often.

    Hundreds of thousands of objects are made, and hardly one of them is garbage: looking through
    them costs a tenth of a second.
    """
    before = gc.get_threshold()
    gc.set_threshold(100 * 700, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
