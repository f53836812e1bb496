"""Reads key-point annotations in COCO's layout, and says in one line what is wrong with them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from blocks import DataError, did_you_mean

from ._coco_entries import (
    PERSON_ID,
    checked_annotations,
    checked_images,
    entry_error,
    person_id_of,
)
from ._coco_form import COCO_FORM, CocoForm

_IMAGE_INFO = "image_info_"
# Where the images of the splits lie whose labels are secret.
_SECRET_IMAGES = "test2017"  # noqa: S105 - a name
_AGAIN = "unpack or download the file again"
_GZIP = b"\x1f\x8b"


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
    person_id: int = PERSON_ID


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
        raise entry_error(
            folder, "the data folder must exist", got, "give --data the folder's path"
        )
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
            images=checked_images(info, document["images"], are_read=True),
            annotations=(),
            is_labelled=False,
            person_id=person_id_of(document),
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
        raise entry_error(path, "annotations are one JSON file in COCO's form", got, do)
    truth = _truth(path, _content(path), form, are_read=False)
    if not truth.images:
        do = "name the file that the predictions were made on"
        raise entry_error(path, "an annotation file needs at least one image", "none", do)
    return truth


def _truth(path: Path, content: bytes, form: CocoForm, *, are_read: bool) -> CocoAnnotations:
    document = _parse(path, content, ("images", "annotations"))
    images = checked_images(path, document["images"], are_read=are_read)
    ids = {image["id"] for image in images}
    person_id = person_id_of(document)
    return CocoAnnotations(
        images=images,
        annotations=checked_annotations(path, document["annotations"], ids, form, person_id),
        person_id=person_id,
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        got = str(error.strerror)
        raise entry_error(
            path, "an annotation file must be readable", got, "mend its rights"
        ) from None


def _missing_file(path: Path, split: str, form: CocoForm) -> DataError:
    rule = f"split {split!r} needs its annotation file"
    if not path.parent.is_dir():
        do = f"give --data a folder that holds {path.parent.name}/{path.name}"
        return entry_error(path, rule, f"no folder {path.parent.name!r}", do)
    files = path.parent.glob(f"{form.prefix}*.json")
    found = sorted(file.stem.removeprefix(form.prefix) for file in files)
    if not found:
        do = f"give --data a folder that holds {path.parent.name}/{path.name}"
        return entry_error(path, rule, f"no {form.prefix}*.json in that folder", do)
    do = (
        f"{did_you_mean(split, found)} The folder has the splits {', '.join(found)}: "
        "name them by the task's options train_split and val_split"
    )
    return entry_error(path, rule, "no such file", do)


def _image_folder(folder: Path, split: str, *others: str) -> Path:
    for name in (split, *others):
        for candidate in (folder / name, folder / "images" / name):
            if candidate.is_dir():
                return candidate
    raise entry_error(
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
            raise entry_error(path, rule, "what gzip cannot unpack", _AGAIN) from None
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # Python's own reader takes NaN, and says better where a file ends.
        pass
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        got = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise entry_error(path, rule, got, _AGAIN) from None
    except (ValueError, RecursionError):
        raise entry_error(path, rule, "other bytes", _AGAIN) from None


def _parse(path: Path, content: bytes, keys: Sequence[str]) -> dict[str, Any]:
    document = parse_json(path, content, "an annotation file")
    if not isinstance(document, dict):
        got = f"a {type(document).__name__}"
        raise entry_error(path, "an annotation file must hold a JSON object", got, _AGAIN)
    for key in keys:
        entries = document.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise entry_error(
                path,
                f"an annotation file must hold a list {key!r} of objects",
                "none" if entries is None else "something else",
                "use a file in COCO's form, with key points",
            )
    return document
