"""COCO's key-point metrics by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from blocks import DataError, Problem

from ._average_precision import Ranking
from ._keypoint_arrays import Detections, IntArray, People, begins_with_box
from ._oks_matching import AREAS_PX, match
from ._oks_similarity import COCO_SIGMAS, COCO_SIMILARITY, Similarity, keypoint_similarity
from ._own_predictions import NEAR, own_predictions
from ._results import Arrays, FloatArray, ImageResults, checked_weights, share

__all__ = [
    "COCO_SIGMAS",
    "COCO_SIMILARITY",
    "KEYPOINT_METRICS",
    "KeypointResults",
    "Similarity",
    "keypoint_similarity",
    "score_arrays",
    "score_keypoints",
]

_AREAS = {"": "all", "m": "medium", "l": "large"}
_AT = {"50": 0, "75": 5}

PCK = f"PCK@{NEAR}"
"""The share of labelled key points that are predicted near their place."""

_COCO_METRICS = tuple(
    f"A{letter}{suffix}" for letter in "PR" for suffix in ("", "50", "75", "m", "l")
)
KEYPOINT_METRICS = (*_COCO_METRICS, "mean_oks", PCK)
"""The metrics of a key-point task, in the order of pycocotools, and our own."""


@dataclass(frozen=True, kw_only=True)
class KeypointResults(ImageResults):
    """COCO's key-point metrics of one network on one split.

    Beside them stand two that tell networks apart which are too weak for AP, both of each labelled
    person's own prediction: ``mean_oks``, its mean similarity, and ``PCK@0.1``, the share of all
    labelled key points that it places within 0.1 of the longer side of the person's box. Who has
    no prediction has a similarity of 0 and no key point near; where no prediction says whose it
    is, both are undefined.

    Attributes:
        image_ids: The images' ids, in the order of the weights.
        rankings: The predictions matched among people of all, medium and large areas.
        similarity: By image, the sum over its labelled people of the similarity of each one's
            own prediction, 0 where there is none (I,).
        num_labelled: By image, the number of people with labelled key points (I,).
        num_near: By image, how many of their labelled key points are near enough (I,).
        num_joints: By image, how many labelled key points they have (I,).
        num_others: How many predictions of other categories were left out; not among the arrays.
    """

    headline: ClassVar[str] = "AP"
    metric_names: ClassVar[tuple[str, ...]] = KEYPOINT_METRICS

    image_ids: npt.NDArray[np.int64]
    rankings: Mapping[str, Ranking]
    similarity: FloatArray
    num_labelled: FloatArray
    num_near: FloatArray
    num_joints: FloatArray
    num_others: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Says so if predictions of other categories were left out."""
        if not self.num_others:
            return ()
        return (
            f"predictions left out that are of another category than people: {self.num_others}",
        )

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images' ids, by rising id."""
        return tuple(map(str, self.image_ids.tolist()))

    @property
    def mean_oks(self) -> float:
        """Mean similarity of each labelled person's own prediction."""
        return float(self.score(np.ones((1, self.num_images)), "mean_oks")[0])

    def score(self, image_weights: npt.ArrayLike, metric: str = "") -> FloatArray:
        """Returns a metric under each row of image weights; see ``ImageResults.score``.

        Predictions of equal confidence keep the order of their images.
        """
        weights = checked_weights(image_weights, self.num_images)
        metric = metric or self.headline
        if metric == "mean_oks":
            return share(weights @ self.similarity, weights @ self.num_labelled)
        if metric == PCK:
            return share(weights @ self.num_near, weights @ self.num_joints)
        kind, area, at = _parsed(metric)
        ranking = self.rankings[area]
        if at is not None:
            ranking = ranking.at_threshold(at)
        measure = ranking.average_precision if kind == "AP" else ranking.recall
        means: FloatArray = measure(weights).mean(axis=1)
        return means

    def beside(self, other: Self) -> Self:
        """Returns the results on these images and, after them, another network's on the same."""
        rankings = {area: mine.beside(other.rankings[area]) for area, mine in self.rankings.items()}
        return dataclasses.replace(
            self,
            image_ids=np.concatenate([self.image_ids, other.image_ids]),
            rankings=rankings,
            similarity=np.concatenate([self.similarity, other.similarity]),
            num_labelled=np.concatenate([self.num_labelled, other.num_labelled]),
            num_near=np.concatenate([self.num_near, other.num_near]),
            num_joints=np.concatenate([self.num_joints, other.num_joints]),
        )

    def report(self) -> dict[str, Any]:
        """Returns the ten numbers of pycocotools, AP at each threshold, and our own.

        At most 20 predictions of an image are matched.
        """
        metrics = self.metrics
        ones = np.ones((1, self.num_images))
        by_threshold = self.rankings["all"].average_precision(ones)[0]
        return {
            "keypoint_stats": {name: metrics[name] for name in _COCO_METRICS},
            "keypoint_AP_per_oks_threshold_0.50_to_0.95": by_threshold.tolist(),
            "mean_oks": metrics["mean_oks"],
            PCK: metrics[PCK],
            "counts": {
                "images": self.num_images,
                "gt_with_keypoints": int(self.rankings["all"].num_people.sum()),
                "predictions_matched": len(self.rankings["all"].scores),
            },
        }

    def arrays(self) -> Arrays:
        """Returns all of it as arrays."""
        parts = {
            f"{area}.{name}": value
            for area, ranking in self.rankings.items()
            for name, value in ranking.arrays().items()
        }
        return {
            "image_ids": self.image_ids,
            "similarity": self.similarity,
            "num_labelled": self.num_labelled,
            "num_near": self.num_near,
            "num_joints": self.num_joints,
            **parts,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Makes results from their arrays; those of older versions have no ``PCK@0.1``."""
        unknown = np.zeros(len(arrays["image_ids"]))
        return cls(
            image_ids=arrays["image_ids"],
            rankings={
                area: Ranking.from_arrays(
                    {
                        name.removeprefix(f"{area}."): value
                        for name, value in arrays.items()
                        if name.startswith(f"{area}.")
                    }
                )
                for area in AREAS_PX
            },
            similarity=arrays["similarity"],
            num_labelled=arrays["num_labelled"],
            num_near=arrays.get("num_near", unknown),
            num_joints=arrays.get("num_joints", unknown),
        )


def _parsed(metric: str) -> tuple[str, str, int | None]:
    """Returns what a name such as ``APm`` or ``AR75`` says: the kind, the area, the threshold."""
    kind, suffix = metric[:2], metric[2:]
    return (kind, "all", _AT[suffix]) if suffix in _AT else (kind, _AREAS[suffix], None)


def score_keypoints(
    images: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    predictions: Sequence[dict[str, Any]],
    similarity: Similarity = COCO_SIMILARITY,
) -> KeypointResults:
    """Scores predictions by COCO's key-point metrics.

    Args:
        images: The split's images, as in its annotation file.
        annotations: The split's annotations, crowds and people without key points included.
        predictions: In COCO's results form; ``annotation_id``, where there is one, says whose
            prediction it is.
        similarity: How similar a prediction is to a person.

    Raises:
        DataError: If a prediction is for an image that the split does not have.
    """
    num_joints = similarity.num_joints
    return score_arrays(
        np.array([image["id"] for image in images], dtype=np.int64),
        People.of_annotations(annotations, num_joints),
        Detections.of_predictions(predictions, num_joints, has_boxes=begins_with_box(predictions)),
        similarity,
    )


def score_arrays(
    image_ids: IntArray,
    people: People,
    detections: Detections,
    similarity: Similarity = COCO_SIMILARITY,
) -> KeypointResults:
    """Scores predictions that are arrays by COCO's key-point metrics.

    Args:
        image_ids: The split's images (I,).
        people: All its annotations, crowds and people without key points included.
        detections: The predictions.
        similarity: How similar a prediction is to a person.

    Raises:
        DataError: If a prediction is for an image that the split does not have.
    """
    image_ids = np.unique(image_ids)
    strays = detections.image_ids[~np.isin(detections.image_ids, image_ids)]
    if len(strays):
        raise DataError(
            Problem(
                where="predictions",
                rule="every prediction must be for an image of the split",
                got=f"{len(strays)} for others, the first for image {strays[0]}",
                do="score them on the split that they were made on",
            )
        )
    own = own_predictions(image_ids, people, detections, similarity)
    return KeypointResults(
        image_ids=image_ids,
        rankings=match(image_ids, people, detections, similarity),
        similarity=own.similarity,
        num_labelled=own.num_labelled,
        num_near=own.num_near,
        num_joints=own.num_joints,
        num_others=detections.num_others,
    )
