"""Two trained networks on the same images: the paired difference, and whether it is more than luck.

The claim is about these two sets of weights. What another training run of the same networks would
give is asked in ``analysis.seeds``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol as StructuralType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import NUM_RESAMPLES, Interval, Resampled, resample_difference

LEVEL = 0.05
"""The nominal rate of false differences."""
POWER = 0.8
"""The power at which a difference is called detectable."""
NUM_PERMUTATIONS = 10_000

_MAX_WEIGHTS = 4_000_000
_ROUNDING = 1e-12
_NORMAL = NormalDist()


class Pairable(StructuralType):
    """Per-image results that can be put beside those of another network."""

    @property
    def num_images(self) -> int:
        """Number of images."""
        ...

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images, in the order of the weights."""
        ...

    def score(self, image_weights: NDArray[np.float64], metric: str = "") -> NDArray[np.float64]:
        """Scores the data set with each image counted as often as its weight says."""
        ...

    def beside(self, other: Self) -> Self:
        """Returns these images and, after them, the other's."""
        ...


@dataclass(frozen=True, kw_only=True)
class ImageComparison:
    """How two trained networks differ on the same images.

    Attributes:
        metric: What was compared.
        difference: The first's score less the second's, with its paired bootstrap interval.
        p: How often swapping the two networks' results image by image gives a difference at
            least as large; two-sided.
        num_permutations: Swaps behind ``p``, the observed one included.
        is_exact: Whether these are all the swaps that there are.
        num_images: Images that the two were compared on.
        critical: The difference from which on ``p`` is at most ``LEVEL``.
        standard_error: Of the difference, over images.
    """

    metric: str
    difference: Interval
    p: float
    num_permutations: int
    is_exact: bool
    num_images: int
    critical: float
    standard_error: float

    @property
    def differs(self) -> bool:
        """Whether the two can be told apart at ``LEVEL``."""
        return self.p <= LEVEL

    def power(self, effect: float) -> float:
        """Returns how often other images of the same kind would show a true difference.

        A normal approximation around the measured standard error.

        Args:
            effect: The true difference.
        """
        if self.standard_error == 0:
            return float(abs(effect) > 0 and abs(effect) >= self.critical)
        above = _NORMAL.cdf((abs(effect) - self.critical) / self.standard_error)
        below = _NORMAL.cdf((-abs(effect) - self.critical) / self.standard_error)
        return above + below

    @property
    def detectable(self) -> float:
        """The smallest true difference that is found with a power of ``POWER``, about."""
        return self.critical + _NORMAL.inv_cdf(POWER) * self.standard_error


def compare_on_images(  # noqa: PLR0913 - the settings of a test
    first: Pairable,
    second: Pairable,
    *,
    metric: str = "",
    seed: int = 0,
    num_permutations: int = NUM_PERMUTATIONS,
    num_resamples: int = NUM_RESAMPLES,
) -> ImageComparison:
    """Compares two trained networks by a paired permutation test over images.

    Were the two equally good, each image's two results might as well have come the other way
    round (Fisher 1935). All ways are tried where there are no more than ``num_permutations``,
    else that many at random.

    Args:
        first: Per-image results of one network.
        second: Results of the other on the same images in the same order.
        metric: What to compare; "" for the task's headline.
        seed: Seed of the resampling and of the permutations.
        num_permutations: Most swaps to try.
        num_resamples: Bootstrap resamples behind the interval.

    Raises:
        ValueError: If the images are not the same.
    """
    _check_paired(first, second)
    resampled: Resampled = resample_difference(
        first, second, metric=metric, seed=seed, num_resamples=num_resamples
    )
    swapped = swap_results(
        first, second, metric=metric, seed=seed, num_permutations=num_permutations
    )
    return ImageComparison(
        metric=metric,
        difference=resampled.interval,
        p=swapped.p,
        num_permutations=swapped.num_permutations,
        is_exact=swapped.is_exact,
        num_images=first.num_images,
        critical=swapped.critical,
        standard_error=resampled.standard_error,
    )


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """What swapping two networks' results image by image gives; see ``ImageComparison``.

    Attributes:
        p: How often the difference is at least as large as the observed one.
        num_permutations: Swaps behind ``p``, the observed one included.
        is_exact: Whether these are all the swaps that there are.
        critical: The difference from which on ``p`` is at most ``LEVEL``.
    """

    p: float
    num_permutations: int
    is_exact: bool
    critical: float


def swap_results(
    first: Pairable,
    second: Pairable,
    *,
    metric: str = "",
    seed: int = 0,
    num_permutations: int = NUM_PERMUTATIONS,
) -> Swapped:
    """Returns the permutation test of ``compare_on_images`` alone.

    Args:
        first: Per-image results of one network.
        second: Results of the other on the same images in the same order.
        metric: What to compare; "" for the task's headline.
        seed: Seed of the permutations.
        num_permutations: Most swaps to try.

    Raises:
        ValueError: If the images are not the same.
    """
    _check_paired(first, second)
    num_images = first.num_images
    every = np.ones((1, num_images))
    observed = abs(float((first.score(every, metric) - second.score(every, metric))[0]))
    is_exact = 2 ** (num_images - 1) <= num_permutations
    swaps = (
        _every_swap(num_images)
        if is_exact
        else _random_swaps(num_images, seed, num_permutations - 1)
    )
    both = first.beside(second)
    under_null = np.concatenate([_differences(both, chunk, metric) for chunk in swaps])
    if not is_exact:
        # The observed order is one of the permutations, so p is never 0.
        under_null = np.append(under_null, observed)
    # What is undefined under a swap speaks for neither side: it counts against a difference.
    extreme = np.isnan(under_null) | (under_null >= observed - _ROUNDING)
    defined = under_null[~np.isnan(under_null)]
    return Swapped(
        p=float(extreme.mean()),
        num_permutations=len(under_null),
        is_exact=is_exact,
        critical=_critical(defined),
    )


def _check_paired(first: Pairable, second: Pairable) -> None:
    if first.image_names != second.image_names:
        message = "paired results need the same images in the same order"
        raise ValueError(message)


def _critical(under_null: NDArray[np.float64]) -> float:
    """The least difference that no more than ``LEVEL`` of the swaps reach; infinite if none is."""
    falling = np.sort(under_null)[::-1]
    allowed = int(LEVEL * len(falling) + _ROUNDING)
    # A value repeated beyond its place would be reached too often: the next one above is needed.
    for value in falling[:allowed][::-1]:
        if (under_null >= value - _ROUNDING).sum() <= allowed:
            return float(value)
    return float("inf")


def _differences(
    both: Pairable, is_swapped: NDArray[np.float64], metric: str
) -> NDArray[np.float64]:
    """Absolute differences under swaps (R, num_images)."""
    kept = 1 - is_swapped
    first = both.score(np.concatenate([kept, is_swapped], axis=1), metric)
    second = both.score(np.concatenate([is_swapped, kept], axis=1), metric)
    return np.abs(first - second)


def _every_swap(num_images: int) -> Iterator[NDArray[np.float64]]:
    """Yields all swaps but those that only change the sign: the first image stays."""
    count = 2 ** (num_images - 1)
    numbers = np.arange(count)[:, None]
    bits = numbers >> np.arange(num_images - 1)[None] & 1
    yield np.concatenate([np.zeros((count, 1)), bits], axis=1).astype(np.float64)


def _random_swaps(num_images: int, seed: int, count: int) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng([seed, 1])
    at_once = max(1, _MAX_WEIGHTS // num_images)
    for start in range(0, count, at_once):
        shape = (min(at_once, count - start), num_images)
        yield generator.integers(2, size=shape).astype(np.float64)
