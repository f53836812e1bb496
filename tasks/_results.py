"""What a task's metric yields: results by image, which can be weighted anew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

Arrays = Mapping[str, npt.NDArray[Any]]
"""Named arrays of numbers or text, as ``numpy.savez`` writes them."""


class ImageResults(ABC):
    """Results by image of one network on one split.

    A bootstrap draws images with replacement, that is, it gives each image a weight; a paired
    test gives two networks the same weights, and a permutation test swaps their results image by
    image: it weighs the images of both, put beside each other, with 0 and 1. All of them need a
    metric under weights, and nothing else of a task.
    """

    headline: ClassVar[str]
    """The metric that stands for the network, a key of ``metrics``."""

    metric_names: ClassVar[tuple[str, ...]]
    """The keys of ``metrics``, which studies can search by."""

    @property
    @abstractmethod
    def image_names(self) -> tuple[str, ...]:
        """The images, by id or by name, in the order of the weights; sorted by the task."""

    @property
    def num_images(self) -> int:
        """Number of images: the length of one row of weights."""
        return len(self.image_names)

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric under equal weights; fractions from 0 to 1, NaN where undefined."""
        ones = np.ones((1, self.num_images))
        return {name: float(self.score(ones, name)[0]) for name in self.metric_names}

    @abstractmethod
    def score(self, image_weights: npt.ArrayLike, metric: str = "") -> FloatArray:
        """Returns a metric under each row of weights.

        An integer weight counts the image that many times; a row of ones gives
        ``metrics[metric]``.

        Args:
            image_weights: R rows of weights, none negative (R, num_images).
            metric: A key of ``metrics``, by default the headline.

        Returns:
            One number a row (R,); NaN where a row leaves nothing to be found.

        Raises:
            ValueError: If the array has another shape or a negative weight.
        """

    @abstractmethod
    def beside(self, other: Self) -> Self:
        """Returns the results of 2 num_images images: these, then another network's on the same.

        Args:
            other: Results on the same images.
        """

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Returns every number under the names, and in the units, of the field's own evaluators."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers has to know besides, a sentence each."""
        return ()

    @abstractmethod
    def arrays(self) -> Arrays:
        """Returns all of it as arrays, from which ``from_arrays`` makes it anew."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Makes results from their arrays.

        Raises:
            KeyError: If an array is missing.
        """


def checked_weights(image_weights: npt.ArrayLike, num_images: int) -> FloatArray:
    """Returns image weights as an array.

    Raises:
        ValueError: If it has another shape than (R, num_images), or a negative weight.
    """
    weights = np.asarray(image_weights, dtype=np.float64)
    if weights.shape != (*weights.shape[:1], num_images) or not (weights >= 0).all():
        message = f"weights must be at least 0 and of shape (R, {num_images})"
        raise ValueError(f"{message}, got shape {weights.shape}")
    return weights


def share(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Returns parts as fractions of their wholes; NaN where the whole is nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fractions: FloatArray = part / whole
    return fractions
