"""Object key-point similarity, and COCO's key-point metrics by image."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from blocks import DataError, Problem

from ._average_precision import FloatArray, Ranking
from ._coco_files import has_labelled_joints
from ._results import ImageResults

COCO_SIGMAS = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
)
"""How far annotators disagree on each of COCO's key points, relative to the person's scale."""

_PERSON = 1
_AREAS = {"": "all", "m": "medium", "l": "large"}
_AT = {"50": 0, "75": 5}


def keypoint_similarity(truth: Mapping[str, Any], keypoints: Sequence[float]) -> float:
    """Returns the object key-point similarity of a prediction to a labelled person.

    The mean over labelled key points of ``exp(-d^2 / (2 s^2 k^2))`` with d the distance in
    pixels, s^2 the person's area and k twice the key point's sigma
    (https://cocodataset.org/#keypoints-eval).

    Args:
        truth: An annotation with at least one labelled key point.
        keypoints: 17 times x, y and anything, in image pixels.
    """
    true = np.asarray(truth["keypoints"], dtype=np.float64).reshape(-1, 3)
    made = np.asarray(keypoints, dtype=np.float64).reshape(-1, 3)
    squared = ((made[:, :2] - true[:, :2]) ** 2).sum(axis=1)
    exponents = squared / (2 * COCO_SIGMAS) ** 2 / (truth["area"] + np.spacing(1)) / 2
    return float(np.exp(-exponents)[true[:, 2] > 0].mean())


@dataclass(frozen=True)
class KeypointResults(ImageResults):
    """COCO's key-point metrics of one network on one split.

    Attributes:
        rankings: The predictions matched among people of all, medium and large areas.
        mean_oks: Mean similarity of each labelled person's own prediction (0 where there is
            none); tells networks apart that are too weak for AP.
    """

    headline: ClassVar[str] = "AP"

    rankings: Mapping[str, Ranking]
    mean_oks: float

    @property
    def num_images(self) -> int:
        """Number of images, by rising id."""
        return len(self.rankings["all"].num_people)

    @property
    def metrics(self) -> dict[str, float]:
        """AP, AP50, AP75, APm, APl, AR, AR50, AR75, ARm, ARl and mean_oks."""
        ones = np.ones((1, self.num_images))
        metrics: dict[str, float] = {}
        for letter in "PR":
            for suffix, area in _AREAS.items():
                ranking = self.rankings[area]
                values = (
                    ranking.average_precision(ones) if letter == "P" else ranking.recall(ones)
                )[0]
                metrics[f"A{letter}{suffix}"] = float(values.mean())
                if area == "all":
                    metrics |= {f"A{letter}{at}": float(values[index]) for at, index in _AT.items()}
        return {**metrics, "mean_oks": self.mean_oks}

    def score(self, image_weights: npt.ArrayLike) -> FloatArray:
        """Returns the AP under each row of image weights; see ``ImageResults.score``.

        Predictions of equal confidence keep the order of their images.
        """
        weights = np.asarray(image_weights, dtype=np.float64)
        shape = (*weights.shape[:1], self.num_images)
        if weights.shape != shape or not (weights >= 0).all():
            message = f"weights must be at least 0 and of shape (R, {self.num_images})"
            raise ValueError(f"{message}, got shape {weights.shape}")
        means: FloatArray = self.rankings["all"].average_precision(weights).mean(axis=1)
        return means


def score_keypoints(
    images: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    predictions: Sequence[dict[str, Any]],
) -> KeypointResults:
    """Scores predictions by COCO's key-point metrics, matching them with pycocotools.

    Args:
        images: The split's images, as in its annotation file.
        annotations: The split's annotations, crowds and people without key points included.
        predictions: In COCO's results form; ``annotation_id``, where there is one, says whose
            prediction it is.

    Raises:
        DataError: If a prediction is for an image that the split does not have.
    """
    ids = {image["id"] for image in images}
    strays = [made for made in predictions if made["image_id"] not in ids]
    if strays:
        raise DataError(
            Problem(
                where="predictions",
                rule="every prediction must be for an image of the split",
                got=f"{len(strays)} for others, the first for image {strays[0]['image_id']}",
                do="score them on the split that they were made on",
            )
        )
    own = {made.get("annotation_id"): made["keypoints"] for made in predictions}
    similarities = [
        keypoint_similarity(entry, own[entry["id"]]) if entry["id"] in own else 0.0
        for entry in annotations
        if has_labelled_joints(entry)
    ]
    mean_oks = float(np.mean(similarities)) if similarities else math.nan
    return KeypointResults(_rankings(images, annotations, predictions), mean_oks)


def _rankings(
    images: Sequence[dict[str, Any]],
    annotations: Sequence[dict[str, Any]],
    predictions: Sequence[dict[str, Any]],
) -> dict[str, Ranking]:
    # pycocotools reports its progress on standard output and writes into the entries it is given.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _coco(images, [_truth(entry, index) for index, entry in enumerate(annotations)])
        made = _coco(images, [_result(made, index) for index, made in enumerate(predictions)])
        evaluation = COCOeval(truth, made, "keypoints")
        evaluation.evaluate()
    params = evaluation.params
    num_images = len(params.imgIds)
    rankings = {}
    for index, area in enumerate(params.areaRngLbl):
        start = index * num_images
        cells = evaluation.evalImgs[start : start + num_images]
        rankings[area] = _ranking(cells, len(params.iouThrs))
    return rankings


def _coco(images: Sequence[dict[str, Any]], annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    categories = [{"id": _PERSON}]
    coco.dataset = {"images": [*images], "annotations": annotations, "categories": categories}
    coco.createIndex()
    return coco


def _truth(annotation: dict[str, Any], index: int) -> dict[str, Any]:
    # pycocotools takes id 0 for "not matched".
    return {"iscrowd": 0, **annotation, "id": index + 1, "category_id": _PERSON}


def _result(prediction: dict[str, Any], index: int) -> dict[str, Any]:
    keypoints = np.asarray(prediction["keypoints"], dtype=np.float64).reshape(-1, 3)
    left, top = keypoints[:, :2].min(axis=0)
    right, bottom = keypoints[:, :2].max(axis=0)
    return {
        "id": index + 1,
        "image_id": prediction["image_id"],
        "category_id": _PERSON,
        "keypoints": prediction["keypoints"],
        "score": prediction["score"],
        "area": (right - left) * (bottom - top),
        "bbox": [left, top, right - left, bottom - top],
    }


def _ranking(cells: Sequence[dict[str, Any] | None], num_thresholds: int) -> Ranking:
    filled = [(index, cell) for index, cell in enumerate(cells) if cell is not None]
    num_people = np.zeros(len(cells))
    image_index: list[int] = []
    scores: list[float] = []
    found = [np.zeros((num_thresholds, 0))]
    ignored = [np.zeros((num_thresholds, 0))]
    for index, cell in filled:
        num_people[index] = np.count_nonzero(np.asarray(cell["gtIgnore"]) == 0)
        image_index += [index] * len(cell["dtScores"])
        scores += cell["dtScores"]
        found.append(cell["dtMatches"])
        ignored.append(cell["dtIgnore"])
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    return Ranking(
        image_index=np.asarray(image_index, dtype=np.intp)[order],
        found=np.concatenate(found, axis=1)[:, order] != 0,
        counted=np.concatenate(ignored, axis=1)[:, order] == 0,
        num_people=num_people,
        empty=not filled,
    )
