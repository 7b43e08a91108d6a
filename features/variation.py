"""Realised measures beside plain variance (catalogue V02 to V09 and V12).

Jumps, signed halves, noise and its corrections, higher moments: of the last defined mid, sampled
on a grid, in ticks.  A window of n grid steps holds n returns; measures over several steps use
those that lie wholly inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import polars as pl

from features.bars import Bar, over_bars
from features.columns import mid_ticks, ratio
from features.nodes import Window
from features.nodes import window as parse_window
from features.registry import Bars, Choice, Numbers, Parameter, Windows, feature
from features.volatility import realised
from features.windows import lag, last, mean, on_grid, previous, row_sum, session_first, window_sum
from pipeline.units import parse_duration

COARSE = {"grid": Windows(("5s", "10s")), "window": Windows(("300s", "30m", "1h"))}
"""Grids on which a large-tick mid moves often enough for products of neighbours."""

FINE = {"grid": Windows(("1s", "5s")), "window": Windows(("300s", "30m", "1h"))}

TSRV_SCALE = 300 / math.pow(23_400, 2 / 3)
"""Steps of the slow scale are this times n^(2/3): 300 for a day of seconds."""

THETA = 0.8
"""Pre-averaging: blocks have theta sqrt(n) steps."""

LEAST_RETURNS = 30
"""Skew and kurtosis need as many returns."""

UNDEFINED = pl.lit(None, pl.Float64)


def _steps(grid: str, window: str) -> int:
    """Grid steps, thus returns, of a window."""
    return parse_window(window).size // parse_duration(grid)


def _inside(grid: str, steps: int) -> Window:
    size = steps * parse_duration(grid)
    return Window("time", size, f"{size}ns")


def _sampled(grid: str, then: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    return on_grid(grid, last(mid_ticks()), then)


def _change(sample: pl.Expr) -> pl.Expr:
    return sample - previous(sample)


# --- jumps and signs (V02, V03) --------------------------------------------------------------


def _bipower(grid: str, window: str) -> pl.Expr:
    n = _steps(grid, window)
    if n < 2:
        return UNDEFINED

    def measure(sample: pl.Expr) -> pl.Expr:
        change = _change(sample).abs()
        pairs = window_sum(change * previous(change), _inside(grid, n - 1))
        whole = window_sum(change, window).is_not_null()
        return pl.when(whole).then(pairs * (math.pi / 2 * n / (n - 1)))

    return _sampled(grid, measure)


@feature(
    "bpv_{grid}_{window}",
    catalogue="V02",
    unit="ticks^2",
    source="Barndorff-Nielsen and Shephard 2004",
    params=COARSE,
    range=(0, None),
)
def bpv(grid: str, window: str) -> pl.Expr:
    """Bipower variation, which jumps leave alone: (pi/2) n/(n-1) sum of |r_j| |r_(j-1)|."""
    return _bipower(grid, window)


@feature(
    "jump_share_{grid}_{window}",
    catalogue="V02",
    source="Barndorff-Nielsen and Shephard 2004",
    params=COARSE,
    range=(0, 1),
)
def jump_share(grid: str, window: str) -> pl.Expr:
    """Share of jumps in the realised variance: max(RV - BPV, 0) / RV; null where RV is 0."""
    variance = realised(grid, window)
    excess = variance - _bipower(grid, window)
    return ratio(pl.when(excess < 0).then(0.0).otherwise(excess), variance)


def _half(grid: str, window: str, sign: int) -> pl.Expr:
    def measure(sample: pl.Expr) -> pl.Expr:
        change = _change(sample)
        return window_sum(pl.when(change * sign > 0).then(change * change).otherwise(0.0), window)

    return _sampled(grid, measure)


@feature(
    "semivariance_{direction}_{grid}_{window}",
    catalogue="V03",
    unit="ticks^2",
    source="Patton and Sheppard 2015",
    tier=2,
    params={"direction": Choice(("up", "down")), **COARSE},
    range=(0, None),
    mirror="swap",
)
def semivariance(direction: str, grid: str, window: str) -> pl.Expr:
    """Realised semivariance: the sum of the squares of the rises, or of the falls."""
    return _half(grid, window, 1 if direction == "up" else -1)


@feature(
    "signed_jumps_{grid}_{window}",
    catalogue="V03",
    unit="ticks^2",
    source="Patton and Sheppard 2015",
    tier=2,
    params=COARSE,
    mirror="odd",
)
def signed_jumps(grid: str, window: str) -> pl.Expr:
    """Signed jump variation: squares of the rises less squares of the falls."""
    return _half(grid, window, 1) - _half(grid, window, -1)


# --- noise (V04, V05, V06, V07) --------------------------------------------------------------


def _two_scales(grid: str, window: str) -> pl.Expr:
    """The two-scale estimate before it is floored; null where the window is too short."""
    n = _steps(grid, window)
    k = max(2, round(TSRV_SCALE * math.pow(n, 2 / 3)))
    if n < 2 * k:
        return UNDEFINED
    average = (n - k + 1) / k

    def measure(sample: pl.Expr) -> pl.Expr:
        change, slow = _change(sample), sample - lag(sample, k)
        fast = window_sum(change * change, window)
        slow_sum = window_sum(slow * slow, _inside(grid, n - k + 1)) / k
        return (slow_sum - fast * (average / n)) * (1 / (1 - average / n))

    return _sampled(grid, measure)


def _floored(x: pl.Expr) -> pl.Expr:
    return pl.when(x < 0).then(0.0).otherwise(x)


@feature(
    "tsrv_{grid}_{window}",
    catalogue="V04",
    unit="ticks^2",
    source="Zhang, Mykland and Ait-Sahalia 2005",
    tier=2,
    params=FINE,
    range=(0, None),
)
def tsrv(grid: str, window: str) -> pl.Expr:
    """Two-scale realised variance, free of noise: ([Y]^K - (nbar/n)[Y]) / (1 - nbar/n).

    K is 0.367 n^(2/3) steps (300 at n = 23,400), nbar = (n - K + 1)/K.  An estimate below 0 is
    given as 0; see ``tsrv_floored``.
    """
    return _floored(_two_scales(grid, window))


@feature(
    "tsrv_floored_{grid}_{window}",
    catalogue="V04",
    unit="0 or 1",
    source="Zhang, Mykland and Ait-Sahalia 2005",
    tier=2,
    params=FINE,
    dtype=pl.Int8,
    range=(0, 1),
)
def tsrv_floored(grid: str, window: str) -> pl.Expr:
    """1 where the two-scale estimate came out below 0 and stands as 0."""
    return _two_scales(grid, window) < 0


def _pre_averaged(grid: str, window: str) -> pl.Expr:
    n = _steps(grid, window)
    half = math.ceil(THETA * math.sqrt(n) / 2)
    k = 2 * half
    if n < 2 * k:
        return UNDEFINED
    weights = [min(j, k - j) / k for j in range(k + 1)]
    psi2 = sum(w * w for w in weights)
    psi1 = sum((b - a) ** 2 for a, b in pairwise(weights))
    # Of E[RV] = IV + 2 n omega^2 the noise in the averages is psi1 omega^2 each.
    noise = psi1 / (2 * psi2)

    def measure(sample: pl.Expr) -> pl.Expr:
        centred = sample - session_first(sample)
        change = _change(sample)
        block = row_sum(centred, half)
        # With triangular weights: the mean of the second half less that of the first.
        average = (block - lag(block, half)) / k
        terms = n - k + 2
        squares = window_sum(average * average, _inside(grid, terms)) * (n / terms / psi2)
        fast = window_sum(change * change, window)
        return (squares - fast * noise) * (1 / (1 - noise))

    return _sampled(grid, measure)


@feature(
    "preaveraged_{grid}_{window}",
    catalogue="V05",
    unit="ticks^2",
    source="Jacod, Li, Mykland, Podolskij and Vetter 2009",
    tier=2,
    params=FINE,
    range=(0, None),
)
def preaveraged(grid: str, window: str) -> pl.Expr:
    """Pre-averaged realised variance: squares of returns averaged over 0.8 sqrt(n) steps.

    Weights g(x) = min(x, 1 - x), an even number of steps, corrected for the noise that is left
    by RV/(2n); below 0 it is given as 0.
    """
    return _floored(_pre_averaged(grid, window))


@feature(
    "noise_variance_{grid}_{window}",
    catalogue="V06",
    unit="ticks^2",
    source="Zhang, Mykland and Ait-Sahalia 2005",
    tier=2,
    params=FINE,
    range=(0, None),
)
def noise_variance(grid: str, window: str) -> pl.Expr:
    """Variance of the noise in one price: omega^2 = RV / (2 n), n the returns of the window."""
    return realised(grid, window) / (2 * max(_steps(grid, window), 1))


@feature(
    "noise_to_signal_{grid}_{window}",
    catalogue="V06",
    source="Zhang, Mykland and Ait-Sahalia 2005",
    tier=2,
    params=FINE,
    range=(0, None),
)
def noise_to_signal(grid: str, window: str) -> pl.Expr:
    """Noise variance over the two-scale variance; null where that is not above 0."""
    signal = _two_scales(grid, window)
    noise = realised(grid, window) / (2 * max(_steps(grid, window), 1))
    # Sums that cancel leave rounding errors, which are no signal.
    return pl.when(signal > 1e-9).then(noise / signal)


@feature(
    "variance_ratio_{steps}_{grid}_{window}",
    catalogue="V07",
    source="Lo and MacKinlay 1988",
    params={"steps": Numbers((2, 5, 10), 2, 1000), **COARSE},
    range=(0, None),
)
def variance_ratio(steps: int, grid: str, window: str) -> pl.Expr:
    """VR(q): variance of changes over q grid steps, over q times that of changes over one.

    Overlapping, about the window's mean change, and unbiased; above 1 in a trend, below 1 where
    prices revert.  Null where the mid went straight or stood still.
    """
    n = _steps(grid, window)
    if n <= steps:
        return UNDEFINED

    def measure(sample: pl.Expr) -> pl.Expr:
        change, long = _change(sample), sample - lag(sample, steps)
        drift = window_sum(change, window) / n
        one = window_sum(change * change, window) - n * drift * drift
        terms = n - steps + 1
        span = _inside(grid, terms)
        mean_long = steps * drift
        squares = window_sum(long * long, span)
        several = squares - 2 * mean_long * window_sum(long, span) + terms * mean_long * mean_long
        several = pl.when(several < 0).then(0.0).otherwise(several)
        scale = (n - 1) / (steps * terms * (1 - steps / n))
        return pl.when(one > 1e-9).then(several * scale / one)

    return _sampled(grid, measure)


@feature(
    "eta_{price}_{window}",
    catalogue="V08",
    source="Robert and Rosenbaum 2011",
    tier=2,
    params={"price": Choice(("mid", "trade")), "window": Windows(rows=(200,))},
    range=(0, None),
)
def eta(price: str, window: str) -> pl.Expr:
    """Uncertainty zones: continuations over twice the alternations of the last moves.

    Of the mid, or of the price of trades; below 1/2 moves tend to be taken back.  Null where none
    was.
    """
    value = mid_ticks() if price == "mid" else pl.col("trade_px")
    step = value - previous(value)
    sign = pl.when(step != 0).then(step.sign())
    same = (sign == previous(sign)).cast(pl.Int64)
    moves = parse_window(window).size
    went_on = row_sum(same, moves)
    return ratio(went_on, 2 * (moves - went_on))


# --- ranges of bars (V09) --------------------------------------------------------------------

RANGES: Mapping[str, Parameter] = {
    "count": Numbers((1, 10), 1, 10_000),
    "bar": Bars(("60s", "300s", "e1000")),
}


def _root_mean(count: int, bar: str, measure: Callable[[Bar], pl.Expr]) -> pl.Expr:
    averaged = over_bars(bar, mid_ticks(), lambda b: mean(measure(b), f"n{count}"))
    return averaged.sqrt()


@feature(
    "parkinson_{count}_{bar}",
    catalogue="V09",
    unit="ticks",
    source="Parkinson 1980",
    tier=2,
    params=RANGES,
    range=(0, None),
)
def parkinson(count: int, bar: str) -> pl.Expr:
    """Volatility of a bar from its range: root of the mean of (H - L)^2 / (4 ln 2) of bars."""
    return _root_mean(count, bar, lambda b: (b.high - b.low) ** 2 / (4 * math.log(2)))


@feature(
    "garman_klass_{count}_{bar}",
    catalogue="V09",
    unit="ticks",
    source="Garman and Klass 1980",
    tier=2,
    params=RANGES,
    range=(0, None),
)
def garman_klass(count: int, bar: str) -> pl.Expr:
    """Volatility of a bar: root of the mean of (H - L)^2 / 2 - (2 ln 2 - 1)(C - O)^2."""
    inner = 2 * math.log(2) - 1
    return _root_mean(
        count, bar, lambda b: (b.high - b.low) ** 2 / 2 - inner * (b.close - b.open) ** 2
    )


# --- higher moments (V12) --------------------------------------------------------------------


def _moment(grid: str, window: str, power: int) -> pl.Expr:
    n = _steps(grid, window)
    if n < LEAST_RETURNS:
        return UNDEFINED

    def measure(sample: pl.Expr) -> pl.Expr:
        change = _change(sample)
        variance = window_sum(change * change, window)
        raised = window_sum(change**power, window)
        return ratio(math.pow(n, power / 2 - 1) * raised, variance ** (power / 2))

    return _sampled(grid, measure)


@feature(
    "realised_skew_{grid}_{window}",
    catalogue="V12",
    source="Amaya, Christoffersen, Jacobs and Vasquez 2015",
    tier=3,
    params=COARSE,
    mirror="odd",
)
def realised_skew(grid: str, window: str) -> pl.Expr:
    """Realised skewness: sqrt(n) sum r^3 / RV^1.5; null under 30 returns or where RV is 0."""
    return _moment(grid, window, 3)


@feature(
    "realised_kurtosis_{grid}_{window}",
    catalogue="V12",
    source="Amaya, Christoffersen, Jacobs and Vasquez 2015",
    tier=3,
    params=COARSE,
    range=(0, None),
)
def realised_kurtosis(grid: str, window: str) -> pl.Expr:
    """Realised kurtosis: n sum r^4 / RV^2; null under 30 returns or where RV is 0."""
    return _moment(grid, window, 4)
