"""Average precision under image weights, for all replicates of a bootstrap at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._results import Arrays, FloatArray

BoolArray = npt.NDArray[np.bool_]

RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls at which COCO reads the precision."""

_CHUNK_ELEMENTS = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The predictions of a split, the most confident first, matched at T thresholds.

    Attributes:
        image_index: Which image each prediction is for (D,).
        scores: Its confidence, falling (D,).
        found: Whether a prediction found a person, by threshold (T, D).
        counted: Whether it counts at all, by threshold; one matched to a crowd does not (T, D).
        num_people: How many people there are to be found in each image (I,).
        empty: True if no image has either people or predictions: nothing is defined then.
    """

    image_index: npt.NDArray[np.intp]
    scores: FloatArray
    found: BoolArray
    counted: BoolArray
    num_people: FloatArray
    empty: bool

    def at_threshold(self, index: int) -> Ranking:
        """Returns the ranking at one of its thresholds alone."""
        rows = slice(index, index + 1)
        return dataclasses.replace(self, found=self.found[rows], counted=self.counted[rows])

    def beside(self, other: Ranking) -> Ranking:
        """Returns the ranking over these images and, after them, another ranking's.

        Raises:
            ValueError: If the thresholds differ in number.
        """
        scores = np.concatenate([self.scores, other.scores])
        order = np.argsort(-scores, kind="stable")
        image_index = np.concatenate([self.image_index, other.image_index + len(self.num_people)])
        return Ranking(
            image_index=image_index[order],
            scores=scores[order],
            found=np.concatenate([self.found, other.found], axis=1)[:, order],
            counted=np.concatenate([self.counted, other.counted], axis=1)[:, order],
            num_people=np.concatenate([self.num_people, other.num_people]),
            empty=self.empty and other.empty,
        )

    def arrays(self) -> Arrays:
        """Returns all of it as arrays."""
        return {
            field.name: np.asarray(getattr(self, field.name)) for field in dataclasses.fields(self)
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Ranking:
        """Makes a ranking from its arrays."""
        return cls(
            image_index=arrays["image_index"].astype(np.intp),
            scores=arrays["scores"],
            found=arrays["found"],
            counted=arrays["counted"],
            num_people=arrays["num_people"],
            empty=bool(arrays["empty"]),
        )

    def average_precision(self, image_weights: FloatArray) -> FloatArray:
        """Returns the average precision by row of weights and by threshold.

        COCO's definition: precision made non-increasing in recall, read at 101 recalls. An
        image of weight w counts like w copies of it. A prediction that finds nobody moves
        neither recall nor the envelope of precision, so only the others are looked at.

        Shape:
            (R, I) -> (R, T).
        """
        num_rows, num_thresholds = len(image_weights), len(self.found)
        result = np.full((num_rows, num_thresholds), np.nan)
        step = max(1, _CHUNK_ELEMENTS // max(1, len(self.image_index)))
        for start in range(0, num_rows, step):
            rows = slice(start, start + step)
            people = image_weights[rows] @ self.num_people
            defined = (people > 0) & (not self.empty)
            weights = image_weights[rows][:, self.image_index]
            for threshold in range(num_thresholds):
                precision = self._mean_precision(weights, people, threshold)
                result[rows, threshold] = np.where(defined, precision, np.nan)
        return result

    def _mean_precision(
        self, weights: FloatArray, people: FloatArray, threshold: int
    ) -> FloatArray:
        found = np.flatnonzero(self.found[threshold] & self.counted[threshold])
        if not len(found):
            return np.zeros(len(weights))
        true = np.cumsum(weights[:, found], axis=1)
        # Predictions made so far, at the places where someone was found.
        counted = np.flatnonzero(self.counted[threshold])
        made = np.cumsum(weights[:, counted], axis=1)[:, np.searchsorted(counted, found)]
        precision = true / (made + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            recall = true / people[:, None]
        means = np.empty(len(weights))
        for row in range(len(weights)):
            at = np.searchsorted(recall[row], RECALLS, side="left")
            means[row] = envelope[row, at[at < len(found)]].sum() / len(RECALLS)
        return means

    def recall(self, image_weights: FloatArray) -> FloatArray:
        """Returns the part of all people found, by row of weights and by threshold.

        Shape:
            (R, I) -> (R, T).
        """
        people = image_weights @ self.num_people
        weights = image_weights[:, self.image_index]
        true = weights @ (self.found & self.counted).T.astype(np.float64)
        defined = (people > 0) & (not self.empty)
        with np.errstate(divide="ignore", invalid="ignore"):
            result: FloatArray = np.where(defined[:, None], true / people[:, None], np.nan)
        return result
