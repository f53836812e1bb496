"""Object key-point similarity, and COCO's key-point metrics by image."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from blocks import DataError, Problem

from ._average_precision import Ranking
from ._coco_files import has_labelled_joints
from ._results import Arrays, FloatArray, ImageResults, checked_weights

COCO_SIGMAS = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
)
"""How far annotators disagree on each of COCO's key points, relative to the person's scale."""

_PERSON = 1
_AREAS = {"": "all", "m": "medium", "l": "large"}
_AT = {"50": 0, "75": 5}

KEYPOINT_METRICS = (
    *(f"A{letter}{suffix}" for letter in "PR" for suffix in ("", "50", "75", "m", "l")),
    "mean_oks",
)
"""The metrics of a key-point task, in the order of pycocotools, and our own."""


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


@dataclass(frozen=True, kw_only=True)
class KeypointResults(ImageResults):
    """COCO's key-point metrics of one network on one split.

    Attributes:
        image_ids: The images' ids, in the order of the weights.
        rankings: The predictions matched among people of all, medium and large areas.
        similarity: By image, the sum over its labelled people of the similarity of each one's
            own prediction, 0 where there is none (I,).
        num_labelled: By image, the number of people with labelled key points (I,).
    """

    headline: ClassVar[str] = "AP"

    image_ids: npt.NDArray[np.int64]
    rankings: Mapping[str, Ranking]
    similarity: FloatArray
    num_labelled: FloatArray

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images' ids, by rising id."""
        return tuple(map(str, self.image_ids.tolist()))

    @property
    def metrics(self) -> dict[str, float]:
        """AP, AP50, AP75, APm, APl, AR, AR50, AR75, ARm, ARl and mean_oks.

        ``mean_oks`` is the mean similarity of each labelled person's own prediction; it tells
        networks apart that are too weak for AP.
        """
        ones = np.ones((1, self.num_images))
        return {name: float(self.score(ones, name)[0]) for name in KEYPOINT_METRICS}

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
            with np.errstate(divide="ignore", invalid="ignore"):
                mean: FloatArray = (weights @ self.similarity) / (weights @ self.num_labelled)
            return mean
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
        )

    def report(self) -> dict[str, Any]:
        """Returns the ten numbers of pycocotools, AP at each threshold, and the mean similarity."""
        metrics = self.metrics
        ones = np.ones((1, self.num_images))
        by_threshold = self.rankings["all"].average_precision(ones)[0]
        return {
            "keypoint_stats": {name: metrics[name] for name in KEYPOINT_METRICS[:-1]},
            "keypoint_AP_per_oks_threshold_0.50_to_0.95": by_threshold.tolist(),
            "mean_oks": metrics["mean_oks"],
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
            **parts,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Makes results from their arrays."""
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
                for area in _AREAS.values()
            },
            similarity=arrays["similarity"],
            num_labelled=arrays["num_labelled"],
        )


def _parsed(metric: str) -> tuple[str, str, int | None]:
    """Returns what a name such as ``APm`` or ``AR75`` says: the kind, the area, the threshold."""
    kind, suffix = metric[:2], metric[2:]
    return (kind, "all", _AT[suffix]) if suffix in _AT else (kind, _AREAS[suffix], None)


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
    image_ids = np.array(sorted(ids), dtype=np.int64)
    place = {image_id: index for index, image_id in enumerate(image_ids.tolist())}
    similarity, num_labelled = np.zeros(len(place)), np.zeros(len(place))
    for entry in annotations:
        if has_labelled_joints(entry):
            index = place[entry["image_id"]]
            num_labelled[index] += 1
            if entry["id"] in own:
                similarity[index] += keypoint_similarity(entry, own[entry["id"]])
    return KeypointResults(
        image_ids=image_ids,
        rankings=_rankings(images, annotations, predictions),
        similarity=similarity,
        num_labelled=num_labelled,
    )


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
        scores=np.asarray(scores, dtype=np.float64)[order],
        found=np.concatenate(found, axis=1)[:, order] != 0,
        counted=np.concatenate(ignored, axis=1)[:, order] == 0,
        num_people=num_people,
        empty=not filled,
    )
