"""Key points as heat maps: how they are written for training, how they are read back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blocks import ImageSize

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

STRIDE = 4
"""Stride of the heat maps, relative to the network's input."""


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


def decode(heat_maps: Float32Array) -> tuple[FloatArray, FloatArray]:
    """Reads key points off heat maps: the highest pixel, moved a quarter towards the next.

    The quarter offset of HRNet (Sun et al. 2019, section 3) and of the stacked hourglass before
    it: along each axis, a quarter pixel towards the higher neighbour, where the peak does not
    touch the border. A map without any positive value gives position 0, 0.

    Args:
        heat_maps: (N, K, H/4, W/4); what is not finite counts as 0.

    Returns:
        Positions in heat-map pixels, and the peaks' heights.

    Shape:
        (N, K, h, w) -> (N, K, 2) and (N, K).
    """
    maps = np.nan_to_num(heat_maps, nan=0.0, posinf=0.0, neginf=0.0)
    num, joints, height, width = maps.shape
    flat = maps.reshape(num * joints, height * width)
    peak = flat.argmax(axis=1)
    rows = np.arange(len(flat))
    heights = flat[rows, peak]
    y, x = np.divmod(peak, width)
    points = np.stack([x, y], axis=1).astype(np.float64)

    inner = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    at = peak[inner]
    picked = rows[inner]
    points[inner, 0] += 0.25 * np.sign(flat[picked, at + 1] - flat[picked, at - 1])
    points[inner, 1] += 0.25 * np.sign(flat[picked, at + width] - flat[picked, at - width])

    points[heights <= 0] = 0
    return points.reshape(num, joints, 2), heights.reshape(num, joints).astype(np.float64)
