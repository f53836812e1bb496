"""Predictions in COCO's results form: read from a file that was made anywhere, and written."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blocks import BranchworkError, DataError, Problem

from ._coco_entries import are_numbers, is_whole, shortened
from ._coco_files import parse_json
from ._coco_form import COCO_FORM, CocoForm
from ._keypoint_arrays import NOBODY, Detections, IntArray, areas_around, begins_with_box

_PERSON = 1
_LARGEST = 2**53
_KEYS = ("image_id", "annotation_id", "category_id", "keypoints", "score")


def read_results(
    path: Path, image_ids: IntArray, form: CocoForm = COCO_FORM, person_id: int = _PERSON
) -> Detections:
    """Reads a list of predicted people.

    As in pycocotools, predictions of other categories are left out, one that stands there twice
    is two, and if the very first has a ``bbox``, areas are those of the boxes.

    Args:
        path: A JSON file: a list of objects with ``image_id``, ``category_id``, ``keypoints``
            (K times x, y and anything) and ``score``; ``annotation_id``, where there is one, says
            whose prediction it is.
        image_ids: The images that they may be for.
        form: The data set's key points.
        person_id: The category of people.

    Raises:
        DataError: If the file is missing or no such list, if an entry is not as it must be or for
            another image, or if none of several is of people.
    """
    entries = read_list(path, "predictions")
    has_boxes = begins_with_box(entries)
    people = predicted_people(path, entries, person_id)
    detections = _as_arrays(people, image_ids, form, has_boxes=has_boxes)
    if detections is None:
        _check_all(path, people, set(image_ids.tolist()), form, has_boxes=has_boxes)
        detections = Detections.of_predictions(people, form.num_joints, has_boxes=has_boxes)
    return dataclasses.replace(detections, num_others=len(entries) - len(people))


def predicted_people(
    path: Path, entries: Sequence[dict[str, Any]], person_id: int
) -> list[dict[str, Any]]:
    """Returns the entries that are of people.

    Args:
        path: The file that they are from.
        entries: Predictions of any category.
        person_id: The category of people.

    Raises:
        DataError: If an entry has no category, or if there are entries and none is of people.
    """
    check_entries(
        path,
        entries,
        (
            (
                "every prediction needs a whole-numbered category_id",
                lambda entry: is_whole(entry.get("category_id")),
                f"write {person_id}, which stands for a person",
            ),
        ),
    )
    people = [entry for entry in entries if entry["category_id"] == person_id]
    if entries and not people:
        rule = f"predictions of people are of category_id {person_id}"
        got = f"{len(entries)} of others, the first of {entries[0]['category_id']}"
        raise _error(path, rule, got, "write the annotation file's category of people")
    return people


def _as_arrays(
    entries: Sequence[dict[str, Any]], image_ids: IntArray, form: CocoForm, *, has_boxes: bool
) -> Detections | None:
    """Returns the predictions if all is as it must be: much faster than entry by entry."""
    try:
        images = np.array([entry["image_id"] for entry in entries])
        keypoints = np.array([entry["keypoints"] for entry in entries])
        scores = np.array([entry["score"] for entry in entries])
        owners = np.array([entry.get("annotation_id", NOBODY) for entry in entries])
        boxes = np.array([entry["bbox"] if has_boxes else [0] * 4 for entry in entries])
    except (KeyError, ValueError, OverflowError):
        return None
    fits = (
        keypoints.shape == (len(entries), 3 * form.num_joints)
        and boxes.shape == (len(entries), 4)
        and all(array.dtype.kind == "i" for array in (images, owners))
        and all(array.dtype.kind in "fi" for array in (keypoints, scores, boxes))
        and all((np.abs(array) < _LARGEST).all() for array in (keypoints, scores, boxes))
        and (owners >= NOBODY).all()
        and np.isin(images, image_ids).all()
    )
    if not fits:
        return None
    points = keypoints.astype(np.float64).reshape(len(entries), form.num_joints, 3)
    sides = boxes.astype(np.float64)[:, 2:]
    return Detections(
        image_ids=images.astype(np.int64),
        keypoints=points,
        scores=scores.astype(np.float64),
        annotation_ids=owners.astype(np.int64),
        areas_px=sides[:, 0] * sides[:, 1] if has_boxes else areas_around(points),
    )


def _check_all(
    path: Path,
    entries: Sequence[dict[str, Any]],
    known: set[int],
    form: CocoForm,
    *,
    has_boxes: bool,
) -> None:
    num_numbers = 3 * form.num_joints
    check_entries(
        path,
        entries,
        (
            (
                "every prediction needs a whole-numbered image_id",
                lambda entry: is_whole(entry.get("image_id")),
                "write the image's id in the annotation file",
            ),
            (
                (
                    f"every prediction needs {num_numbers} finite numbers in keypoints "
                    f"({form.num_joints} times x, y, score)"
                ),
                lambda entry: are_numbers(entry.get("keypoints"), num_numbers),
                "predict every key point, in the data set's order",
            ),
            (
                "every prediction needs a score, a finite number",
                lambda entry: are_numbers([entry.get("score")], 1),
                "write how confident it is",
            ),
            (
                "every prediction needs 4 numbers in bbox where the first has a bbox",
                lambda entry: not has_boxes or are_numbers(entry.get("bbox"), 4),
                "write all boxes (left, top, width, height), or none",
            ),
            (
                "annotation_id, where there is one, is a whole number from 0 upward",
                lambda entry: (
                    is_whole(entry.get("annotation_id", 0)) and entry.get("annotation_id", 0) >= 0
                ),
                "leave it out, or correct the entry",
            ),
            (
                "every prediction must be for an image of the annotation file",
                lambda entry: entry["image_id"] in known,
                "score them on the split that they were made on",
            ),
        ),
    )


def read_list(path: Path, noun: str) -> list[dict[str, Any]]:
    """Reads a JSON file that holds a list of objects.

    Args:
        path: The file.
        noun: What the objects are, for messages.

    Raises:
        DataError: If it is missing or holds something else.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise _error(path, f"{noun} are one JSON file", got, "check the path")
    document = parse_json(path, path.read_bytes(), f"a file of {noun}")
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        got = "a list of something else" if isinstance(document, list) else "no list"
        do = "write [{...}, ...], as COCO's results are"
        raise _error(path, f"{noun} are a list of objects", got, do)
    return document


def check_entries(
    path: Path,
    entries: Sequence[dict[str, Any]],
    rules: Sequence[tuple[str, Callable[[dict[str, Any]], bool], str]],
) -> None:
    """Checks what must hold of every entry of a list.

    Args:
        path: The file.
        entries: What it holds.
        rules: What must hold, its test, and what to do where it does not.

    Raises:
        DataError: By the first rule that does not hold, naming the first entry.
    """
    for rule, holds, do in rules:
        wrong = [index for index, entry in enumerate(entries) if not holds(entry)]
        if wrong:
            image = shortened(entries[wrong[0]].get("image_id"))
            got = f"{len(wrong)} otherwise, the first being entry {wrong[0]} with image_id {image}"
            raise _error(path, rule, got, do)


def results_of(predictions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns predictions with what COCO's results form has, and nothing else."""
    return [{key: made[key] for key in _KEYS if key in made} for made in predictions]


def check_json_name(out: Path) -> None:
    """Checks the name of a file of predicted people.

    Raises:
        BranchworkError: If it does not end in ``.json``.
    """
    if out.suffix != ".json":
        raise BranchworkError(
            Problem(
                where=str(out),
                rule="predicted people are written as JSON",
                got=f"a file name that ends in {out.suffix!r}",
                do=f"write {out.with_suffix('.json').name}",
            )
        )


def write_json(path: Path, data: object) -> None:
    """Writes a JSON file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_text(json.dumps(data), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _error(where: Path, rule: str, got: str, do: str) -> DataError:
    return DataError(Problem(where=str(where), rule=rule, got=got, do=do))
