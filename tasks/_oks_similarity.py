"""Object key-point similarity: how near a predicted person is to a labelled one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._keypoint_arrays import Detections, IntArray, People
from ._results import FloatArray

COCO_SIGMAS = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
)
"""How far annotators disagree on each of COCO's key points, relative to the person's scale."""

# How much of a person's box their mask covers, where there is no mask.
_BOX_SHARE = 0.53
_CHUNK_PAIRS = 100_000


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Which similarity: the tolerance of each key point, and what a person's scale is.

    Attributes:
        sigmas: How far annotators disagree on each key point, relative to the scale.
        area_of_box: Whether the squared scale is 0.53 of the box, as CrowdPose has it, and not
            the area of the mask.
    """

    sigmas: tuple[float, ...]
    area_of_box: bool = False

    @property
    def num_joints(self) -> int:
        """Number of key points."""
        return len(self.sigmas)

    @property
    def _variances(self) -> FloatArray:
        variances: FloatArray = (np.array(self.sigmas) * 2) ** 2
        return variances

    def of_pairs(
        self, people: People, detections: Detections, person: IntArray, detection: IntArray
    ) -> FloatArray:
        """Returns the similarity of each pair of a person and a prediction.

        The mean over labelled key points of ``exp(-d^2 / (2 s^2 k^2))`` with d the distance in
        pixels, s^2 the person's area and k twice the key point's sigma
        (https://cocodataset.org/#keypoints-eval). Where a person has none, d is the distance to
        their box, doubled to each side, and the mean is over all.

        Shape:
            (P,) and (P,) -> (P,).
        """
        result = np.empty(len(person))
        for start in range(0, len(person), _CHUNK_PAIRS):
            part = slice(start, start + _CHUNK_PAIRS)
            result[part] = self._of_some(people, detections, person[part], detection[part])
        return result

    def _of_some(
        self, people: People, detections: Detections, person: IntArray, detection: IntArray
    ) -> FloatArray:
        true, made = people.keypoints[person], detections.keypoints[detection]
        labelled = true[..., 2] > 0
        num_labelled = labelled.sum(axis=1)
        offsets = made[..., :2] - true[..., :2]
        alone = np.flatnonzero(num_labelled == 0)
        if len(alone):
            boxes = people.boxes_px[person[alone]]
            low, sides = boxes[:, None, :2] - boxes[:, None, 2:], boxes[:, None, 2:]
            points = made[alone][..., :2]
            high = boxes[:, None, :2] + sides * 2
            offsets[alone] = np.maximum(0, low - points) + np.maximum(0, points - high)
            labelled[alone] = True
            num_labelled[alone] = self.num_joints
        squared = offsets[..., 0] ** 2 + offsets[..., 1] ** 2
        areas_px = people.areas_px
        if self.area_of_box:
            areas_px = people.boxes_px[:, 2] * people.boxes_px[:, 3] * _BOX_SHARE
        scale = areas_px[person][:, None] + np.spacing(1)
        nearness = np.exp(-(squared / self._variances / scale / 2))
        result = np.empty(len(person))
        # Sums over as many numbers as there are, so that they round as those of pycocotools.
        for num in np.unique(num_labelled):
            rows = np.flatnonzero(num_labelled == num)
            some = nearness[rows][labelled[rows]].reshape(len(rows), num)
            result[rows] = some.sum(axis=1) / num
        return result

    def of_predictions(
        self, first: FloatArray, others: FloatArray, scales: FloatArray
    ) -> FloatArray:
        """Returns the similarity of one prediction to others.

        Args:
            first: Its key points, x and y in pixels (K, 2).
            others: Those of the others (P, K, 2).
            scales: The squared scale of each pair, in square pixels (P,).
        """
        offsets = others - first
        squared = offsets[..., 0] ** 2 + offsets[..., 1] ** 2
        scale = scales[:, None] + np.spacing(1)
        nearness: FloatArray = np.exp(-(squared / self._variances / scale / 2))
        means: FloatArray = nearness.sum(axis=1) / self.num_joints
        return means


COCO_SIMILARITY = Similarity(sigmas=tuple(COCO_SIGMAS.tolist()))
"""The similarity of COCO."""


def keypoint_similarity(truth: Mapping[str, Any], keypoints: Sequence[float]) -> float:
    """Returns the object key-point similarity of a prediction to a labelled person of COCO.

    Args:
        truth: An annotation with at least one labelled key point.
        keypoints: 17 times x, y and anything, in image pixels.
    """
    num_joints = COCO_SIMILARITY.num_joints
    entry = {"id": 0, "image_id": 0, "bbox": [0.0] * 4, "num_keypoints": 1, **truth}
    made = {"image_id": 0, "keypoints": list(keypoints), "score": 1.0}
    only = np.zeros(1, dtype=np.int64)
    people = People.of_annotations([entry], num_joints)
    detections = Detections.of_predictions([made], num_joints)
    return float(COCO_SIMILARITY.of_pairs(people, detections, only, only)[0])
