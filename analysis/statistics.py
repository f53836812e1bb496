"""Uncertainty of scores over images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol as StructuralType

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
_MAX_WEIGHTS = 4_000_000
"""Image weights in memory at once (32 MB)."""


class PerImage(StructuralType):
    """Per-image results of some task: anything that can score itself under image weights."""

    @property
    def num_images(self) -> int:
        """Number of images."""
        ...

    def score(self, image_weights: NDArray[np.float64], metric: str = "") -> NDArray[np.float64]:
        """Scores the data set with each image counted as often as its weight says.

        Args:
            image_weights: R rows of weights.
            metric: What to score by; "" for the task's headline.

        Shape:
            (R, num_images) to (R,).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score, or a difference of two, with its bootstrap interval.

    Attributes:
        value: The score on all images.
        low: The 2.5th percentile over resamples.
        high: The 97.5th percentile.
        num_resamples: Number of resamples.
    """

    value: float
    low: float
    high: float
    num_resamples: int


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """A difference of two scores under resampling.

    Attributes:
        interval: The difference with its 95 % interval.
        standard_error: Standard deviation of the difference over resamples; NaN where undefined.
    """

    interval: Interval
    standard_error: float


def bootstrap(
    results: PerImage, *, seed: int, num_resamples: int = NUM_RESAMPLES, metric: str = ""
) -> Interval:
    """Returns a score with its 95 % percentile bootstrap interval over images.

    Images are drawn with replacement (Efron 1979). The interval speaks of these trained weights
    on other images of the same kind, not of other training runs.

    Args:
        results: Per-image results.
        seed: Seed of the resampling.
        num_resamples: Number of resamples.
        metric: What to score by; "" for the task's headline.
    """
    value = results.score(np.ones((1, results.num_images)), metric)[0]
    resamples = _image_weights(results.num_images, seed, num_resamples)
    return _interval(
        value, np.concatenate([results.score(weights, metric) for weights in resamples])
    )


def paired_bootstrap(
    first: PerImage,
    second: PerImage,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    metric: str = "",
) -> Interval:
    """Returns how much better ``first`` scores than ``second``, with its 95 % interval.

    Both are scored on the same resampled images, so that what is hard for both cancels out: it
    tells networks apart whose own intervals overlap.

    Args:
        first: Per-image results of one network.
        second: Results of the other, on the same images in the same order.
        seed: Seed of the resampling.
        num_resamples: Number of resamples.
        metric: What to score by; "" for the task's headline.
    """
    return resample_difference(
        first, second, seed=seed, num_resamples=num_resamples, metric=metric
    ).interval


def resample_difference(
    first: PerImage,
    second: PerImage,
    *,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    metric: str = "",
) -> Resampled:
    """Returns the difference of ``paired_bootstrap`` with its standard error.

    Args:
        first: Per-image results of one network.
        second: Results of the other, on the same images in the same order.
        seed: Seed of the resampling.
        num_resamples: Number of resamples.
        metric: What to score by; "" for the task's headline.
    """
    assert first.num_images == second.num_images
    every = np.ones((1, first.num_images))
    differences = np.concatenate(
        [
            first.score(weights, metric) - second.score(weights, metric)
            for weights in _image_weights(first.num_images, seed, num_resamples)
        ]
    )
    value = (first.score(every, metric) - second.score(every, metric))[0]
    valid = differences[~np.isnan(differences)]
    return Resampled(
        interval=_interval(value, differences),
        standard_error=float(valid.std(ddof=1)) if len(valid) > 1 else float("nan"),
    )


def _image_weights(count: int, seed: int, num_resamples: int) -> Iterator[NDArray[np.float64]]:
    """Yields how often each image is drawn, some resamples at a time."""
    assert count > 0
    generator = np.random.default_rng(seed)
    at_once = max(1, _MAX_WEIGHTS // count)
    for start in range(0, num_resamples, at_once):
        size = min(at_once, num_resamples - start)
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=size)
        yield drawn.astype(np.float64)


def _interval(value: np.float64, resampled: NDArray[np.float64]) -> Interval:
    valid = resampled[~np.isnan(resampled)]
    low, high = np.percentile(valid, [2.5, 97.5]) if valid.size else (value, value)
    return Interval(
        value=float(value), low=float(low), high=float(high), num_resamples=resampled.size
    )
