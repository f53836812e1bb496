"""Label images: one id a pixel, checked when they are read."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from blocks import DataError, Problem

LabelImage = npt.NDArray[np.uint8]

_INDEXED_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L")
_NUM_NAMED = 5
# Fast rather than small: label images are flat anyway.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1)


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A label image that belongs to an image.

    Attributes:
        path: Where it lies.
        name: What messages call it.
        width_px: The width of its image.
        height_px: The height of its image.
        ids: The ids that may occur, rising.
    """

    path: Path
    name: str
    width_px: int
    height_px: int
    ids: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Size of the decoded label image."""
        return self.width_px * self.height_px

    def read(self) -> LabelImage:
        """Decodes the label image; of a palette image, the places in the palette.

        Raises:
            DataError: If it is missing, is no label image, or has another size or unknown ids.
        """
        labels = read_labels(self.path)
        height, width = labels.shape
        if (height, width) != (self.height_px, self.width_px):
            raise label_error(
                self.path,
                rule="a label image is as large as its image",
                got=f"{height}x{width} for an image of {self.height_px}x{self.width_px}",
                do="use the label image of this image, not resized",
            )
        unknown = np.setdiff1d(np.flatnonzero(np.bincount(labels.ravel())), self.ids)
        if unknown.size:
            named = ", ".join(map(str, unknown[:_NUM_NAMED].tolist()))
            raise label_error(
                self.path,
                rule=f"label ids are {_ranges(self.ids)}",
                got=f"the unknown {'id' if unknown.size == 1 else 'ids'} {named}"
                + (" and more" if unknown.size > _NUM_NAMED else ""),
                do="use label images of this data set, with these ids",
            )
        return labels

    def check_ends(self) -> None:
        """Checks that the file is an image of the right size; decodes nothing.

        Raises:
            DataError: If not.
        """
        try:
            with Image.open(self.path) as image:
                width, height = image.size
        except FileNotFoundError:
            raise _missing(self.path) from None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise _broken(self.path) from None
        if (width, height) != (self.width_px, self.height_px):
            raise label_error(
                self.path,
                rule="a label image is as large as its image",
                got=f"{height}x{width} for an image of {self.height_px}x{self.width_px}",
                do="use the label image of this image, not resized",
            )

    def check_exists(self) -> None:
        """Checks that there is such a file.

        Raises:
            DataError: If not.
        """
        if not self.path.is_file():
            raise _missing(self.path)


def read_labels(path: Path) -> LabelImage:
    """Decodes a label image of any size and any ids up to 255.

    Raises:
        DataError: If it is missing, cannot be decoded, or holds colours instead of ids.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise label_error(
            path, rule=_READABLE, got=str(error.strerror or error), do="restore the file"
        ) from None
    return decode_labels(content, path)


def decode_labels(content: bytes, path: Path | str) -> LabelImage:
    """Decodes the bytes of a label image.

    Raises:
        DataError: If they cannot be decoded, or hold colours instead of ids.
    """
    try:
        # OpenCV would turn a palette's places into its colours.
        with Image.open(io.BytesIO(content)) as image:
            mode = image.mode
            values = np.asarray(image) if mode in _INDEXED_MODES else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise _broken(path) from None
    if values is None:
        raise label_error(
            path,
            rule="a label image has one number a pixel, the class's id",
            got=f"a colour image ({mode})",
            do="use the label images with ids, not those with colours",
        )
    # Ids over 255, of deeper images, are nobody's: 255 stands for them where it is no id either.
    labels: LabelImage = np.minimum(values, 255).astype(np.uint8)
    return labels


def encode_labels(labels: LabelImage) -> bytes:
    """Returns a label image as the bytes of a PNG with one channel."""
    done, content = cv2.imencode(".png", labels, _PNG_OPTIONS)
    assert done
    return bytes(content.tobytes())


def is_png(path: Path) -> bool:
    """Says whether a path is a file whose name ends in .png, in letters of either size."""
    return path.suffix.lower() == ".png" and path.is_file()


def check_label_folder(folder: Path, rule: str) -> None:
    """Checks that label images can lie in a folder.

    Args:
        folder: The folder.
        rule: What the error says is wanted there.

    Raises:
        DataError: If there is no such folder, or if it is a file.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise label_error(folder, rule=rule, got=got, do="give the path of a folder")


def label_error(path: Path | str, *, rule: str, got: str, do: str) -> DataError:
    """Returns the error for a label image."""
    return DataError(Problem(where=str(path), rule=rule, got=got, do=do))


_READABLE = "a label image must be readable"


def _missing(path: Path | str) -> DataError:
    return label_error(path, rule=_READABLE, got="no such file", do="restore the file")


def _broken(path: Path | str) -> DataError:
    got = "bytes that are no image, or not all of one"
    return label_error(path, rule=_READABLE, got=got, do="restore the file")


def _ranges(ids: tuple[int, ...]) -> str:
    """Writes ids with runs drawn together.

    >>> _ranges((0, 1, 2, 5, 7, 8))
    '0 to 2, 5, 7 to 8'
    """
    runs: list[list[int]] = []
    for number in ids:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
