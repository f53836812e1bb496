"""Reads key-point annotations in COCO's layout, and says in one line what is wrong with them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from blocks import DataError, Problem, did_you_mean

from ._outputs import COCO_JOINTS

_IMAGE_INFO = "image_info_"
# Where the images of the splits lie whose labels are secret.
_SECRET_IMAGES = "test2017"  # noqa: S105 - a name
_AGAIN = "unpack or download the file again"
# Ids and coordinates beyond this are no ids and no coordinates; NaN is not below it either.
_TOO_LARGE = 2**53
_SHORT = 40
_GZIP = b"\x1f\x8b"
# COCO's number of the category of people, where a file does not say which it is.
_PERSON_ID = 1
# How much of a person's box their mask covers, where a data set has no masks.
_BOX_SHARE = 0.53


@dataclass(frozen=True, kw_only=True)
class CocoForm:
    """What differs between data sets in COCO's layout.

    Attributes:
        prefix: How the names of annotation files begin; the split's name follows.
        joints: The key points, in the files' order.
        has_areas: Whether every annotation has the area of its mask; 0.53 of the box otherwise.
        annotation_folder: Where in the data folder the annotation files lie.
        image_folder: Where the images of all splits lie; "" if each split has a folder.
    """

    prefix: str
    joints: tuple[str, ...]
    has_areas: bool = True
    annotation_folder: str = "annotations"
    image_folder: str = ""

    @property
    def num_joints(self) -> int:
        """Number of key points."""
        return len(self.joints)


COCO_FORM = CocoForm(prefix="person_keypoints_", joints=COCO_JOINTS)
"""The form of COCO's own files."""


@dataclass(frozen=True, kw_only=True)
class CocoSplit:
    """One split's annotation file, checked.

    Attributes:
        split: The split's name, as in the file's name.
        path: The annotation file.
        content: Its bytes.
        image_folder: The folder with the split's images.
        images: The file's image entries, by rising id.
        annotations: The file's annotation entries of people, in the file's order.
        is_labelled: Whether there are annotations at all; those of test splits are secret.
        person_id: The category of people.
    """

    split: str
    path: Path
    content: bytes
    image_folder: Path
    images: tuple[dict[str, Any], ...]
    annotations: tuple[dict[str, Any], ...]
    is_labelled: bool = True
    person_id: int = _PERSON_ID


@dataclass(frozen=True, kw_only=True)
class CocoAnnotations:
    """What an annotation file says of people, checked.

    Attributes:
        images: The file's image entries, by rising id.
        annotations: Its annotation entries of people, in the file's order.
        person_id: The category of people.
    """

    images: tuple[dict[str, Any], ...]
    annotations: tuple[dict[str, Any], ...]
    person_id: int


def has_labelled_joints(annotation: Mapping[str, Any]) -> bool:
    """Tells whether an annotation is of one person with at least one labelled key point."""
    return (
        not annotation.get("iscrowd", 0)
        and annotation["num_keypoints"] > 0
        and any(flag > 0 for flag in annotation["keypoints"][2::3])
    )


def read_split(folder: Path, split: str, form: CocoForm = COCO_FORM) -> CocoSplit:
    """Reads ``annotations/person_keypoints_SPLIT.json`` of a data folder in COCO's layout.

    The images lie in ``SPLIT/`` or in ``images/SPLIT/``. A split whose labels are secret has
    ``annotations/image_info_SPLIT.json`` instead, and its images may lie in ``test2017/``.

    Args:
        folder: The data folder.
        split: The split's name.
        form: Names of files and key points.

    Raises:
        DataError: If a folder or the file is missing, or the file does not say what it must.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise _error(folder, "the data folder must exist", got, "give --data the folder's path")
    path = folder / form.annotation_folder / f"{form.prefix}{split}.json"
    info = path.with_name(f"{_IMAGE_INFO}{split}.json")
    if not path.is_file() and info.is_file():
        content = _content(info)
        document = _parse(info, content, ("images",))
        return CocoSplit(
            split=split,
            path=info,
            content=content,
            image_folder=_image_folder(folder, split, _SECRET_IMAGES),
            images=_images(info, document["images"], are_read=True),
            annotations=(),
            is_labelled=False,
            person_id=_person_id(document),
        )
    if not path.is_file():
        raise _missing_file(path, split, form)
    content = _content(path)
    truth = _truth(path, content, form, are_read=True)
    return CocoSplit(
        split=split,
        path=path,
        content=content,
        image_folder=_image_folder(folder, form.image_folder or split),
        images=truth.images,
        annotations=truth.annotations,
        person_id=truth.person_id,
    )


def read_annotations(path: Path, form: CocoForm = COCO_FORM) -> CocoAnnotations:
    """Reads an annotation file by itself, without its images; of these, an id is enough.

    Raises:
        DataError: If the file is missing, does not say what it must, or has no image.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        do = f"name a {form.prefix}SPLIT.json file"
        raise _error(path, "annotations are one JSON file in COCO's form", got, do)
    truth = _truth(path, _content(path), form, are_read=False)
    if not truth.images:
        do = "name the file that the predictions were made on"
        raise _error(path, "an annotation file needs at least one image", "none", do)
    return truth


def _truth(path: Path, content: bytes, form: CocoForm, *, are_read: bool) -> CocoAnnotations:
    document = _parse(path, content, ("images", "annotations"))
    images = _images(path, document["images"], are_read=are_read)
    ids = {image["id"] for image in images}
    person_id = _person_id(document)
    return CocoAnnotations(
        images=images,
        annotations=_annotations(path, document["annotations"], ids, form, person_id),
        person_id=person_id,
    )


def _person_id(document: Mapping[str, Any]) -> int:
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
    return int(people[0]["id"]) if people else _PERSON_ID


def _error(where: Path, rule: str, got: str, do: str) -> DataError:
    return DataError(Problem(where=str(where), rule=rule, got=got, do=do))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        got = str(error.strerror)
        raise _error(path, "an annotation file must be readable", got, "mend its rights") from None


def _missing_file(path: Path, split: str, form: CocoForm) -> DataError:
    rule = f"split {split!r} needs its annotation file"
    if not path.parent.is_dir():
        do = f"give --data a folder that holds {path.parent.name}/{path.name}"
        return _error(path, rule, f"no folder {path.parent.name!r}", do)
    files = path.parent.glob(f"{form.prefix}*.json")
    found = sorted(file.stem.removeprefix(form.prefix) for file in files)
    if not found:
        do = f"give --data a folder that holds {path.parent.name}/{path.name}"
        return _error(path, rule, f"no {form.prefix}*.json in that folder", do)
    do = (
        f"{did_you_mean(split, found)} The folder has the splits {', '.join(found)}: "
        "name them by the task's options train_split and val_split"
    )
    return _error(path, rule, "no such file", do)


def _image_folder(folder: Path, split: str, *others: str) -> Path:
    for name in (split, *others):
        for candidate in (folder / name, folder / "images" / name):
            if candidate.is_dir():
                return candidate
    raise _error(
        folder,
        f"split {split!r} needs its images in {split}/ or images/{split}/",
        "neither folder",
        "unpack the images there",
    )


def parse_json(path: Path, content: bytes, noun: str) -> Any:  # noqa: ANN401 - whatever it holds
    """Returns what a JSON file holds.

    Args:
        path: The file.
        content: Its bytes, which gzip may have packed.
        noun: What kind of file it is, for the message.

    Raises:
        DataError: If it is no JSON.
    """
    rule = f"{noun} must be JSON"
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            raise _error(path, rule, "what gzip cannot unpack", _AGAIN) from None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # Python's own reader takes NaN, and says better where a file ends.
        pass
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        got = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise _error(path, rule, got, _AGAIN) from None
    except (ValueError, RecursionError):
        raise _error(path, rule, "other bytes", _AGAIN) from None


def _parse(path: Path, content: bytes, keys: Sequence[str]) -> dict[str, Any]:
    document = parse_json(path, content, "an annotation file")
    if not isinstance(document, dict):
        got = f"a {type(document).__name__}"
        raise _error(path, "an annotation file must hold a JSON object", got, _AGAIN)
    for key in keys:
        entries = document.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _error(
                path,
                f"an annotation file must hold a list {key!r} of objects",
                "none" if entries is None else "something else",
                "use a file in COCO's form, with key points",
            )
    return document


def _images(
    path: Path, images: Sequence[dict[str, Any]], *, are_read: bool
) -> tuple[dict[str, Any], ...]:
    wrong = [
        image
        for image in images
        if not (is_whole(image.get("id")) and (not are_read or _can_be_read(image)))
    ]
    if wrong:
        more = ", width and height, and a file_name" if are_read else ""
        rule = f"every image needs a whole-numbered id{more}"
        raise _error(path, rule, _first("image", wrong), "correct the entry")
    by_id = {image["id"]: _with_whole(image, ("id",)) for image in images}
    if len(by_id) < len(images):
        got = f"{len(images)} images with {len(by_id)} ids"
        raise _error(path, "every image needs an id of its own", got, "renumber the images")
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


def _annotations(
    path: Path,
    annotations: Sequence[dict[str, Any]],
    image_ids: set[int],
    form: CocoForm,
    person_id: int,
) -> tuple[dict[str, Any], ...]:
    rule = "every annotation needs a whole-numbered id and category_id"
    wrong = [
        entry
        for entry in annotations
        if not (is_whole(entry.get("id")) and is_whole(entry.get("category_id")))
    ]
    if wrong:
        raise _error(path, rule, _first("annotation", wrong), "correct the entry")
    # What is no person has no key points, or those of something else.
    people = [entry for entry in annotations if entry["category_id"] == person_id]
    for rule, holds, do in _rules(image_ids, form):
        wrong = [entry for entry in people if not holds(entry)]
        if wrong:
            raise _error(path, rule, _first("annotation", wrong), do)
    if len({entry["id"] for entry in people}) < len(people):
        got = "an id that stands twice"
        raise _error(path, "every annotation needs an id of its own", got, "renumber them")
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
