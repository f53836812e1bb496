"""Everyone's own prediction: how similar it is to them, and which of its key points are near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._keypoint_arrays import NOBODY, Detections, IntArray, People
from ._oks_similarity import Similarity
from ._results import FloatArray

NEAR = 0.1
"""How far a key point may lie from its place, in longer sides of the person's box."""


@dataclass(frozen=True, kw_only=True)
class OwnPredictions:
    """How near labelled people's own predictions are to them, summed by image.

    Someone without a prediction counts as one whose key points are all missed. Where there are
    predictions and none says whose it is, there is nothing to be known, and nobody is counted.

    Attributes:
        similarity: The similarity of each one's own prediction, 0 where there is none (I,).
        num_labelled: The number of people with labelled key points (I,).
        num_near: How many of their labelled key points are predicted near enough (I,).
        num_joints: How many labelled key points they have (I,).
    """

    similarity: FloatArray
    num_labelled: FloatArray
    num_near: FloatArray
    num_joints: FloatArray


def own_predictions(
    image_ids: IntArray, people: People, detections: Detections, similarity: Similarity
) -> OwnPredictions:
    """Measures the predictions that say whose they are.

    Of several for one person the most confident counts.

    Args:
        image_ids: The split's images, rising (I,).
        people: All its annotations, crowds included.
        detections: Predictions for these images.
        similarity: How similar a prediction is to a person.
    """
    known = np.flatnonzero(detections.annotation_ids != NOBODY)
    if len(detections) and not len(known):
        nothing = np.zeros(len(image_ids))
        return OwnPredictions(
            similarity=nothing, num_labelled=nothing, num_near=nothing, num_joints=nothing
        )
    # The most confident one comes last, and stays.
    known = known[np.argsort(-detections.scores[known], kind="stable")][::-1]
    own = dict(zip(detections.annotation_ids[known].tolist(), known.tolist(), strict=True))
    labelled = np.flatnonzero(people.labelled)
    person = np.array([i for i in labelled if int(people.ids[i]) in own], dtype=np.int64)
    made = np.array([own[int(people.ids[i])] for i in person], dtype=np.int64)
    place = np.searchsorted(image_ids, people.image_ids)

    def by_image(who: IntArray, values: FloatArray | IntArray | None = None) -> FloatArray:
        sums = np.bincount(place[who], weights=values, minlength=len(image_ids))
        return sums.astype(np.float64)

    num_joints = (people.keypoints[labelled, :, 2] > 0).sum(axis=1)
    return OwnPredictions(
        similarity=by_image(person, similarity.of_pairs(people, detections, person, made)),
        num_labelled=by_image(labelled),
        num_near=by_image(person, _num_near(people, detections, person, made)),
        num_joints=by_image(labelled, num_joints),
    )


def _num_near(
    people: People, detections: Detections, person: IntArray, detection: IntArray
) -> IntArray:
    """Returns how many labelled key points of each pair are near, of (P,) pairs."""
    true = people.keypoints[person]
    offsets = detections.keypoints[detection][..., :2] - true[..., :2]
    distances = np.linalg.norm(offsets, axis=2)
    # Not divided: to a box without any size only a key point in its very place is near.
    allowed = NEAR * people.boxes_px[person, 2:].max(axis=1)
    near: IntArray = ((true[..., 2] > 0) & (distances <= allowed[:, None])).sum(axis=1)
    return near
