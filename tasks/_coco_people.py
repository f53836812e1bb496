"""Splits in COCO's form as a key-point task opens and scores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blocks import DataError, ImageSize, Problem

from ._augmentation import Augmentation
from ._coco_entries import has_labelled_joints
from ._coco_files import CocoSplit, read_annotations
from ._coco_form import COCO_FORM, CocoForm
from ._coco_results import (
    check_json_name,
    predicted_people,
    read_list,
    read_results,
    results_of,
    write_json,
)
from ._crops import crop_of_box, crop_of_detection
from ._detections import DetectorBoxes
from ._images import ImageFile
from ._keypoint_arrays import Detections, People, areas_around
from ._keypoint_errors import KeypointErrors, diagnose
from ._keypoints import KeypointData, Subject, mirrored_joints
from ._oks import KeypointResults, Similarity, score_arrays
from ._oks_suppression import KEEP_ALL, suppress
from ._task import TaskData


@dataclass(frozen=True, kw_only=True)
class CocoTruth:
    """What predictions for a split are scored against.

    Attributes:
        coco: The split's files.
        form: Its key points.
    """

    coco: CocoSplit
    form: CocoForm


def open_people(  # noqa: PLR0913 - a split is opened with all of these
    name: str,
    coco: CocoSplit,
    size: ImageSize,
    augmentation: Augmentation,
    *,
    form: CocoForm = COCO_FORM,
    boxes: DetectorBoxes | None = None,
) -> KeypointData:
    """Opens a split that was read.

    People are the annotated ones (not a crowd, with a labelled key point and a box that is not
    empty), or those that a detector found.

    Args:
        name: The task's name.
        coco: The split.
        size: The network's input size.
        augmentation: How training items are varied.
        form: The split's key points.
        boxes: A detector's boxes, to be used instead of the annotations'.

    Raises:
        DataError: If too many images cannot be read, if no person is left, or if the split's
            labels are secret and no boxes are given.
        BranchworkError: If the size is not a multiple of 4.
    """
    files = {entry["id"]: ImageFile.of_entry(entry, coco.image_folder) for entry in coco.images}
    if boxes is not None:
        subjects = _detected(boxes, files, size, form, coco.person_id)
    elif coco.is_labelled:
        subjects = _annotated(coco, files, size, form)
    else:
        raise DataError(
            Problem(
                where=str(coco.path),
                rule="people in a split whose labels are secret are found by a detector",
                got="no file with its boxes",
                do="name one with --boxes",
            )
        )
    return KeypointData(
        name=f"{name} {coco.split}",
        where=coco.path,
        content=[coco.split.encode(), coco.content, boxes.content if boxes else b""],
        images=files,
        subjects=subjects,
        joints=form.joints,
        size=size,
        augmentation=augmentation,
        truth=CocoTruth(coco=coco, form=form),
    )


def _annotated(
    coco: CocoSplit, files: dict[int, ImageFile], size: ImageSize, form: CocoForm
) -> list[Subject]:
    people = [entry for entry in coco.annotations if has_labelled_joints(entry)]
    joints = np.array([entry["keypoints"] for entry in people], dtype=np.float64)
    return [
        Subject(
            image_id=entry["image_id"],
            annotation_id=entry["id"],
            category_id=entry["category_id"],
            crop=crop_of_box(
                entry["bbox"],
                image_width_px=files[entry["image_id"]].width_px,
                image_height_px=files[entry["image_id"]].height_px,
                size=size,
            )
            if entry["area"] > 0
            else None,
            joints=row,
        )
        for entry, row in zip(people, joints.reshape(-1, form.num_joints, 3), strict=True)
    ]


def _detected(
    boxes: DetectorBoxes,
    files: dict[int, ImageFile],
    size: ImageSize,
    form: CocoForm,
    person_id: int,
) -> list[Subject]:
    nothing = np.zeros((form.num_joints, 3))
    found = [
        Subject(
            image_id=image_id,
            annotation_id=None,
            category_id=person_id,
            crop=crop_of_detection(box, size=size),
            joints=nothing,
            box_score=score,
        )
        for image_id, box, score in boxes.of_images(files)
    ]
    if not found:
        raise DataError(
            Problem(
                where=str(boxes.path),
                rule="a detector's file holds boxes of the split's images",
                got=f"{len(boxes.scores)} boxes, none of them for one of {len(files)} images",
                do="name the file that belongs to the split",
            )
        )
    return found


def score_people(
    data: TaskData, predictions: Sequence[dict[str, Any]], similarity: Similarity
) -> KeypointResults:
    """Scores predictions by COCO's key-point AP over every image of the split.

    Args:
        data: The split.
        predictions: No more than one an item.
        similarity: How similar a prediction is to a person.

    Raises:
        DataError: If a prediction is for an image that the split does not have, or if its labels
            are secret.
    """
    coco = _truth_of(data).coco
    if not coco.is_labelled:
        raise DataError(
            Problem(
                where=str(coco.path),
                rule="predictions are scored where there are labels",
                got="a split whose labels are secret",
                do="write its predictions for the server with --submission",
            )
        )
    kept = set(_ids(data))
    people = [entry for entry in coco.annotations if entry["image_id"] in kept]
    num_joints = similarity.num_joints
    return score_arrays(
        np.array(sorted(kept), dtype=np.int64),
        People.of_annotations(people, num_joints),
        Detections.of_predictions(predictions, num_joints),
        similarity,
    )


def score_people_files(
    annotations: Path, predictions: Path, *, form: CocoForm, nms: float, similarity: Similarity
) -> KeypointResults:
    """Scores a file in COCO's results form against an annotation file.

    Args:
        annotations: The annotation file.
        predictions: The results file.
        form: Their key points.
        nms: The similarity above which the less confident of two predictions goes; the scale of a
            prediction is the box around its key points.
        similarity: How similar a prediction is to a person.

    Raises:
        DataError: If a file is missing or cannot be used, or if the two do not fit.
    """
    truth = read_annotations(annotations, form)
    image_ids = np.array([image["id"] for image in truth.images], dtype=np.int64)
    detections = read_results(predictions, image_ids, form, truth.person_id)
    kept = suppress(detections, nms, similarity, areas_around(detections.keypoints))
    people = People.of_annotations(truth.annotations, form.num_joints)
    return score_arrays(image_ids, people, detections.part(kept), similarity)


def diagnose_people(
    data: TaskData, predictions: Sequence[dict[str, Any]], similarity: Similarity
) -> KeypointErrors:
    """Returns what went wrong with the key points of a split's labelled people.

    Args:
        data: The split.
        predictions: No more than one an item.
        similarity: How similar a prediction is to a person.
    """
    truth = _truth_of(data)
    kept = set(_ids(data))
    people = [entry for entry in truth.coco.annotations if entry["image_id"] in kept]
    return _diagnosed(people, predictions, truth.form, similarity)


def diagnose_people_files(
    annotations: Path, predictions: Path, *, form: CocoForm, nms: float, similarity: Similarity
) -> KeypointErrors:
    """Returns what went wrong with the key points of a file in COCO's results form.

    Args:
        annotations: The annotation file.
        predictions: The results file, which can be scored.
        form: Their key points.
        nms: The similarity above which the less confident of two predictions goes.
        similarity: How similar a prediction is to a person.

    Raises:
        DataError: If a file is missing or cannot be used.
    """
    truth = read_annotations(annotations, form)
    made = predicted_people(predictions, read_list(predictions, "predictions"), truth.person_id)
    kept = keep_best(made, nms, similarity)
    return _diagnosed(truth.annotations, kept, form, similarity)


def _diagnosed(
    people: Sequence[dict[str, Any]],
    predictions: Sequence[dict[str, Any]],
    form: CocoForm,
    similarity: Similarity,
) -> KeypointErrors:
    return diagnose(
        people,
        predictions,
        joints=form.joints,
        mirrored=mirrored_joints(form.joints),
        sigmas=np.array(similarity.sigmas),
    )


def keep_best(
    predictions: Sequence[dict[str, Any]], nms: float, similarity: Similarity
) -> Sequence[dict[str, Any]]:
    """Returns predictions without the weaker ones of the same person.

    Args:
        predictions: As a task predicts them; ``area_px`` is the scale where there is one, the box
            around the key points otherwise.
        nms: The similarity above which the less confident of two goes.
        similarity: How similar two predictions are.
    """
    if nms >= KEEP_ALL:
        return predictions
    detections = Detections.of_predictions(predictions, similarity.num_joints)
    boxes = detections.areas_px.tolist()
    areas = [made.get("area_px", box) for made, box in zip(predictions, boxes, strict=True)]
    kept = suppress(detections, nms, similarity, np.array(areas, dtype=np.float64))
    return [predictions[index] for index in kept]


def write_people(predictions: Sequence[dict[str, Any]], out: Path) -> None:
    """Writes predictions in COCO's results form.

    Raises:
        BranchworkError: If the file's name does not end in ``.json``.
    """
    check_json_name(out)
    write_json(out, results_of(predictions))


def _truth_of(data: TaskData) -> CocoTruth:
    assert isinstance(data, KeypointData), "predictions are scored on the data of their own task"
    assert isinstance(data.truth, CocoTruth), "predictions are scored on data in COCO's form"
    return data.truth


def _ids(data: TaskData) -> tuple[int, ...]:
    assert isinstance(data, KeypointData)
    return data.image_ids
