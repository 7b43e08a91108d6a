"""Interpreted kernels wrap around like compiled ones, only louder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="package")
def _quiet_wrap_around() -> Iterator[None]:
    """The hash of order ids multiplies modulo 2^64; numpy's scalars warn of it."""
    interpreted = os.environ.get("NUMBA_DISABLE_JIT") == "1"
    with np.errstate(over="ignore" if interpreted else "warn"):
        yield
