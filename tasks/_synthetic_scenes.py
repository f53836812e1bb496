"""Synthetic samples: a person before a background, perhaps behind something, with labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from blocks import ImageSize

from ._synthetic_bodies import HEAD_RADIUS, Bodies, draw_bodies
from ._synthetic_figures import (
    OCCLUDER,
    PARTS_OF_JOINT,
    Figure,
    Looks,
    capsules,
    draw_figure,
    fill,
)

FloatArray = npt.NDArray[np.float64]
ByteImage = npt.NDArray[np.uint8]

RENDERER_REVISION = 2
"""Raised by one whenever the same seed gives other images or labels."""

IMAGE_SIZE = ImageSize(160, 128)
"""Size of every synthetic image."""

CHUNK = 64
"""How many samples are drawn together; a sample depends on its chunk, not on how many follow."""

_PASSER_BY = 0.1
_OCCLUDED = 0.25
_CUT_OFF = 0.1
_HEIGHT_PX = (78.0, 150.0)
_BLURRED = 0.5
_RECTANGLE = 0.5
# How far behind the head's centre, in head radii, a part of the face may lie to be labelled, and
# to count as visible: nose and eyes, then ears, which stand out.
_LABELLED = np.array([-0.2, -0.2, -0.2, -0.8, -0.8])
_SEEN = np.array([0.0, 0.0, 0.0, -0.35, -0.35])


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One synthetic image with its one labelled person.

    Attributes:
        image: RGB (160, 128, 3).
        annotation: The person in COCO's form, without ids.
    """

    image: ByteImage
    annotation: dict[str, Any]


def render_chunk(seed: int, stream: int, chunk: int) -> list[Sample]:
    """Renders the samples of one chunk.

    Args:
        seed: The data set's seed.
        stream: Tells splits apart.
        chunk: Which chunk, from 0.
    """
    rng = np.random.default_rng([seed, stream, chunk])
    people, others = draw_bodies(rng, CHUNK), draw_bodies(rng, CHUNK)
    return [_render(people, others, index, rng) for index in range(CHUNK)]


def _render(people: Bodies, others: Bodies, index: int, rng: np.random.Generator) -> Sample:
    image = _background(rng)
    mask = np.zeros(image.shape[:2], np.uint8)
    height_px = float(rng.uniform(*_HEIGHT_PX))
    centre = _place(people.joints[index] * height_px, rng)
    if rng.random() < _PASSER_BY:
        aside = rng.choice([-1.0, 1.0]) * rng.uniform(0.28, 0.6) * height_px
        where = centre + np.array([aside, rng.normal(0, 0.08 * height_px)])
        passer_by = _figure(others, index, where, height_px * rng.uniform(0.7, 1.1), rng)
        draw_figure(image, np.zeros_like(mask), passer_by)
    figure = _figure(people, index, centre, height_px, rng)
    draw_figure(image, mask, figure)
    points = figure.points
    box, area = _extent(mask)
    _cover(image, mask, points[:17, :2], height_px, rng)
    _finish(image, rng)
    radius_px = HEAD_RADIUS * height_px
    head_depth = centre_depth(people, index, height_px)
    flags = _flags(points[:17], mask, (points[:5, 2] - head_depth) / radius_px)
    return Sample(image=image, annotation=_annotation(points[:17], flags, box, area))


def centre_depth(people: Bodies, index: int, height_px: float) -> float:
    """Returns the depth of a person's head."""
    return float(people.head[index, 2] * height_px)


def _place(joints_px: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Returns where the hips' middle goes: all in the image, or cut off by one of its sides."""
    size = np.array([IMAGE_SIZE.width, IMAGE_SIZE.height], dtype=np.float64)
    low, high = joints_px[:, :2].min(axis=0), joints_px[:, :2].max(axis=0)
    slack = size - (high - low)
    part = rng.uniform(0.15, 0.85, 2)
    centre = -low + slack * np.where(slack > 0, part, 0.5)
    if rng.random() < _CUT_OFF:
        axis = rng.choice(2, p=[0.3, 0.7])
        shift = rng.uniform(0.1, 0.4) * (high - low)[axis]
        # Feet are cut off more often than heads.
        towards = -1.0 if rng.random() < (0.5 if axis == 0 else 0.15) else 1.0
        edge = size[axis] - high[axis] if towards > 0 else -low[axis]
        centre[axis] = edge + towards * shift
    placed: FloatArray = centre
    return placed


def _figure(
    bodies: Bodies, index: int, centre: FloatArray, height_px: float, rng: np.random.Generator
) -> Figure:
    offset = np.array([*centre, 0.0])
    return Figure(
        points=np.concatenate([bodies.joints[index], bodies.toes[index]]) * height_px + offset,
        head=bodies.head[index] * height_px + offset,
        head_axes=bodies.head_axes[index],
        height_px=height_px,
        looks=Looks.draw(rng),
    )


def _background(rng: np.random.Generator) -> ByteImage:
    """Draws soft patches around one colour, with a few sharper things before them."""
    shape = (IMAGE_SIZE.width, IMAGE_SIZE.height)
    base = rng.integers(60, 196, 3)
    gradient = cv2.resize(_near(base, (2, 2, 3), 40, rng), shape)
    rows, columns = rng.integers(3, 12, 2)
    patches = cv2.resize(_near(base, (rows, columns, 3), 60, rng), shape)
    part = float(rng.uniform(0.1, 0.6))
    canvas = np.ascontiguousarray(
        cv2.addWeighted(gradient, 1 - part, patches, part, 0), dtype=np.uint8
    )
    for _ in range(rng.integers(0, 4)):
        _shape(canvas, rng.uniform(0, shape), rng.uniform(4, 24, 2), rng)
    num = int(rng.integers(0, 2))
    _sticks(canvas, rng.uniform(0, shape, (num, 2)), rng.uniform(14, 60, num), rng)
    return canvas


def _near(
    base: npt.NDArray[np.int64], shape: tuple[int, ...], reach: int, rng: np.random.Generator
) -> ByteImage:
    """Returns random colours around a colour."""
    colours = np.clip(base + rng.integers(-reach, reach + 1, shape), 0, 255)
    return np.asarray(colours, dtype=np.uint8)


def _shape(
    canvas: ByteImage, centre: FloatArray, radii: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Draws an ellipse or a rectangle, turned at random; returns its outline."""
    angle = rng.uniform(0, np.pi)
    num = 4 if rng.random() < _RECTANGLE else 16
    corners = np.linspace(0, 2 * np.pi, num, endpoint=False) + np.pi / 4
    flat = np.stack([np.cos(corners), np.sin(corners)], axis=-1) * radii
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outline: FloatArray = centre + flat @ turn
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    fill(canvas, outline, (red, green, blue))
    return outline


def _sticks(
    canvas: ByteImage, starts: FloatArray, lengths_px: FloatArray, rng: np.random.Generator
) -> None:
    """Draws things that look like limbs: colours and girths of arms and legs."""
    if not len(starts):
        return
    looks = Looks.draw(rng)
    angles = rng.uniform(0, 2 * np.pi, len(starts))
    ends = starts + lengths_px[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    radii = rng.uniform(2, 5.5, (2, len(starts)))
    for outline in capsules(starts, ends, *radii):
        fill(canvas, outline, looks.of_part(int(rng.integers(3, 11))))


def _extent(mask: ByteImage) -> tuple[list[float], float]:
    left, top, width, height = cv2.boundingRect(mask)
    return [float(side) for side in (left, top, width, height)], float(cv2.countNonZero(mask))


def _cover(
    image: ByteImage,
    mask: ByteImage,
    joints_px: FloatArray,
    height_px: float,
    rng: np.random.Generator,
) -> None:
    """Puts things before the person, in the image and in the mask."""
    if rng.random() >= _OCCLUDED:
        return
    for _ in range(rng.integers(1, 4)):
        near = joints_px[rng.integers(len(joints_px))] + rng.normal(0, 0.06 * height_px, 2)
        outline = _shape(image, near, rng.uniform(0.04, 0.16, 2) * height_px, rng)
        cv2.fillConvexPoly(mask, np.round(outline).astype(np.int32), OCCLUDER)


def _finish(image: ByteImage, rng: np.random.Generator) -> None:
    """Blurs, adds the sensor's noise and varies contrast and brightness, in place."""
    if rng.random() < _BLURRED:
        cv2.GaussianBlur(image, (3, 3), float(rng.uniform(0.3, 1.0)), dst=image)
    grain = int(rng.integers(1, 28))
    noise = rng.integers(0, grain, image.shape, np.uint8)
    contrast = float(rng.uniform(0.6, 1.05))
    brightness = float(rng.uniform(-20, 40)) + 128 * (1 - contrast) - grain / 2
    cv2.addWeighted(image, contrast, noise, 1.0, brightness, dst=image)


def _flags(joints: FloatArray, mask: ByteImage, face_depths: FloatArray) -> list[int]:
    """Returns COCO's flags: 0 not labelled, 1 hidden, 2 visible.

    Not labelled are key points outside the image, and those of a face that is turned away.

    Args:
        joints: Positions in pixels, with depth (17, 3).
        mask: Which part is seen at each pixel.
        face_depths: How far nose, eyes and ears lie before the head's centre, in head radii.
    """
    away, shown_face = face_depths < _LABELLED, face_depths > _SEEN
    flags = []
    for joint, parts in enumerate(PARTS_OF_JOINT):
        x, y = (int(np.floor(value + 0.5)) for value in joints[joint, :2])
        inside = 0 <= x < mask.shape[1] and 0 <= y < mask.shape[0]
        if not inside or (joint < len(away) and away[joint]):
            flags.append(0)
            continue
        shown = mask[y, x] in parts
        if joint < len(away):
            shown = shown and shown_face[joint]
        flags.append(2 if shown else 1)
    return flags


def _annotation(
    joints: FloatArray, flags: list[int], box: list[float], area: float
) -> dict[str, Any]:
    labelled = np.array(flags) > 0
    points = np.where(labelled[:, None], joints[:, :2], 0).round(2)
    keypoints = np.column_stack([points, flags])
    return {
        "category_id": 1,
        "iscrowd": 0,
        "bbox": box,
        "area": area,
        "num_keypoints": int(labelled.sum()),
        "keypoints": keypoints.ravel().tolist(),
    }
