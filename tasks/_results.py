"""What a task's metric yields: results by image, which can be weighted anew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class ImageResults(ABC):
    """Results by image of one network on one split.

    A bootstrap draws images with replacement, that is, it gives each image a weight; a paired
    test gives two networks the same weights. Both need the headline metric under weights, and
    nothing else of a task.
    """

    headline: ClassVar[str]
    """The metric that stands for the network, a key of ``metrics``."""

    @property
    @abstractmethod
    def num_images(self) -> int:
        """Number of images, in the split's order: the length of one row of weights."""

    @property
    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Every metric under equal weights; fractions from 0 to 1, NaN where undefined."""

    @abstractmethod
    def score(self, image_weights: npt.ArrayLike) -> FloatArray:
        """Returns the headline metric under each row of weights.

        An integer weight counts the image that many times; a row of ones gives
        ``metrics[headline]``.

        Args:
            image_weights: R rows of weights, none negative (R, num_images).

        Returns:
            One number a row (R,); NaN where a row leaves nothing to be found.

        Raises:
            ValueError: If the array has another shape or a negative weight.
        """
