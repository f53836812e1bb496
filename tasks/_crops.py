"""Crops: which part of an image the network sees, and the maps to and fro.

Top-down pose estimation as HRNet does it (Sun et al. 2019, section 4.1): the person's box is
grown to the input's aspect ratio, then by a quarter, and warped to the input size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from blocks import ImageSize

FloatArray = npt.NDArray[np.float64]
ByteImage = npt.NDArray[np.uint8]

PADDING = 1.25
"""How much larger than the person's box the crop is, along each axis."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle in an image, which may be turned and mirrored.

    Attributes:
        x_px: Its centre, in image pixels.
        y_px: Its centre, in image pixels.
        width_px: Its width in image pixels; the height follows from the input's aspect ratio.
        rotation_deg: How far it is turned clockwise; the person in it turns the other way.
        mirrored: Whether left and right change places.
    """

    x_px: float
    y_px: float
    width_px: float
    rotation_deg: float = 0.0
    mirrored: bool = False

    def to_input(self, size: ImageSize) -> FloatArray:
        """Returns the affine map from image pixels to input pixels (2, 3).

        The crop's centre goes to half the width and half the height, as in HRNet.
        """
        scale = size.width / self.width_px
        angle = math.radians(self.rotation_deg)
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[cos, sin], [-sin, cos]])
        if self.mirrored:
            linear[0] *= -1
        offset = np.array([size.width / 2, size.height / 2]) - linear @ [self.x_px, self.y_px]
        return np.column_stack([linear, offset])


def crop_of_box(
    box: npt.ArrayLike, *, image_width_px: int, image_height_px: int, size: ImageSize
) -> Crop | None:
    """Returns the crop for a person's box, or None if the box is empty.

    As in HRNet, the box is first cut to the image, its last pixel included.

    Args:
        box: Left, top, width, height, in image pixels.
        image_width_px: The image's width.
        image_height_px: The image's height.
        size: The network's input size, for its aspect ratio.
    """
    left, top, width, height = (float(side) for side in np.asarray(box))
    left, top = max(0.0, left), max(0.0, top)
    right = min(image_width_px - 1.0, left + max(0.0, width - 1))
    bottom = min(image_height_px - 1.0, top + max(0.0, height - 1))
    width, height = right - left, bottom - top
    if width < 0 or height < 0 or max(width, height) <= 0:
        return None
    aspect = size.width / size.height
    return Crop(
        x_px=left + width / 2,
        y_px=top + height / 2,
        width_px=PADDING * max(width, height * aspect),
    )


def crop_of_detection(box: npt.ArrayLike, *, size: ImageSize) -> Crop | None:
    """Returns the crop for a detector's box, or None if the box is empty.

    As in HRNet, a detector's box is taken as it is: not cut to the image.

    Args:
        box: Left, top, width, height, in image pixels.
        size: The network's input size, for its aspect ratio.
    """
    left, top, width, height = (float(side) for side in np.asarray(box))
    if width < 0 or height < 0 or max(width, height) <= 0:
        return None
    return Crop(
        x_px=left + width / 2,
        y_px=top + height / 2,
        width_px=PADDING * max(width, height * size.width / size.height),
    )


def apply_affine(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Maps points.

    Shape:
        (..., 2, 3) and (..., K, 2) -> (..., K, 2).
    """
    mapped: FloatArray = points @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]
    return mapped


def invert_affine(matrix: FloatArray) -> FloatArray:
    """Returns the inverse of an affine map (2, 3)."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])


def warp(image: ByteImage, to_input: FloatArray, size: ImageSize) -> ByteImage:
    """Cuts a crop out of an image: bilinear, black where the image ends.

    Shape:
        (height, width, 3) -> (H, W, 3).
    """
    warped = cv2.warpAffine(image, to_input, (size.width, size.height), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, dtype=np.uint8)
