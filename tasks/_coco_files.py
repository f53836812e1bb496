"""Reads key-point annotations in COCO's layout, and says in one line what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks import DataError, Problem, did_you_mean

from ._outputs import COCO_JOINTS

_PREFIX = "person_keypoints_"
_NUM_NUMBERS = 3 * len(COCO_JOINTS)
# Ids and coordinates beyond this are no ids and no coordinates; NaN is not below it either.
_TOO_LARGE = 2**53
_SHORT = 40


@dataclass(frozen=True, kw_only=True)
class CocoSplit:
    """One split's annotation file, checked.

    Attributes:
        split: The split's name, as in the file's name.
        path: The annotation file.
        content: Its bytes.
        image_folder: The folder with the split's images.
        images: The file's image entries, by rising id.
        annotations: The file's annotation entries, in the file's order.
    """

    split: str
    path: Path
    content: bytes
    image_folder: Path
    images: tuple[dict[str, Any], ...]
    annotations: tuple[dict[str, Any], ...]


def has_labelled_joints(annotation: dict[str, Any]) -> bool:
    """Tells whether an annotation is of one person with at least one labelled key point."""
    return (
        not annotation.get("iscrowd", 0)
        and annotation["num_keypoints"] > 0
        and any(flag > 0 for flag in annotation["keypoints"][2::3])
    )


def read_split(folder: Path, split: str) -> CocoSplit:
    """Reads ``annotations/person_keypoints_SPLIT.json`` of a data folder in COCO's layout.

    The images lie in ``SPLIT/`` or in ``images/SPLIT/``.

    Raises:
        DataError: If a folder or the file is missing, or the file does not say what it must.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise _error(folder, "the data folder must exist", got, "give --data the folder's path")
    path = folder / "annotations" / f"{_PREFIX}{split}.json"
    if not path.is_file():
        raise _missing_file(path, split)
    content = _content(path)
    document = _parse(path, content)
    images = _images(path, document["images"])
    annotations = _annotations(path, document["annotations"], {image["id"] for image in images})
    return CocoSplit(
        split=split,
        path=path,
        content=content,
        image_folder=_image_folder(folder, split),
        images=images,
        annotations=annotations,
    )


def _error(where: Path, rule: str, got: str, do: str) -> DataError:
    return DataError(Problem(where=str(where), rule=rule, got=got, do=do))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        got = str(error.strerror)
        raise _error(path, "an annotation file must be readable", got, "mend its rights") from None


def _missing_file(path: Path, split: str) -> DataError:
    rule = f"split {split!r} needs its annotation file"
    if not path.parent.is_dir():
        do = f"give --data a folder that holds annotations/{path.name}"
        return _error(path, rule, f"no folder {path.parent.name!r}", do)
    found = sorted(file.stem.removeprefix(_PREFIX) for file in path.parent.glob(f"{_PREFIX}*.json"))
    if not found:
        do = f"give --data a folder that holds annotations/{path.name}"
        return _error(path, rule, f"no {_PREFIX}*.json in that folder", do)
    do = (
        f"{did_you_mean(split, found)} The folder has the splits {', '.join(found)}: "
        "name them by the task's options train_split and val_split"
    )
    return _error(path, rule, "no such file", do)


def _image_folder(folder: Path, split: str) -> Path:
    for candidate in (folder / split, folder / "images" / split):
        if candidate.is_dir():
            return candidate
    raise _error(
        folder,
        f"split {split!r} needs its images in {split}/ or images/{split}/",
        "neither folder",
        "unpack the images there",
    )


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    again = "unpack or download the file again"
    try:
        document = json.loads(content)
    except json.JSONDecodeError as error:
        got = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise _error(path, "an annotation file must be JSON", got, again) from None
    except (ValueError, RecursionError):
        raise _error(path, "an annotation file must be JSON", "other bytes", again) from None
    if not isinstance(document, dict):
        got = f"a {type(document).__name__}"
        raise _error(path, "an annotation file must hold a JSON object", got, again)
    for key in ("images", "annotations"):
        entries = document.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _error(
                path,
                f"an annotation file must hold a list {key!r} of objects",
                "none" if entries is None else "something else",
                f"use a COCO {_PREFIX}*.json file",
            )
    return document


def _images(path: Path, images: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    wrong = [
        image
        for image in images
        if not (
            _is_whole(image.get("id"))
            and isinstance(image.get("file_name"), str)
            and all(_is_whole(image.get(key)) and image[key] > 0 for key in ("width", "height"))
        )
    ]
    if wrong:
        rule = "every image needs a whole-numbered id, width and height, and a file_name"
        raise _error(path, rule, _first("image", wrong), "correct the entry")
    by_id = {image["id"]: image for image in images}
    if len(by_id) < len(images):
        got = f"{len(images)} images with {len(by_id)} ids"
        raise _error(path, "every image needs an id of its own", got, "renumber the images")
    return tuple(by_id[number] for number in sorted(by_id))


def _annotations(
    path: Path, annotations: Sequence[dict[str, Any]], image_ids: set[int]
) -> tuple[dict[str, Any], ...]:
    for rule, holds, do in _RULES:
        wrong = [entry for entry in annotations if not holds(entry, image_ids)]
        if wrong:
            raise _error(path, rule, _first("annotation", wrong), do)
    if len({entry["id"] for entry in annotations}) < len(annotations):
        got = "an id that stands twice"
        raise _error(path, "every annotation needs an id of its own", got, "renumber them")
    return tuple(
        entry
        if _is_whole(entry.get("num_keypoints"))
        else {**entry, "num_keypoints": sum(flag > 0 for flag in entry["keypoints"][2::3])}
        for entry in annotations
    )


def _has_ids(entry: dict[str, Any], _: set[int]) -> bool:
    return _is_whole(entry.get("id")) and _is_whole(entry.get("category_id"))


def _has_image(entry: dict[str, Any], image_ids: set[int]) -> bool:
    return _is_whole(entry.get("image_id")) and entry["image_id"] in image_ids


def _has_keypoints(entry: dict[str, Any], _: set[int]) -> bool:
    return _are_numbers(entry.get("keypoints"), _NUM_NUMBERS)


def _has_box(entry: dict[str, Any], _: set[int]) -> bool:
    return _are_numbers(entry.get("bbox"), 4) and _are_numbers([entry.get("area")], 1)


_RULES: tuple[tuple[str, Callable[[dict[str, Any], set[int]], bool], str], ...] = (
    ("every annotation needs a whole-numbered id and category_id", _has_ids, "correct the entry"),
    (
        "every annotation's image_id must be among the images",
        _has_image,
        "add the images or remove the annotations",
    ),
    (
        f"every annotation needs {_NUM_NUMBERS} numbers in keypoints (17 times x, y, flag)",
        _has_keypoints,
        f"use a COCO {_PREFIX}*.json file, or correct the entry",
    ),
    (
        "every annotation needs 4 numbers in bbox (left, top, width, height) and an area",
        _has_box,
        "correct the entry",
    ),
)


def _first(noun: str, wrong: Sequence[dict[str, Any]]) -> str:
    entry = wrong[0]
    named = [f"{noun} {_short(entry.get('id'))}"]
    if "image_id" in entry:
        named.append(f"image_id {_short(entry['image_id'])}")
    return f"{len(wrong)} otherwise, the first being {' with '.join(named)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _TOO_LARGE


def _are_numbers(values: object, num: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == num
        and all(isinstance(value, (int, float)) and abs(value) < _TOO_LARGE for value in values)
    )
