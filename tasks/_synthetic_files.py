"""The synthetic data set on disk: rendered once, in COCO's layout, never half."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
from filelock import FileLock

from blocks import DataError, Problem

from ._outputs import COCO_JOINTS
from ._synthetic_scenes import IMAGE_SIZE, RENDERER_REVISION, Sample, render_chunk

SPLITS = ("train", "val")

_CACHE_VARIABLE = "BRANCHWORK_CACHE"
_DONE = "complete.json"
_JPEG_QUALITY = 92
_STALE_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class SyntheticSet:
    """Which synthetic data set: equal ones have equal images wherever they are rendered.

    Attributes:
        num_train: Number of people to learn from.
        num_val: Number of people to be scored on.
        seed: Seed of everything random.
    """

    num_train: int
    num_val: int
    seed: int

    @property
    def folder_name(self) -> str:
        """Name of the data set's folder."""
        numbers = f"{self.num_train}-{self.num_val}-seed{self.seed}"
        return f"synthetic_keypoints-{numbers}-r{RENDERER_REVISION}"


def cache_folder() -> Path:
    """Returns where Branchwork keeps what it can make again: ``BRANCHWORK_CACHE``, if set."""
    named = os.environ.get(_CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "branchwork"


def ensure_rendered(which: SyntheticSet, parent: Path) -> Path:
    """Returns the data set's folder, rendering it if it is not there whole.

    It is rendered under a temporary name and then renamed, so a killed process leaves no half of
    it behind; of several processes that want it, one renders and the others wait.

    Args:
        which: The data set.
        parent: The folder to keep it in; made if it does not exist.

    Raises:
        DataError: If the folder cannot be written.
    """
    folder = parent / which.folder_name
    if _is_whole(folder):
        return folder
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f".{which.folder_name}.lock"):
            if not _is_whole(folder):
                _remove_stale(parent)
                made = Path(tempfile.mkdtemp(prefix=f".{which.folder_name}.", dir=parent))
                try:
                    _render(which, made)
                    _install(made, folder)
                finally:
                    shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise DataError(
            Problem(
                where=str(parent),
                rule="the synthetic data set needs a folder to be kept in",
                got=str(error.strerror or error),
                do=f"give another one with --data or {_CACHE_VARIABLE}",
            )
        ) from error
    return folder


def version_of(folder: Path) -> int:
    """Returns a number that changes when the data set is rendered anew; 0 if it is not there."""
    try:
        return (folder / _DONE).stat().st_mtime_ns
    except OSError:
        return 0


def distrust(folder: Path, version: int) -> None:
    """Marks a data set as not whole, unless it was rendered anew since its version was read.

    Raises:
        DataError: If the folder cannot be written.
    """
    try:
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if version_of(folder) == version:
                (folder / _DONE).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            Problem(
                where=str(folder),
                rule="a damaged synthetic data set is rendered again in its place",
                got=str(error.strerror or error),
                do=f"give another folder with --data or {_CACHE_VARIABLE}",
            )
        ) from error


def _install(made: Path, folder: Path) -> None:
    made.chmod(0o755)
    if folder.exists():
        # Aside first: whoever reads it now keeps the open files, and the name is free at once.
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            folder.rename(aside / "broken")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    made.rename(folder)


def _is_whole(folder: Path) -> bool:
    """Tells whether all the bytes that were rendered are still there."""
    try:
        expected = json.loads((folder / _DONE).read_bytes())
        return bool(expected == _inventory(folder))
    except (OSError, ValueError):
        return False


def _inventory(folder: Path) -> dict[str, Any]:
    """Returns the number of files and of bytes of every part of a data set."""
    inventory = {}
    for part in ("annotations", *SPLITS):
        with os.scandir(folder / part) as entries:
            sizes = [entry.stat().st_size for entry in entries]
        inventory[part] = {"num_files": len(sizes), "num_bytes": sum(sizes)}
    return inventory


def _remove_stale(parent: Path) -> None:
    """Removes what killed processes left behind."""
    for left in parent.glob(".synthetic_keypoints-*"):
        if not left.is_dir():
            continue
        try:
            stale = time.time() - left.stat().st_mtime > _STALE_S
        except FileNotFoundError:
            continue
        if stale:
            shutil.rmtree(left, ignore_errors=True)


def _render(which: SyntheticSet, folder: Path) -> None:
    (folder / "annotations").mkdir()
    for stream, (split, num) in enumerate(
        zip(SPLITS, (which.num_train, which.num_val), strict=True)
    ):
        (folder / split).mkdir()
        images, annotations = [], []
        for number, sample in enumerate(islice(_samples(which.seed, stream), num), start=1):
            name = f"{number:06d}.jpg"
            _write(folder / split / name, sample)
            images.append(
                {
                    "id": number,
                    "file_name": name,
                    "width": IMAGE_SIZE.width,
                    "height": IMAGE_SIZE.height,
                }
            )
            annotations.append({"id": number, "image_id": number, **sample.annotation})
        document = {
            "info": {
                "description": f"Synthetic people rendered by Branchwork, {split} split",
                "seed": which.seed,
                "renderer_revision": RENDERER_REVISION,
            },
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_JOINTS)}],
            "images": images,
            "annotations": annotations,
        }
        path = folder / "annotations" / f"person_keypoints_{split}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
    (folder / _DONE).write_text(json.dumps(_inventory(folder)), encoding="utf-8")


def _samples(seed: int, stream: int) -> Iterator[Sample]:
    for chunk in count():
        yield from render_chunk(seed, stream, chunk)


def _write(path: Path, sample: Sample) -> None:
    pixels = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
    done, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    path.write_bytes(content.tobytes())
