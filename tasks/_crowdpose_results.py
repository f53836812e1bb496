"""CrowdPose's metrics by image: COCO's, and those of images that are more or less crowded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from ._oks import PCK, KeypointResults
from ._results import Arrays, FloatArray, ImageResults, checked_weights

_COCO_NAMES: Mapping[str, str] = {
    **{f"AP_{name}": f"AP{suffix}" for name, suffix in (("all", ""), ("50", "50"), ("75", "75"))},
    **{f"AR_{name}": f"AR{suffix}" for name, suffix in (("all", ""), ("50", "50"), ("75", "75"))},
}
# From how much crowding on, and below how much. The paper says 0.1 where the benchmark's own
# evaluator has 0.2.
_CROWDING: Mapping[str, tuple[float, float]] = {
    "AP_easy": (-np.inf, 0.2),
    "AP_medium": (0.2, 0.8),
    "AP_hard": (0.8, np.inf),
}
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class CrowdPoseResults(ImageResults):
    """CrowdPose's metrics of one network on one split (Li et al., CVPR 2019).

    Attributes:
        keypoints: COCO's metrics, with CrowdPose's similarity.
        crowding: How crowded each image is, from 0 to 1 (I,).
    """

    headline: ClassVar[str] = "AP_all"
    metric_names: ClassVar[tuple[str, ...]] = (*_COCO_NAMES, *_CROWDING, PCK)

    keypoints: KeypointResults
    crowding: FloatArray

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images' ids, by rising id."""
        return self.keypoints.image_names

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of COCO's metrics."""
        return self.keypoints.notes

    def score(self, image_weights: npt.ArrayLike, metric: str = "") -> FloatArray:
        """Returns a metric under each row of image weights; see ``ImageResults.score``."""
        weights = checked_weights(image_weights, self.num_images)
        metric = metric or self.headline
        if metric == PCK:
            return self.keypoints.score(weights, PCK)
        if metric in _COCO_NAMES:
            return self.keypoints.score(weights, _COCO_NAMES[metric])
        low, high = _CROWDING[metric]
        chosen = (self.crowding >= low) & (self.crowding < high)
        return self.keypoints.score(weights * chosen, "AP")

    def beside(self, other: Self) -> Self:
        """Returns the results on these images and, after them, another network's on the same."""
        return dataclasses.replace(
            self,
            keypoints=self.keypoints.beside(other.keypoints),
            crowding=np.concatenate([self.crowding, other.crowding]),
        )

    def report(self) -> dict[str, Any]:
        """Returns the nine numbers of CrowdPose, three to 4 digits as its evaluator's, and PCK."""
        metrics = self.metrics
        return metrics | {name: round(metrics[name], _DIGITS) for name in _CROWDING}

    def arrays(self) -> Arrays:
        """Returns all of it as arrays."""
        return {**self.keypoints.arrays(), "crowding": self.crowding}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Makes results from their arrays."""
        return cls(keypoints=KeypointResults.from_arrays(arrays), crowding=arrays["crowding"])
