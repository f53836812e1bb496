"""Frames: images with label images, and the views of them that a network is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from blocks import ImageSize

from ._images import ByteImage, ImageFile
from ._label_files import LabelFile, LabelImage
from ._label_sets import IGNORED
from ._normalisation import FACTOR, MEAN, SHIFT

_MEAN_COLOUR = tuple(float(value) for value in np.round(255 * MEAN))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """An image of a split, with its label image where there is one.

    Attributes:
        name: What predictions call it.
        image: The image.
        label: Its label image; None where labels are secret.
    """

    name: str
    image: ImageFile
    label: LabelFile | None

    @classmethod
    def of_files(cls, name: str, image: Path, label: Path | None, ids: tuple[int, ...]) -> Frame:
        """Returns a frame of these files, its size read from the head of the image.

        An image that cannot be read has no size here and fails when it is checked.
        """
        try:
            with Image.open(image) as opened:
                width, height = opened.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            width = height = 0
        size = {"width_px": width, "height_px": height}
        return cls(
            name=name,
            image=ImageFile(path=image, name=name, **size),
            label=None if label is None else LabelFile(path=label, name=name, ids=ids, **size),
        )

    @property
    def size(self) -> ImageSize:
        """The image's size."""
        return ImageSize(self.image.height_px, self.image.width_px)


@dataclass(frozen=True, kw_only=True)
class View:
    """How a frame is laid on the network's input.

    Attributes:
        scale: Input pixels an image pixel, the same along both axes.
        left_px: Where the image's left edge comes to lie, in input pixels.
        top_px: Where its upper edge comes to lie, in input pixels.
        mirrored: Whether left and right of the input change places afterwards.
        contrast: What the normalised colours are multiplied by.
        brightness: What is added to them then.
    """

    scale: float
    left_px: float = 0.0
    top_px: float = 0.0
    mirrored: bool = False
    contrast: float = 1.0
    brightness: float = 0.0

    def image(self, pixels: ByteImage, size: ImageSize) -> npt.NDArray[np.float32]:
        """Returns the input, normalised, with the mean colour where the image ends.

        Bilinear, with the centres of pixels where they belong: at half the size, each pixel is
        the mean of four.

        Shape:
            (height, width, 3) -> (3, H, W).
        """
        warped = cv2.warpAffine(
            pixels,
            self._matrix(size),
            (size.width, size.height),
            flags=cv2.INTER_LINEAR,
            borderValue=_MEAN_COLOUR,
        )
        factor = (self.contrast * FACTOR).astype(np.float32)
        shift = (self.contrast * SHIFT + self.brightness).astype(np.float32)
        return np.ascontiguousarray((warped * factor + shift).transpose(2, 0, 1))

    def target(self, classes: LabelImage, size: ImageSize) -> npt.NDArray[np.int64]:
        """Returns the class at every pixel of the input, ``IGNORED`` where the image ends.

        Shape:
            (height, width) -> (H, W).
        """
        warped = cv2.warpAffine(
            classes,
            self._matrix(size),
            (size.width, size.height),
            flags=cv2.INTER_NEAREST,
            borderValue=(float(IGNORED),),
        )
        return np.asarray(warped, dtype=np.int64)

    def _matrix(self, size: ImageSize) -> npt.NDArray[np.float64]:
        # OpenCV counts from the centre of the first pixel.
        to_centre = 0.5 * self.scale - 0.5
        matrix = np.array(
            [
                [self.scale, 0.0, to_centre + self.left_px],
                [0.0, self.scale, to_centre + self.top_px],
            ]
        )
        if self.mirrored:
            matrix[0] = -matrix[0]
            matrix[0, 2] += size.width - 1
        return matrix


@dataclass(frozen=True, kw_only=True)
class FrameVariation:
    """How training views are varied: scale, place, mirroring, contrast and brightness.

    Attributes:
        smallest_scale: The smallest random scale factor.
        largest_scale: The largest.
        mirror_probability: How often a view is mirrored.
        contrast: The contrast is from 1 - this to 1 + this.
        brightness: Up to this much, in deviations of ImageNet's colours, is added or taken away.
    """

    smallest_scale: float = 0.5
    largest_scale: float = 2.0
    mirror_probability: float = 0.5
    contrast: float = 0.2
    brightness: float = 0.2

    def draw(
        self, frame: ImageSize, scale: float, size: ImageSize, rng: np.random.Generator
    ) -> View:
        """Returns a random view; always draws the same number of random numbers.

        Args:
            frame: The frame's size.
            scale: The scale that the random factor is relative to.
            size: The network's input size: the frame is cut to it where it is larger, and placed
                somewhere in it where it is smaller.
            rng: What to draw from.
        """
        grown, left, top, side, contrast, brightness = rng.random(6)
        scale *= self.smallest_scale + grown * (self.largest_scale - self.smallest_scale)
        return View(
            scale=scale,
            left_px=left * (size.width - scale * frame.width),
            top_px=top * (size.height - scale * frame.height),
            mirrored=bool(side < self.mirror_probability),
            contrast=1 + self.contrast * (2 * contrast - 1),
            brightness=self.brightness * (2 * brightness - 1),
        )


def fitting_scale(frame: ImageSize, size: ImageSize) -> float:
    """Returns the largest scale at which a frame fits an input.

    >>> fitting_scale(ImageSize(1024, 2048), ImageSize(512, 1024))
    0.5
    """
    return min(size.height / frame.height, size.width / frame.width)
