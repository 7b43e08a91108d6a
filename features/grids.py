"""The parameter grids of the catalogue (0.3): what families offer unless they say otherwise."""

from __future__ import annotations

from typing import Final

from features.registry import Choice, Windows

ROWS: Final = (10, 50, 200, 1000)
TIMES: Final = ("100ms", "1s", "5s", "10s", "60s", "300s")
HALF_LIVES: Final = ("100ms", "1s", "10s", "60s")
HORIZONS: Final = ("100ms", "1s", "5s", "10s", "60s")
LABEL_ROWS: Final = (10, 20, 50, 100)

ALL_WINDOWS: Final = Windows(TIMES, ROWS, HALF_LIVES)
TIME_WINDOWS: Final = Windows(TIMES)
TIME_AND_ROWS: Final = Windows(TIMES, ROWS)
TIME_AND_DECAY: Final = Windows(TIMES, half_life=HALF_LIVES)
DECAY: Final = Windows(half_life=HALF_LIVES)
AHEAD: Final = Windows(HORIZONS, LABEL_ROWS)

SIDES: Final = Choice(("bid", "ask"))
ZONES: Final = Choice(("l1", "l2_10", "deep"))
