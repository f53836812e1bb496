"""Finds the pictures that a user names: files and folders, their names, their people."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from blocks import DataError, Problem
from tasks import ImageFile, PersonBox, Picture, PictureBoxes, read_picture_boxes

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_NUM_SIDES = 4


def find_pictures(
    paths: Sequence[Path],
    *,
    boxes_file: Path | None,
    least_score: float,
    boxes: Sequence[str],
    boxed: bool,
) -> list[Picture]:
    """Returns the pictures in files and folders, each with a name of its own.

    Args:
        paths: What the user named; folders are searched to any depth.
        boxes_file: Where people's boxes are.
        least_score: Boxes of that file with a lower score are left out.
        boxes: Boxes as the user wrote them, for every image.
        boxed: Whether the task looks at people in boxes.

    Raises:
        DataError: If a file is missing, a folder holds no image, or boxes cannot be used.
    """
    files = _files(paths)
    if (boxes_file is not None or boxes) and not boxed:
        raise _error("--box", "whole images are shown to this task's networks", "boxes", _WITHOUT)
    if boxes_file is not None and boxes:
        raise _error("--boxes", "boxes come from a file, or are written down", "both", "give one")
    pictures = [
        Picture(name=name, image_id=number, file=ImageFile.of_header(path, path.name))
        for number, (path, name) in enumerate(zip(files, _names(files), strict=True), start=1)
    ]
    if boxes:
        written = tuple(_written_box(text) for text in boxes)
        return [dataclasses.replace(one, boxes=_in_image(written, one)) for one in pictures]
    if boxes_file is not None:
        return _with_people(pictures, read_picture_boxes(boxes_file, least_score))
    return pictures


_WITHOUT = "leave the boxes out"


def _files(paths: Sequence[Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.suffix.lower() in _SUFFIXES)
            if not inside:
                got, do = "no such file in it", "name another folder, or files"
                raise _error(str(path), f"images end in {', '.join(_SUFFIXES)}", got, do)
        elif path.exists():
            inside = [path]
        else:
            raise _error(str(path), "an image must exist", "no such file", "check the path")
        # An image that is named twice is still one.
        found.update({one.resolve(): one for one in inside if one.resolve() not in found})
    return list(found.values())


def _names(files: Sequence[Path]) -> list[str]:
    """Returns a name for every file: its own where no other has it, else with its folders'."""
    # Some file systems take A and a for the same name.
    shared = Counter(path.stem.casefold() for path in files)
    twins = [path.resolve() for path in files if shared[path.stem.casefold()] > 1]
    root = Path(os.path.commonpath([path.parent for path in twins])) if twins else Path()
    names = []
    for path in files:
        if shared[path.stem.casefold()] == 1:
            names.append(path.stem)
            continue
        parts = path.resolve().relative_to(root).parts
        names.append("_".join((*parts[:-1], path.stem, path.suffix[1:])))
    return _told_apart(names)


def _told_apart(names: Sequence[str]) -> list[str]:
    """Returns names, numbered where two are still the same.

    >>> _told_apart(["a", "b", "A"])
    ['a', 'b', 'A_2']
    """
    taken = {name.casefold() for name in names}
    seen: set[str] = set()
    told = []
    for name in names:
        unique, number = name, 1
        while unique.casefold() in seen or (number > 1 and unique.casefold() in taken):
            number += 1
            unique = f"{name}_{number}"
        seen.add(unique.casefold())
        told.append(unique)
    return told


def _written_box(text: str) -> PersonBox:
    try:
        sides = [float(part) for part in text.split(",")]
    except ValueError:
        sides = []
    if len(sides) != _NUM_SIDES or not all(abs(side) < 1e6 for side in sides):  # noqa: PLR2004
        rule = "a box is left, top, width and height in pixels"
        raise _error("--box", rule, repr(text), "write 40,20,180,400, for example")
    left, top, width, height = sides
    if min(width, height) <= 0:
        raise _error("--box", "a box has a width and a height", repr(text), "write larger ones")
    return PersonBox(left_px=left, top_px=top, width_px=width, height_px=height)


def _in_image(boxes: tuple[PersonBox, ...], picture: Picture) -> tuple[PersonBox, ...]:
    """Returns the boxes, each of which lies in the image at least in part."""
    width, height = picture.file.width_px, picture.file.height_px
    for box in boxes:
        beside = box.left_px >= width or box.left_px + box.width_px <= 0
        above = box.top_px >= height or box.top_px + box.height_px <= 0
        # An image that cannot be read has no size, and is told of later.
        if width and (beside or above):
            got = f"{','.join(f'{side:g}' for side in box.numbers)} for {picture.file.name}"
            rule = "a box lies in the image, at least in part"
            raise _error("--box", rule, f"{got} of {height}x{width}", "correct the box")
    return boxes


def _with_people(pictures: Sequence[Picture], boxes: PictureBoxes) -> list[Picture]:
    if not any(boxes.knows(picture.file.name) for picture in pictures):
        raise _error(
            str(boxes.path),
            "boxes are found by the images' file names, or by the numbers that these end in",
            f"boxes of none of the {len(pictures)} images, such as {pictures[0].file.name}",
            "name the file that belongs to the images",
        )
    known = [boxes.id_of(picture.file.name) for picture in pictures]
    # The file's own numbers, so that predictions can be scored against it; others come after them.
    largest = max((number for number in known if number is not None), default=0)
    return [
        dataclasses.replace(
            picture,
            boxes=boxes.of_file(picture.file.name),
            image_id=largest + picture.image_id if number is None else number,
        )
        for picture, number in zip(pictures, known, strict=True)
    ]


def _error(where: str, rule: str, got: str, do: str) -> DataError:
    return DataError(Problem(where=where, rule=rule, got=got, do=do))
