"""The entries of annotation files in COCO's form: checked, completed, and told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blocks import DataError, Problem

from ._coco_form import CocoForm

PERSON_ID = 1
"""COCO's number of the category of people, where a file does not say which it is."""

# Ids and coordinates beyond this are no ids and no coordinates; NaN is not below it either.
_TOO_LARGE = 2**53
_SHORT = 40
# How much of a person's box their mask covers, where a data set has no masks.
_BOX_SHARE = 0.53


def has_labelled_joints(annotation: Mapping[str, Any]) -> bool:
    """Tells whether an annotation is of one person with at least one labelled key point."""
    return (
        not annotation.get("iscrowd", 0)
        and annotation["num_keypoints"] > 0
        and any(flag > 0 for flag in annotation["keypoints"][2::3])
    )


def person_id_of(document: Mapping[str, Any]) -> int:
    """Returns the category called person, else the only one, else COCO's."""
    listed = document.get("categories")
    named = [
        entry
        for entry in (listed if isinstance(listed, list) else ())
        if isinstance(entry, dict) and is_whole(entry.get("id"))
    ]
    people = [entry for entry in named if entry.get("name") == "person"]
    if not people and len(named) == 1:
        people = named
    return int(people[0]["id"]) if people else PERSON_ID


def entry_error(where: Path, rule: str, got: str, do: str) -> DataError:
    """Returns the error of a file in COCO's form that does not say what it must."""
    return DataError(Problem(where=str(where), rule=rule, got=got, do=do))


def checked_images(
    path: Path, images: Sequence[dict[str, Any]], *, are_read: bool
) -> tuple[dict[str, Any], ...]:
    """Returns a file's image entries by rising id.

    Args:
        path: The file, for messages.
        images: Its entries.
        are_read: Whether the images themselves are to be read, and not only spoken of.

    Raises:
        DataError: If an entry lacks what it needs, or two have one id.
    """
    wrong = [
        image
        for image in images
        if not (is_whole(image.get("id")) and (not are_read or _can_be_read(image)))
    ]
    if wrong:
        more = ", width and height, and a file_name" if are_read else ""
        rule = f"every image needs a whole-numbered id{more}"
        raise entry_error(path, rule, _first("image", wrong), "correct the entry")
    by_id = {image["id"]: _with_whole(image, ("id",)) for image in images}
    if len(by_id) < len(images):
        got = f"{len(images)} images with {len(by_id)} ids"
        raise entry_error(path, "every image needs an id of its own", got, "renumber the images")
    return tuple(by_id[number] for number in sorted(by_id))


def _can_be_read(image: dict[str, Any]) -> bool:
    return isinstance(image.get("file_name"), str) and all(
        isinstance(image.get(key), int) and is_whole(image[key]) and image[key] > 0
        for key in ("width", "height")
    )


def _with_whole(entry: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Returns an entry whose whole numbers are int, though some tools write 7 as 7.0."""
    others = {
        key: int(entry[key])
        for key in keys
        if isinstance(entry.get(key), float) and is_whole(entry[key])
    }
    return {**entry, **others} if others else entry


def checked_annotations(
    path: Path,
    annotations: Sequence[dict[str, Any]],
    image_ids: set[int],
    form: CocoForm,
    person_id: int,
) -> tuple[dict[str, Any], ...]:
    """Returns a file's annotation entries of people, completed, in the file's order.

    Args:
        path: The file, for messages.
        annotations: Its entries.
        image_ids: The ids of its images.
        form: Its key points.
        person_id: The category of people.

    Raises:
        DataError: If an entry lacks what it needs, or two have one id.
    """
    rule = "every annotation needs a whole-numbered id and category_id"
    wrong = [
        entry
        for entry in annotations
        if not (is_whole(entry.get("id")) and is_whole(entry.get("category_id")))
    ]
    if wrong:
        raise entry_error(path, rule, _first("annotation", wrong), "correct the entry")
    # What is no person has no key points, or those of something else.
    people = [entry for entry in annotations if entry["category_id"] == person_id]
    for rule, holds, do in _rules(image_ids, form):
        wrong = [entry for entry in people if not holds(entry)]
        if wrong:
            raise entry_error(path, rule, _first("annotation", wrong), do)
    if len({entry["id"] for entry in people}) < len(people):
        got = "an id that stands twice"
        raise entry_error(path, "every annotation needs an id of its own", got, "renumber them")
    return tuple(_completed(entry, form) for entry in people)


def _is_unlabelled(entry: dict[str, Any]) -> bool:
    """Tells whether an annotation is of a person whose key points nobody labelled."""
    return bool(entry.get("keypoints", []) == [] and entry.get("num_keypoints", 0) == 0)


def _completed(entry: dict[str, Any], form: CocoForm) -> dict[str, Any]:
    """Adds to an annotation what follows from it and not every data set writes down."""
    entry = _with_whole(entry, ("id", "image_id", "category_id", "num_keypoints"))
    missing: dict[str, Any] = {}
    if _is_unlabelled(entry):
        missing = {"keypoints": [0] * (3 * form.num_joints), "num_keypoints": 0}
    elif not is_whole(entry.get("num_keypoints")):
        missing["num_keypoints"] = sum(flag > 0 for flag in entry["keypoints"][2::3])
    if not form.has_areas:
        missing["area"] = entry["bbox"][2] * entry["bbox"][3] * _BOX_SHARE
    return {**entry, **missing} if missing else entry


def _rules(
    image_ids: set[int], form: CocoForm
) -> tuple[tuple[str, Callable[[dict[str, Any]], bool], str], ...]:
    """Returns what must hold of every annotation: the rule, its test, and what to do."""
    num_numbers = 3 * form.num_joints

    def has_box(entry: dict[str, Any]) -> bool:
        return are_numbers(entry.get("bbox"), 4) and (
            not form.has_areas or are_numbers([entry.get("area")], 1)
        )

    return (
        (
            "every annotation's image_id must be among the images",
            lambda entry: is_whole(entry.get("image_id")) and entry["image_id"] in image_ids,
            "add the images or remove the annotations",
        ),
        (
            (
                f"every annotation needs {num_numbers} numbers in keypoints "
                f"({form.num_joints} times x, y, flag)"
            ),
            lambda entry: _is_unlabelled(entry) or are_numbers(entry.get("keypoints"), num_numbers),
            f"use a {form.prefix}*.json file of the data set, or correct the entry",
        ),
        (
            "every annotation needs 4 numbers in bbox (left, top, width, height)"
            + (" and an area" if form.has_areas else ""),
            has_box,
            "correct the entry",
        ),
    )


def _first(noun: str, wrong: Sequence[dict[str, Any]]) -> str:
    entry = wrong[0]
    named = [f"{noun} {shortened(entry.get('id'))}"]
    if "image_id" in entry:
        named.append(f"image_id {shortened(entry['image_id'])}")
    return f"{len(wrong)} otherwise, the first being {' with '.join(named)}"


def shortened(value: object) -> str:
    """Returns a value as messages show it."""
    text = repr(value)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def is_whole(value: object) -> bool:
    """Tells whether a value is a whole number that can be an id, be it written as 7 or as 7.0."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) < _TOO_LARGE
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _TOO_LARGE


def are_numbers(values: object, num: int) -> bool:
    """Tells whether a value is a list of so many finite numbers."""
    return (
        isinstance(values, list)
        and len(values) == num
        and all(isinstance(value, (int, float)) and abs(value) < _TOO_LARGE for value in values)
    )
