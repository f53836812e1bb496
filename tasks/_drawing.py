"""Draws predictions into images: skeletons of people, colours of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ._images import ByteImage
from ._label_files import decode_labels
from ._label_sets import LabelSet
from ._palettes import Colour, Palette
from ._skeletons import Skeleton

SURE = 0.2
"""Key points of lower confidence are drawn faint: HRNet's own limit for what counts."""

VISIBLE = 0.05
"""Key points of lower confidence are not drawn."""

_LEFT: Colour = (86, 180, 233)
_RIGHT: Colour = (230, 159, 0)
_MIDDLE: Colour = (255, 255, 255)
_SIDES = {"left": _LEFT, "right": _RIGHT}
_FAINT = 0.3
_JPEG_QUALITY = 92
# A line is a pixel thick for every so many pixels of a person's size.
_PERSON_PX_PER_LINE = 90
_THICKEST_PX = 8
# Drawn coordinates are in sixteenths of a pixel; those far outside would overflow.
_SHIFT = 4
_FARTHEST_PX = 100_000.0

_CLASS_OPACITY = 0.55
_LEGEND_OPACITY = 0.8
# In an image, a legend is this part of its height a line, within limits, and no larger than this.
_LINE_SHARE = 1 / 28
_LINE_PX = (11, 30)
_LARGEST_LEGEND = 0.7
_LEGEND_LINE_PX = 22
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# The height of that font's letters at scale 1.
_FONT_PX = 22


def draw_people(
    pixels: ByteImage, predictions: Sequence[dict[str, Any]], skeleton: Skeleton
) -> ByteImage:
    """Returns an image with the skeletons of people in it.

    Limbs and joints of the person's left are blue, those of the right orange, others white. What
    is less sure than 0.2 is faint, what is less sure than 0.05 is left out.

    Args:
        pixels: The image (height, width, 3).
        predictions: In COCO's results form; the least confident is drawn first.
        skeleton: Which key points are joined.
    """
    drawn = pixels.copy()
    for made in sorted(predictions, key=lambda each: float(each["score"])):
        rows = np.asarray(made["keypoints"], dtype=np.float64).reshape(-1, 3)
        faint = _drawn_between(drawn, rows, skeleton, VISIBLE, SURE)
        cv2.addWeighted(faint, _FAINT, drawn, 1 - _FAINT, 0, dst=drawn)
        drawn = _drawn_between(drawn, rows, skeleton, SURE, np.inf)
    return drawn


def draw_classes(
    pixels: ByteImage, labels_png: bytes, labels: LabelSet, palette: Palette
) -> ByteImage:
    """Returns an image blended with the colours of its classes, and a legend where it fits.

    Args:
        pixels: The image (height, width, 3).
        labels_png: Its label image, of the same size.
        labels: What the label image's ids mean.
        palette: The classes' colours.
    """
    ids = decode_labels(labels_png, "prediction")
    table = np.zeros((256, 3), dtype=np.uint8)
    table[list(labels.class_ids)] = [palette[name] for name in labels.class_names]
    is_class = np.isin(ids, labels.class_ids)
    blended = cv2.addWeighted(table[ids], _CLASS_OPACITY, pixels, 1 - _CLASS_OPACITY, 0)
    drawn: ByteImage = np.where(is_class[..., None], blended, pixels).astype(np.uint8)
    counts = np.bincount(ids.ravel(), minlength=256)
    present = sorted(
        (number for number in labels.class_ids if counts[number]), key=lambda one: -counts[one]
    )
    names = [labels.class_names[labels.class_ids.index(number)] for number in present]
    height, width = pixels.shape[:2]
    line_px = int(np.clip(height * _LINE_SHARE, *_LINE_PX))
    legend = draw_legend(names, palette, line_px)
    if legend.shape[0] <= _LARGEST_LEGEND * height and legend.shape[1] <= _LARGEST_LEGEND * width:
        corner = drawn[height - legend.shape[0] :, : legend.shape[1]]
        cv2.addWeighted(legend, _LEGEND_OPACITY, corner, 1 - _LEGEND_OPACITY, 0, dst=corner)
    return drawn


def draw_legend(
    names: Sequence[str], palette: Palette, line_px: int = _LEGEND_LINE_PX
) -> ByteImage:
    """Returns a legend: a line a class, its colour and its name.

    Args:
        names: The classes.
        palette: Their colours.
        line_px: Height of a line.
    """
    scale = 0.6 * line_px / _FONT_PX
    thickness = max(1, round(scale))
    widths = [cv2.getTextSize(name, _FONT, scale, thickness)[0][0] for name in names]
    size = (line_px * len(names), 2 * line_px + max(widths, default=0), 3)
    legend: ByteImage = np.full(size, 255, dtype=np.uint8)
    for row, name in enumerate(names):
        top = row * line_px
        legend[top + 2 : top + line_px - 2, 3 : line_px + 3] = palette[name]
        place = (line_px + 3 + line_px // 3, top + round(0.72 * line_px))
        cv2.putText(legend, name, place, _FONT, scale, (0, 0, 0), thickness, cv2.LINE_AA)
    return legend


def _drawn_between(
    pixels: ByteImage,
    rows: npt.NDArray[np.float64],
    skeleton: Skeleton,
    least: float,
    below: float,
) -> ByteImage:
    """Returns an image with the limbs and joints whose confidence is in a range."""
    drawn = pixels.copy()
    shown = rows[rows[:, 2] >= VISIBLE, :2]
    side_px = float(np.ptp(shown, axis=0).max()) if len(shown) else 0.0
    thickness = int(np.clip(round(side_px / _PERSON_PX_PER_LINE), 1, _THICKEST_PX))
    points = np.clip(rows[:, :2], -_FARTHEST_PX, _FARTHEST_PX)
    places = [(int(x), int(y)) for x, y in np.round(points * 2**_SHIFT).tolist()]
    sure = dict(zip(skeleton.joints, rows[:, 2].tolist(), strict=True))
    place = dict(zip(skeleton.joints, places, strict=True))
    for first, second in skeleton.limbs:
        if least <= min(sure[first], sure[second]) < below:
            colour = _limb_colour(first, second)
            cv2.line(
                drawn, place[first], place[second], colour, thickness, cv2.LINE_AA, shift=_SHIFT
            )
    radius = round((0.5 + thickness) * 2**_SHIFT)
    for name in skeleton.joints:
        if least <= sure[name] < below:
            colour = _colour(name)
            cv2.circle(drawn, place[name], radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    return drawn


def _colour(name: str) -> Colour:
    return _SIDES.get(name.partition("_")[0], _MIDDLE)


def _limb_colour(first: str, second: str) -> Colour:
    """Returns the colour of the side that a limb is on; across the body there is none."""
    colours = {_colour(first), _colour(second)} - {_MIDDLE}
    return colours.pop() if len(colours) == 1 else _MIDDLE


def encode_picture(pixels: ByteImage, suffix: str) -> bytes:
    """Returns an image as the content of a file.

    Args:
        pixels: Red, green and blue (H, W, 3).
        suffix: The end of the file's name: ``.png``, or ``.jpg`` with little loss.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    done, content = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    assert done
    return content.tobytes()
