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
        areas_px: How large COCO takes each to be, for the metrics of medium and large people (D,).
        num_others: How many predictions of other categories were left out.
    """

    image_ids: IntArray
    keypoints: FloatArray
    scores: FloatArray
    annotation_ids: IntArray
    areas_px: FloatArray
    num_others: int = 0

    @classmethod
    def of_predictions(
        cls, entries: Sequence[dict[str, Any]], num_joints: int, *, has_boxes: bool = False
    ) -> Detections:
        """Returns the predictions of entries in COCO's results form.

        Args:
            entries: The predictions.
            num_joints: Number of key points of each.
            has_boxes: Whether their areas are those of their ``bbox``; see ``begins_with_box``.
        """
        owners = [entry.get("annotation_id", NOBODY) for entry in entries]
        keypoints = _numbers(entries, "keypoints", 3 * num_joints).reshape(-1, num_joints, 3)
        boxes = _numbers(entries, "bbox", 4) if has_boxes else None
        return cls(
            image_ids=_whole(entries, "image_id"),
            keypoints=keypoints,
            scores=np.array([entry["score"] for entry in entries], dtype=np.float64),
            annotation_ids=np.array(owners, dtype=np.int64),
            areas_px=areas_around(keypoints) if boxes is None else boxes[:, 2] * boxes[:, 3],
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
            areas_px=self.areas_px[index],
            num_others=self.num_others,
        )


def areas_around(keypoints: FloatArray) -> FloatArray:
    """Returns the areas of the boxes around all key points.

    Shape:
        (D, K, 3) -> (D,).
    """
    points = keypoints[..., :2]
    sides = points.max(axis=1) - points.min(axis=1) if len(points) else np.zeros((0, 2))
    areas: FloatArray = sides[:, 0] * sides[:, 1]
    return areas


def begins_with_box(entries: Sequence[dict[str, Any]]) -> bool:
    """Tells whether the first entry has a box, by which COCO knows that areas are of boxes."""
    return bool(entries) and entries[0].get("bbox", []) != []


def _whole(entries: Sequence[dict[str, Any]], key: str) -> IntArray:
    return np.array([entry[key] for entry in entries], dtype=np.int64)


def _numbers(entries: Sequence[dict[str, Any]], key: str, num: int) -> FloatArray:
    return np.array([entry[key] for entry in entries], dtype=np.float64).reshape(-1, num)
