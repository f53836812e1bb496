"""Key points as heat maps: how they are written for training, how they are read back."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from blocks import ImageSize

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

STRIDE = 4
"""Stride of the heat maps, relative to the network's input."""

Decoding = Literal["quarter_offset", "dark"]
"""How positions between pixels are read off heat maps."""

# Of the targets' deviation: how far the Gaussian reaches that smooths a map before its peak is
# read, so that it is 11 pixels wide at 256x192 and 17 at 384x288, as published.
_SMOOTHING_REACH = 2.75
_LEAST_VALUE = 1e-10


def target_sigma_px(size: ImageSize) -> float:
    """Returns the standard deviation of the targets' Gaussians, in heat-map pixels.

    Grows with the input as in HRNet (2 at 256x192, 3 at 384x288), never below 1: a narrower
    peak would be a single pixel among zeros.

    >>> [target_sigma_px(ImageSize.parse(text)) for text in ("96x64", "256x192", "384x288")]
    [1.0, 2.0, 3.0]
    """
    return max(1.0, 2.0 * size.height / 256)


def encode(
    points_px: FloatArray, labelled: npt.NDArray[np.bool_], size: ImageSize
) -> tuple[Float32Array, Float32Array]:
    """Writes key points as heat maps: a Gaussian of height 1 around each.

    As in HRNet (Sun et al. 2019, section 3): the centre is rounded to a whole heat-map pixel,
    the Gaussian is cut off at three deviations, and a key point whose Gaussian lies outside
    altogether weighs nothing.

    Args:
        points_px: Positions in input pixels (K, 2).
        labelled: Which of them are known (K,).
        size: The network's input size.

    Returns:
        The heat maps and the key points' weights.

    Shape:
        (K, 2) -> (K, H/4, W/4) and (K,).
    """
    sigma_px = target_sigma_px(size)
    radius_px = int(3 * sigma_px)
    height, width = size.height // STRIDE, size.width // STRIDE
    # Far-off points (an augmented crop can leave one anywhere) stay within what an int32 holds.
    centres = np.clip(np.floor(points_px / STRIDE + 0.5), -1e6, 1e6).astype(np.int32)
    within = np.all(
        (centres + radius_px >= 0) & (centres - radius_px < np.array([width, height])), axis=1
    )
    weight = (labelled & within).astype(np.float32)
    across = _gaussian_rows(centres[:, 0], width, sigma_px, radius_px) * weight[:, None]
    down = _gaussian_rows(centres[:, 1], height, sigma_px, radius_px)
    maps: Float32Array = down[:, :, None] * across[:, None, :]
    return maps, weight


def _gaussian_rows(
    centres: npt.NDArray[np.int32], length: int, sigma_px: float, radius_px: int
) -> Float32Array:
    offsets = np.arange(length, dtype=np.int32) - centres[:, None]
    rows: Float32Array = np.exp(offsets.astype(np.float32) ** 2 / np.float32(-2 * sigma_px**2))
    rows[np.abs(offsets) > radius_px] = 0
    return rows


def decode(
    heat_maps: Float32Array, decoding: Decoding = "quarter_offset", sigma_px: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """Reads key points off heat maps: the highest pixel, moved towards where the peak must be.

    ``quarter_offset`` is HRNet's (Sun et al. 2019, section 3) and that of the stacked hourglass
    before it: along each axis, a quarter pixel towards the higher neighbour, where the peak does
    not touch the border. ``dark`` is that of Zhang et al. (*Distribution-Aware Coordinate
    Representation for Human Pose Estimation*, CVPR 2020, section 3.1). A map without any positive
    value gives position 0, 0.

    Args:
        heat_maps: (N, K, H/4, W/4); what is not finite counts as 0.
        decoding: How the peak is moved.
        sigma_px: Deviation of the targets' Gaussians, in heat-map pixels; ``dark`` needs it.

    Returns:
        Positions in heat-map pixels, and the peaks' heights.

    Shape:
        (N, K, h, w) -> (N, K, 2) and (N, K).
    """
    maps = np.nan_to_num(heat_maps, nan=0.0, posinf=0.0, neginf=0.0)
    num, joints, height, width = maps.shape
    flat = maps.reshape(num * joints, height * width)
    peak = flat.argmax(axis=1)
    heights = flat[np.arange(len(flat)), peak]
    if decoding == "dark":
        offsets = _taylor_offsets(_smoothed(maps, sigma_px).reshape(flat.shape), peak, width)
    else:
        offsets = _quarter_offsets(flat, peak, width)
    y, x = np.divmod(peak, width)
    points = np.stack([x, y], axis=1) + offsets
    points[heights <= 0] = 0
    return points.reshape(num, joints, 2), heights.reshape(num, joints).astype(np.float64)


def _quarter_offsets(flat: Float32Array, peak: npt.NDArray[np.intp], width: int) -> FloatArray:
    picked = _inner(flat, peak, width, 1)
    at, maps = peak[picked], flat[picked]
    rows = np.arange(len(at))
    offsets = np.zeros((len(flat), 2))
    offsets[picked, 0] = 0.25 * np.sign(maps[rows, at + 1] - maps[rows, at - 1])
    offsets[picked, 1] = 0.25 * np.sign(maps[rows, at + width] - maps[rows, at - width])
    return offsets


def _taylor_offsets(flat: Float32Array, peak: npt.NDArray[np.intp], width: int) -> FloatArray:
    """Returns where the Gaussian has its centre that the map is taken for around its peak.

    The logarithm of a Gaussian is a parabola: a Newton step from any point of it leads to its top.
    """
    picked = _inner(flat, peak, width, 2)
    at = peak[picked]
    logs = np.log(np.maximum(flat[picked].astype(np.float64), _LEAST_VALUE))
    rows = np.arange(len(at))

    def near(right: int, down: int) -> FloatArray:
        found: FloatArray = logs[rows, at + right + down * width]
        return found

    slope_x, slope_y = (near(1, 0) - near(-1, 0)) / 2, (near(0, 1) - near(0, -1)) / 2
    bend_x = (near(2, 0) - 2 * near(0, 0) + near(-2, 0)) / 4
    bend_y = (near(0, 2) - 2 * near(0, 0) + near(0, -2)) / 4
    bend_xy = (near(1, 1) - near(-1, 1) - near(1, -1) + near(-1, -1)) / 4
    determinant = bend_x * bend_y - bend_xy**2
    # Where the map does not bend there is no top to go to.
    safe = np.where(determinant == 0, np.inf, determinant)
    offsets = np.zeros((len(flat), 2))
    offsets[picked, 0] = (bend_xy * slope_y - bend_y * slope_x) / safe
    offsets[picked, 1] = (bend_xy * slope_x - bend_x * slope_y) / safe
    return offsets


def _inner(
    flat: Float32Array, peak: npt.NDArray[np.intp], width: int, reach: int
) -> npt.NDArray[np.intp]:
    """Returns which peaks are far enough from the border."""
    height = flat.shape[1] // width
    y, x = np.divmod(peak, width)
    return np.flatnonzero((x > 1) & (x < width - reach) & (y > 1) & (y < height - reach))


def _smoothed(maps: Float32Array, sigma_px: float) -> Float32Array:
    """Smooths heat maps with a Gaussian like that of the targets, zero outside the map."""
    reach = int(_SMOOTHING_REACH * sigma_px)
    side = 2 * reach + 1
    height, width = maps.shape[2:]
    smoothed = np.empty_like(maps)
    for index in np.ndindex(maps.shape[:2]):
        padded = cv2.copyMakeBorder(
            maps[index], reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0.0
        )
        blurred = cv2.GaussianBlur(padded, (side, side), 0)
        smoothed[index] = blurred[reach : reach + height, reach : reach + width]
    return smoothed
