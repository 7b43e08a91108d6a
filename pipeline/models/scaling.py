"""Filling and scaling of features, fitted in the training window only.

A null becomes the window's median of the feature, the mean is subtracted, the standard deviation
divides; what is further than :data:`FARTHEST` deviations from the mean is held there, because a
linear model would follow a single spike anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FARTHEST: Final = 10.0
ROUNDING: Final = 1e-9
"""A deviation below this share of the mean's size is rounding: the feature does not vary."""


@dataclass(frozen=True)
class Scaler:
    """``[features]`` each: what a null becomes, what is subtracted, what divides."""

    fill: Floats
    mean: Floats
    scale: Floats

    @classmethod
    def fit(cls, x: NDArray[np.float32]) -> Scaler:
        """From ``x[n, features]``, null being NaN; a feature without values or without variance
        becomes 0.
        """
        features = x.shape[1]
        fill, mean, scale = np.zeros(features), np.zeros(features), np.ones(features)
        for j in range(features):
            column = x[:, j].astype(np.float64)
            known = np.isfinite(column)
            if not known.any():
                continue
            fill[j] = np.median(column[known])
            column[~known] = fill[j]
            mean[j] = column.mean()
            spread = column.std()
            if spread > ROUNDING * abs(mean[j]):
                scale[j] = spread
        return cls(fill, mean, scale)

    def apply(self, x: NDArray[np.float32] | Floats) -> Floats:
        """Filled and scaled, ``float64[n, features]``."""
        out = np.empty(x.shape, np.float64)
        for j in range(x.shape[1]):
            column = x[:, j].astype(np.float64)
            column[~np.isfinite(column)] = self.fill[j]
            column -= self.mean[j]
            column /= self.scale[j]
            np.clip(column, -FARTHEST, FARTHEST, out=column)
            out[:, j] = column
        return out
