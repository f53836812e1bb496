"""Labelled people and predicted ones as arrays, as scoring takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._results import FloatArray

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

NOBODY = -1
"""Stands for the annotation id of a prediction that does not say whose it is."""


@dataclass(frozen=True, kw_only=True)
class People:
    """The annotations of a split: G people or crowds with K key points.

    Attributes:
        ids: Their annotation ids (G,).
        image_ids: Which image each is in (G,).
        keypoints: x, y in pixels and a flag, 0 where not labelled (G, K, 3).
        areas_px: Areas of their masks (G,).
        boxes_px: Left, top, width, height (G, 4).
        num_labelled: The annotations' own number of key points (G,).
        crowds: Which of them are crowds (G,).
    """

    ids: IntArray
    image_ids: IntArray
    keypoints: FloatArray
    areas_px: FloatArray
    boxes_px: FloatArray
    num_labelled: IntArray
    crowds: BoolArray

    @classmethod
    def of_annotations(cls, entries: Sequence[dict[str, Any]], num_joints: int) -> People:
        """Returns the people of COCO's annotation entries."""
        return cls(
            ids=_whole(entries, "id"),
            image_ids=_whole(entries, "image_id"),
            keypoints=_numbers(entries, "keypoints", 3 * num_joints).reshape(-1, num_joints, 3),
            areas_px=np.array([entry["area"] for entry in entries], dtype=np.float64),
            boxes_px=_numbers(entries, "bbox", 4),
            num_labelled=_whole(entries, "num_keypoints"),
            crowds=np.array([bool(entry.get("iscrowd", 0)) for entry in entries], dtype=np.bool_),
        )

    @property
    def labelled(self) -> BoolArray:
        """Which of them are one person each, with at least one labelled key point (G,)."""
        shown = (self.keypoints[..., 2] > 0).any(axis=1)
        labelled: BoolArray = ~self.crowds & (self.num_labelled > 0) & shown
        return labelled


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Predictions for a split: D people with K key points.

    Attributes:
        image_ids: Which image each is for (D,).
        keypoints: x, y in pixels and anything (D, K, 3).
        scores: How confident each is (D,).
        annotation_ids: Whose prediction it is, ``NOBODY`` where it does not say (D,).
    """

    image_ids: IntArray
    keypoints: FloatArray
    scores: FloatArray
    annotation_ids: IntArray

    @classmethod
    def of_predictions(cls, entries: Sequence[dict[str, Any]], num_joints: int) -> Detections:
        """Returns the predictions of entries in COCO's results form."""
        owners = [entry.get("annotation_id", NOBODY) for entry in entries]
        return cls(
            image_ids=_whole(entries, "image_id"),
            keypoints=_numbers(entries, "keypoints", 3 * num_joints).reshape(-1, num_joints, 3),
            scores=np.array([entry["score"] for entry in entries], dtype=np.float64),
            annotation_ids=np.array(owners, dtype=np.int64),
        )

    def __len__(self) -> int:
        """Number of predictions."""
        return len(self.scores)

    def part(self, index: IntArray) -> Detections:
        """Returns some of the predictions."""
        return Detections(
            image_ids=self.image_ids[index],
            keypoints=self.keypoints[index],
            scores=self.scores[index],
            annotation_ids=self.annotation_ids[index],
        )

    @property
    def areas_px(self) -> FloatArray:
        """Areas of the boxes around all key points, as COCO gives them to results (D,)."""
        points = self.keypoints[..., :2]
        sides = points.max(axis=1) - points.min(axis=1) if len(self) else np.zeros((0, 2))
        areas: FloatArray = sides[:, 0] * sides[:, 1]
        return areas


def _whole(entries: Sequence[dict[str, Any]], key: str) -> IntArray:
    return np.array([entry[key] for entry in entries], dtype=np.int64)


def _numbers(entries: Sequence[dict[str, Any]], key: str, num: int) -> FloatArray:
    return np.array([entry[key] for entry in entries], dtype=np.float64).reshape(-1, num)
