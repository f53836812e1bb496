"""A split's images: which of them can be read, and the decoded ones in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from blocks import DataError, Problem

ByteImage = npt.NDArray[np.uint8]

CACHE_BYTES = 1 << 30
"""How many bytes of decoded images one split keeps in memory."""

MAX_UNREADABLE = 0.01
"""The largest part of a split's images that may be missing or unreadable; one always may."""

_NUM_THREADS = 2
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_TAIL_BYTES = 4096
_NUM_NAMED = 3


class Decodable(Protocol):
    """A file of a split that is decoded to an array: an image, or a label image."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def num_bytes(self) -> int:
        """Size once it is decoded."""

    def read(self) -> ByteImage:
        """Decodes it; raises DataError."""

    def check_ends(self) -> None:
        """Looks at its ends only; raises DataError."""

    def check_exists(self) -> None:
        """Looks whether it is there; raises DataError."""


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image that an annotation file speaks of.

    Attributes:
        path: Where it lies.
        name: Its name in the annotation file.
        width_px: Its width, according to that file.
        height_px: Its height, according to that file.
    """

    path: Path
    name: str
    width_px: int
    height_px: int

    @classmethod
    def of_entry(cls, entry: dict[str, Any], folder: Path) -> ImageFile:
        """Returns the image of an entry in an annotation file."""
        return cls(
            path=folder / entry["file_name"],
            name=entry["file_name"],
            width_px=entry["width"],
            height_px=entry["height"],
        )

    @classmethod
    def of_header(cls, path: Path, name: str) -> ImageFile:
        """Returns an image whose size no annotation file says: as its header says, else 0x0.

        Args:
            path: Where it lies.
            name: What messages call it.
        """
        try:
            with Image.open(path) as image:
                width, height = image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            width, height = 0, 0
        return cls(path=path, name=name, width_px=width, height_px=height)

    @property
    def num_bytes(self) -> int:
        """Size of the decoded image."""
        return 3 * self.width_px * self.height_px

    def read(self) -> ByteImage:
        """Decodes the image to RGB, without turning it as its camera asks (nor does COCO).

        Raises:
            DataError: If it is missing, cannot be decoded or has another size.
        """
        try:
            content = np.fromfile(self.path, dtype=np.uint8)
        except (OSError, ValueError) as error:
            got = "no such file" if isinstance(error, FileNotFoundError) else str(error)
            raise self._error(got) from None
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            image = cv2.imdecode(content, flags) if content.size else None
        except cv2.error:
            # OpenCV refuses images of more than 2^30 pixels so.
            image = None
        if image is None:
            raise self._error("bytes that are no image, or not all of one")
        if image.shape[:2] != (self.height_px, self.width_px):
            got = f"{image.shape[0]}x{image.shape[1]}"
            raise self._error(f"{got} where its annotations say {self.height_px}x{self.width_px}")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def check_ends(self) -> None:
        """Checks that the file is an image of the right size and a JPEG's end; decodes nothing.

        Raises:
            DataError: If not.
        """
        try:
            with self.path.open("rb") as file:
                start = file.read(2)
                file.seek(max(0, self.path.stat().st_size - _TAIL_BYTES))
                tail = file.read()
        except (OSError, ValueError):
            raise self._error("no such file, or no right to read it") from None
        if not start or (start == _JPEG_START and _JPEG_END not in tail):
            raise self._error("bytes that are no image, or not all of one")
        try:
            with Image.open(self.path) as image:
                width, height = image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise self._error("bytes that are no image, or not all of one") from None
        if (width, height) != (self.width_px, self.height_px):
            got = f"{height}x{width}"
            raise self._error(f"{got} where its annotations say {self.height_px}x{self.width_px}")

    def check_exists(self) -> None:
        """Checks that there is such a file.

        Raises:
            DataError: If not.
        """
        if not self.path.is_file():
            raise self._error("no such file")

    def _error(self, got: str) -> DataError:
        return DataError(
            Problem(
                where=str(self.path),
                rule="an image must be readable",
                got=got,
                do="restore the file",
            )
        )


class ImageStore:
    """Decoded images, kept in memory as long as they fit.

    Args:
        cache_bytes: How many bytes of decoded images to keep.
    """

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self.cache_bytes = cache_bytes
        self._kept: dict[Path, ByteImage] = {}
        self._num_bytes = 0
        self._lock = threading.Lock()

    def read(self, file: Decodable) -> ByteImage:
        """Returns an image, decoded (height, width, 3); not to be written to.

        Raises:
            DataError: If it cannot be read.
        """
        kept = self._kept.get(file.path)
        if kept is not None:
            return kept
        image = file.read()
        image.flags.writeable = False
        with self._lock:
            if file.path not in self._kept and self._num_bytes + image.nbytes <= self.cache_bytes:
                self._kept[file.path] = image
                self._num_bytes += image.nbytes
        return image

    def __reduce__(self) -> tuple[type[ImageStore], tuple[int]]:
        """Leaves lock and images behind: in another process a store begins empty."""
        return ImageStore, (self.cache_bytes,)


def find_unreadable(
    store: ImageStore, needed: Sequence[Decodable], others: Sequence[Decodable]
) -> dict[Path, str]:
    """Finds the images of a split that cannot be read.

    If all needed images fit the store, each is decoded, which fills the store and finds every
    broken file. Otherwise only their first and last bytes are looked at, so that a split of many
    gigabytes opens in seconds; an image broken in its middle then raises when it is first used.
    The other images are never shown to a network; they must only exist.

    Args:
        store: Keeps what was decoded.
        needed: The images that items are made from.
        others: The split's other images.

    Returns:
        What was got instead of each unreadable image.

    Raises:
        DataError: If more than 1 % of the split's images, and more than one, cannot be read.
    """
    fits = sum(file.num_bytes for file in needed) <= store.cache_bytes
    read: Callable[[Decodable], object] = store.read if fits else lambda file: file.check_ends()

    def problem_of(file: Decodable, check: Callable[[Decodable], object]) -> str | None:
        try:
            check(file)
        except DataError as error:
            return error.problems[0].got
        return None

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        problems = [*pool.map(lambda file: problem_of(file, read), needed)]
    problems += [problem_of(file, lambda one: one.check_exists()) for file in others]
    files = [*needed, *others]
    found = [(file, got) for file, got in zip(files, problems, strict=True) if got is not None]
    if len(found) > max(1, MAX_UNREADABLE * len(files)):
        names = ", ".join(f"{file.name} ({got})" for file, got in found[:_NUM_NAMED])
        more = f" and {len(found) - _NUM_NAMED} more" if len(found) > _NUM_NAMED else ""
        raise DataError(
            Problem(
                where=str(files[0].path.parent),
                rule="at most 1 % of a split's images, or one, may be missing or unreadable",
                got=f"{len(found)} of {len(files)}: {names}{more}",
                do="restore the files",
            )
        )
    return {file.path: got for file, got in found}
