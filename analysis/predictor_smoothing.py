"""What simple models leave over, smoothed between measurements: a Gaussian process.

Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equations 2.25
(prediction) and 5.12 (errors of leaving one out, which choose reach and noise here).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial.distance import cdist

FloatArray = NDArray[np.float64]

_REACHES = (0.3, 0.6, 1.2, 2.4)
_NOISES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Variance of the noise, in units of that of the process."""
_FEWEST = 8
_MOST = 1200
_MOST_SEARCHED = 300
"""Solving takes the third power of their number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Smoother:
    """A smooth function through noisy points; far from all of them it is 0.

    Attributes:
        points: Where it was measured, in standard units.
        weights: What each point contributes nearby.
        centre: What is subtracted from coordinates.
        scale: What they are divided by.
        reach: How far a point contributes, in standard units.
    """

    points: FloatArray
    weights: FloatArray
    centre: FloatArray
    scale: FloatArray
    reach: float

    def at(self, points: FloatArray) -> FloatArray:
        """Returns the function's values.

        Shape:
            (n, d) to (n,).
        """
        if not len(self.points) or not len(points):
            return np.zeros(len(points))
        values: FloatArray = (
            _similarity((points - self.centre) / self.scale, self.points, self.reach) @ self.weights
        )
        return values


def smooth(points: FloatArray, values: FloatArray) -> tuple[Smoother, FloatArray]:
    """Fits a function to what was measured.

    Args:
        points: Where.
        values: What.

    Returns:
        The function, and what it says of each point when that point itself is left out.

    Shape:
        (n, d) and (n,) to (n,).
    """
    centre, scale = _standard_units(points)
    placed = (points - centre) / scale
    if len(points) < _FEWEST:
        return _nothing(centre, scale), np.zeros(len(values))
    searched = _spread(len(points), _MOST_SEARCHED)
    reach, noise = _best(placed[searched], values[searched])
    if not reach:
        return _nothing(centre, scale), np.zeros(len(values))
    kept = _spread(len(points), _MOST)
    inverse = _inverse(placed[kept], reach, noise)
    weights = inverse @ values[kept]
    found = Smoother(points=placed[kept], weights=weights, centre=centre, scale=scale, reach=reach)
    left_out = found.at(points)
    left_out[kept] = values[kept] - weights / np.diag(inverse)
    return found, left_out


def _best(placed: FloatArray, values: FloatArray) -> tuple[float, float]:
    """Returns the reach and noise with the least errors of leaving one out; 0 if none helps."""
    best, least = (0.0, 0.0), float(np.square(values).sum())
    for reach, noise in itertools.product(_REACHES, _NOISES):
        scaled = reach * placed.shape[1] ** 0.5
        inverse = _inverse(placed, scaled, noise)
        errors = (inverse @ values) / np.diag(inverse)
        if np.square(errors).sum() < least:
            best, least = (scaled, noise), float(np.square(errors).sum())
    return best


def _inverse(placed: FloatArray, reach: float, noise: float) -> FloatArray:
    inverse: FloatArray = linalg.inv(
        _similarity(placed, placed, reach) + noise * np.eye(len(placed))
    )
    return inverse


def _nothing(centre: FloatArray, scale: FloatArray) -> Smoother:
    return Smoother(
        points=np.zeros((0, len(centre))),
        weights=np.zeros(0),
        centre=centre,
        scale=scale,
        reach=1.0,
    )


def _spread(count: int, most: int) -> NDArray[np.intp]:
    """Returns the places of at most so many points, evenly over all."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


def _standard_units(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    if not len(points):
        return np.zeros(points.shape[1]), np.ones(points.shape[1])
    scale = points.std(axis=0)
    return points.mean(axis=0), np.where(scale > 0, scale, 1.0)


def _similarity(first: FloatArray, other: FloatArray, reach: float) -> FloatArray:
    similar: FloatArray = np.exp(-0.5 * cdist(first, other, "sqeuclidean") / reach**2)
    return similar
