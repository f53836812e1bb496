"""PCKh, the metric of MPII: which part of the visible joints lies near enough to its place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from ._outputs import MPII_JOINTS
from ._results import Arrays, FloatArray, ImageResults, checked_weights, share

BoolArray = npt.NDArray[np.bool_]

THRESHOLDS = (0.5, 0.1)
"""How far a joint may lie from its place, in head sizes."""

_HEAD_SHARE = 0.6
"""The size of a head is 0.6 of the diagonal of its box."""

_SHORT_NAMES = (
    *("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"),
    *("neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"),
)
_LEFT_OUT = tuple(MPII_JOINTS.index(name) for name in ("pelvis", "thorax"))
_COUNTED = tuple(index for index in range(len(MPII_JOINTS)) if index not in _LEFT_OUT)
_PARTS = {
    "Head": ("head_top",),
    **{
        part: (f"left_{part.lower()}", f"right_{part.lower()}")
        for part in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
    },
}


@dataclass(frozen=True, kw_only=True)
class PckTruth:
    """Where the joints of P people are.

    Attributes:
        names: The image of each person (P,).
        points_px: Positions, counted from 1 as MPII has them (P, 16, 2).
        visible: Which of them are labelled (P, 16).
        head_boxes_px: Two corners of each head's box (P, 2, 2).
    """

    names: tuple[str, ...]
    points_px: FloatArray
    visible: BoolArray
    head_boxes_px: FloatArray

    @property
    def head_sizes_px(self) -> FloatArray:
        """The lengths by which errors are measured (P,)."""
        corners = self.head_boxes_px
        sizes: FloatArray = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1) * _HEAD_SHARE
        return sizes

    @property
    def counted(self) -> BoolArray:
        """Which joints the means over all are of: visible, not pelvis or thorax (P, 16)."""
        return self.visible & np.isin(np.arange(len(MPII_JOINTS)), _COUNTED)

    def part(self, rows: npt.NDArray[np.intp]) -> PckTruth:
        """Returns some of the people."""
        return PckTruth(
            names=tuple(self.names[row] for row in rows),
            points_px=self.points_px[rows],
            visible=self.visible[rows],
            head_boxes_px=self.head_boxes_px[rows],
        )


@dataclass(frozen=True, kw_only=True)
class PckResults(ImageResults):
    """PCKh of one network on one split (Andriluka et al., CVPR 2014).

    ``PCKh@0.5`` and ``PCKh@0.1`` are means over all visible joints but pelvis and thorax, which
    weigh by how often they are visible; ``Head`` and the like are means of left and right at 0.5.

    Attributes:
        names: The images, sorted.
        num_near: By threshold, image and joint, how many are near enough (2, I, 16).
        num_visible: By image and joint, how many are visible (I, 16).
    """

    headline: ClassVar[str] = "PCKh@0.5"
    metric_names: ClassVar[tuple[str, ...]] = (*(f"PCKh@{one}" for one in THRESHOLDS), *_PARTS)

    names: tuple[str, ...]
    num_near: FloatArray
    num_visible: FloatArray

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images' names, sorted."""
        return self.names

    def score(self, image_weights: npt.ArrayLike, metric: str = "") -> FloatArray:
        """Returns a metric under each row of image weights; see ``ImageResults.score``."""
        weights = checked_weights(image_weights, self.num_images)
        metric = metric or self.headline
        if metric in _PARTS:
            return self._of_part(weights, 0, metric)
        return self._mean(weights, [f"PCKh@{one}" for one in THRESHOLDS].index(metric))

    def _mean(self, weights: FloatArray, threshold: int) -> FloatArray:
        near = weights @ self.num_near[threshold][:, _COUNTED].sum(axis=1)
        return share(near, weights @ self.num_visible[:, _COUNTED].sum(axis=1))

    def _of_part(self, weights: FloatArray, threshold: int, part: str) -> FloatArray:
        joints = [MPII_JOINTS.index(name) for name in _PARTS[part]]
        near = weights @ self.num_near[threshold][:, joints]
        mean: FloatArray = share(near, weights @ self.num_visible[:, joints]).mean(axis=1)
        return mean

    def beside(self, other: Self) -> Self:
        """Returns the results on these images and, after them, another network's on the same."""
        return dataclasses.replace(
            self,
            names=self.names + other.names,
            num_near=np.concatenate([self.num_near, other.num_near], axis=1),
            num_visible=np.concatenate([self.num_visible, other.num_visible]),
        )

    def report(self) -> dict[str, Any]:
        """Returns PCKh in per cent, by joint, by part and over all, at both thresholds."""
        ones = np.ones((1, self.num_images))
        counts = self.num_visible.sum(axis=0)
        report: dict[str, Any] = {}
        for index, threshold in enumerate(THRESHOLDS):
            by_joint = 100 * share(self.num_near[index].sum(axis=0), counts)
            report[f"PCKh@{threshold}"] = {
                "per_joint": dict(zip(_SHORT_NAMES, by_joint.tolist(), strict=True)),
                **{part: 100 * float(self._of_part(ones, index, part)[0]) for part in _PARTS},
                "Mean": 100 * float(self._mean(ones, index)[0]),
            }
        visible = zip(_SHORT_NAMES, counts.astype(int).tolist(), strict=True)
        return {**report, "visible_joint_counts": dict(visible)}

    def arrays(self) -> Arrays:
        """Returns all of it as arrays."""
        return {
            "names": np.array(self.names),
            "num_near": self.num_near,
            "num_visible": self.num_visible,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Makes results from their arrays."""
        return cls(
            names=tuple(map(str, arrays["names"])),
            num_near=arrays["num_near"],
            num_visible=arrays["num_visible"],
        )


def score_points(truth: PckTruth, points_px: FloatArray) -> PckResults:
    """Scores predicted joints.

    Args:
        truth: The people.
        points_px: Their predicted joints, counted from 1 (P, 16, 2); one that is NaN is missed.
    """
    distances = np.linalg.norm(points_px - truth.points_px, axis=2)
    # Not divided: to a head without any size only a joint in its very place is near.
    sizes = truth.head_sizes_px[:, None]
    names, image = np.unique(np.array(truth.names), return_inverse=True)
    near = [
        _by_image((distances <= one * sizes) & truth.visible, image, len(names))
        for one in THRESHOLDS
    ]
    return PckResults(
        names=tuple(map(str, names)),
        num_near=np.stack(near),
        num_visible=_by_image(truth.visible, image, len(names)),
    )


def _by_image(counted: BoolArray, image: npt.NDArray[np.intp], num_images: int) -> FloatArray:
    sums = np.zeros((num_images, counted.shape[1]))
    np.add.at(sums, image, counted)
    return sums
