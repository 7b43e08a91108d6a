"""From Databento market-by-order files to books, features and backtests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Arrow's own allocator gives pages back and takes them again at every batch; the kernel zeroes
# them each time, and with two workers at it that is a sixth of the time.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

if TYPE_CHECKING:
    from pipeline.lake import Lake, Run, open_lake

__all__ = ["Lake", "Run", "__version__", "open_lake"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the lake only when it is asked for: `mbo --help` must answer at once."""
    if name in __all__:
        from pipeline import lake

        return getattr(lake, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
