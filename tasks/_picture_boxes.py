"""Boxes of people in pictures, found in a file by the pictures' names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks import DataError, Problem

from ._coco_entries import are_numbers, is_whole
from ._coco_files import parse_json
from ._coco_results import check_entries
from ._pictures import PersonBox

_PERSON = 1
_NAMES = ("file_name", "image")
_NUMBER_AT_END = re.compile(r"(\d+)$")


@dataclass(frozen=True, kw_only=True)
class PictureBoxes:
    """The people of many images.

    Attributes:
        path: The file that says it.
        ids: The images' numbers by file name, in annotation files.
        by_name: Boxes by file name.
        by_id: Boxes by the image's number, for files that hold no names.
    """

    path: Path
    ids: Mapping[str, int]
    by_name: Mapping[str, Sequence[PersonBox]]
    by_id: Mapping[int, Sequence[PersonBox]]

    def id_of(self, file_name: str) -> int | None:
        """Returns an image's number; None if the file knows none.

        Where the file holds no names it is the number that the name ends in: 139 for
        ``000000000139.jpg``, as COCO's images are called.
        """
        if file_name in self.ids:
            return self.ids[file_name]
        found = _NUMBER_AT_END.search(Path(file_name).stem)
        return int(found[1]) if found and int(found[1]) in self.by_id else None

    def of_file(self, file_name: str) -> tuple[PersonBox, ...]:
        """Returns the people of an image, none if the file does not know it."""
        named = self.by_name.get(file_name)
        if named is not None:
            return tuple(named)
        number = self.id_of(file_name)
        return () if number is None else tuple(self.by_id.get(number, ()))

    def knows(self, file_name: str) -> bool:
        """Tells whether the file speaks of an image."""
        return file_name in self.by_name or self.id_of(file_name) is not None


def read_picture_boxes(path: Path, least_score: float) -> PictureBoxes:
    """Reads an annotation file in COCO's form, or a detector's results.

    Annotations are found by their images' ``file_name``; crowds are left out. A detector's results
    are found by ``file_name`` or ``image`` where they have one, by ``image_id`` otherwise.

    Args:
        path: The file.
        least_score: Boxes of a lower score are left out.

    Raises:
        DataError: If it is missing or does not say what it must.
    """
    if not path.is_file():
        got = "a folder" if path.is_dir() else "no such file"
        raise _error(path, "boxes are one JSON file", got, "check the path")
    document = parse_json(path, path.read_bytes(), "a file of boxes")
    images: list[Any] = []
    entries = document
    if isinstance(document, dict):
        images, entries = document.get("images", []), document.get("annotations")
    if not _are_objects(images) or not _are_objects(entries):
        raise _error(
            path,
            "boxes are an annotation file in COCO's form, or a detector's list of results",
            "something else",
            'write [{"image_id", "category_id": 1, "bbox", "score"}, ...], for example',
        )
    check_entries(
        path,
        entries,
        (
            (
                "every box needs 4 numbers in bbox (left, top, width, height), and finite scores",
                lambda entry: (
                    are_numbers(entry.get("bbox"), 4) and are_numbers([entry.get("score", 1)], 1)
                ),
                "correct the entry",
            ),
            (
                "every box says whose it is: file_name, or a whole-numbered image_id",
                lambda entry: _name_of(entry) is not None or is_whole(entry.get("image_id")),
                "correct the entry",
            ),
        ),
    )
    ids = {
        Path(image["file_name"]).name: image["id"]
        for image in images
        if isinstance(image.get("file_name"), str) and is_whole(image.get("id"))
    }
    by_name: dict[str, list[PersonBox]] = {name: [] for name in ids}
    by_id: dict[int, list[PersonBox]] = {}
    names = {number: name for name, number in ids.items()}
    for entry in entries:
        box = _box(entry)
        if box is None or box.score < least_score:
            continue
        name = _name_of(entry) or names.get(entry.get("image_id", 0))
        if name is not None:
            by_name.setdefault(name, []).append(box)
        else:
            by_id.setdefault(entry["image_id"], []).append(box)
    return PictureBoxes(path=path, ids=ids, by_name=by_name, by_id=by_id)


def _box(entry: Mapping[str, Any]) -> PersonBox | None:
    """Returns the person of an entry, None if it is of a crowd, of something else, or empty."""
    left, top, width, height = entry["bbox"]
    if entry.get("iscrowd", 0) or entry.get("category_id", _PERSON) != _PERSON:
        return None
    if width <= 0 or height <= 0:
        return None
    return PersonBox(
        left_px=left, top_px=top, width_px=width, height_px=height, score=entry.get("score", 1.0)
    )


def _name_of(entry: Mapping[str, Any]) -> str | None:
    names = (entry.get(key) for key in _NAMES)
    return next((Path(name).name for name in names if isinstance(name, str)), None)


def _are_objects(entries: object) -> bool:
    return isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)


def _error(where: Path, rule: str, got: str, do: str) -> DataError:
    return DataError(Problem(where=str(where), rule=rule, got=got, do=do))
