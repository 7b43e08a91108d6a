"""Random numbers of the simulator: splitmix64, one word of state, the same on every machine.

numpy's generators would do, but their compiled form keeps its state where a kernel cannot
save and resume it.  The state is ``uint64[1]``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pipeline.jit import inline, inner

U64 = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30 = np.uint64(30)
_S27 = np.uint64(27)
_S31 = np.uint64(31)
_S11 = np.uint64(11)
_UNIT = 1.0 / 9007199254740992.0  # 2**-53


def new_rng(seed: int) -> U64:
    """State for a seed; any integer is a seed."""
    return np.array([(seed * 0x2545F4914F6CDD1D + 0x632BE59BD9B4E019) % 2**64], dtype=np.uint64)


@inline
def uniform(rng: U64) -> float:
    """A number in [0, 1)."""
    rng[0] = rng[0] + _GAMMA
    z = rng[0]
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z = z ^ (z >> _S31)
    return float(z >> _S11) * _UNIT


@inline
def chance(rng: U64, probability: float) -> bool:
    return uniform(rng) < probability


@inline
def below(rng: U64, n: int) -> int:
    """An integer in 0 .. n-1."""
    return int(uniform(rng) * n)


@inline
def coin(rng: U64) -> int:
    """0 or 1."""
    return int(uniform(rng) * 2.0)


@inner
def exponential(rng: U64, mean: float) -> float:
    return -mean * math.log(1.0 - uniform(rng))


@inner
def geometric(rng: U64, mean: float) -> int:
    """1, 2, 3, ... with the given mean (at least 1)."""
    if mean <= 1.0:
        return 1
    return 1 + int(math.log(1.0 - uniform(rng)) / math.log(1.0 - 1.0 / mean))


@inner
def normal(rng: U64) -> float:
    """A standard normal number."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(rng)))
    return radius * math.cos(2.0 * math.pi * uniform(rng))
