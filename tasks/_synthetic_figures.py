"""Draws one synthetic person: limbs, clothes, hair and a face that tells front from back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ._synthetic_bodies import HEAD_RADIUS

FloatArray = npt.NDArray[np.float64]
ByteImage = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_SHIFT = 4
_ARC = np.linspace(-np.pi / 2, np.pi / 2, 7)
_CIRCLE = np.linspace(0, 2 * np.pi, 14, endpoint=False)
_FACE_ANGLE = np.deg2rad(62)
_FACE_SEEN = 0.05
_NUM_PATTERNS = 3
_DOT = 1.1

TORSO, HEAD = 1, 2
OCCLUDER = 255


class _Limb(NamedTuple):
    part: int
    start: int
    end: int
    start_radius: float
    end_radius: float
    bias: float


# Points: COCO's 17, then the toes at 17 and 18. Radii are parts of the body's height; the bias
# settles who is in front where depths are equal: arms before the trunk, legs under the shirt.
_LIMBS = (
    _Limb(3, 5, 7, 0.036, 0.029, 0.03),
    _Limb(4, 6, 8, 0.036, 0.029, 0.03),
    _Limb(5, 7, 9, 0.028, 0.021, 0.04),
    _Limb(6, 8, 10, 0.028, 0.021, 0.04),
    _Limb(7, 11, 13, 0.053, 0.039, -0.03),
    _Limb(8, 12, 14, 0.053, 0.039, -0.03),
    _Limb(9, 13, 15, 0.038, 0.025, -0.03),
    _Limb(10, 14, 16, 0.038, 0.025, -0.03),
    _Limb(11, 15, 17, 0.027, 0.022, -0.02),
    _Limb(12, 16, 18, 0.027, 0.022, -0.02),
)
_STARTS = np.array([limb.start for limb in _LIMBS])
_ENDS = np.array([limb.end for limb in _LIMBS])
_START_RADII = np.array([limb.start_radius for limb in _LIMBS])
_END_RADII = np.array([limb.end_radius for limb in _LIMBS])
_BIASES = np.array([limb.bias for limb in _LIMBS])
_HANDS = {5: 9, 6: 10}
_HAND_RADIUS = 0.027

PARTS_OF_JOINT = (
    *((HEAD,),) * 5,
    (TORSO, 3),
    (TORSO, 4),
    (3, 5),
    (4, 6),
    (5,),
    (6,),
    (TORSO, 7),
    (TORSO, 8),
    (7, 9),
    (8, 10),
    (9, 11),
    (10, 12),
)
"""For each key point, the parts that may cover it without hiding it."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What a person wears and looks like; nothing of it tells left from right.

    Attributes:
        skin: Colour of face and hands.
        hair: Colour of the hair.
        shirt: Colour of the trunk.
        sleeves: Colours of the upper arms and forearms.
        legs: Colours of thighs and shins.
        shoes: Colour of the feet.
        pattern: Spacing (in body heights), direction and kind of the shirt's pattern.
        pattern_colour: The pattern's colour.
        girth: How stout the limbs are, about 1.
    """

    skin: Colour
    hair: Colour
    shirt: Colour
    sleeves: tuple[Colour, Colour]
    legs: tuple[Colour, Colour]
    shoes: Colour
    pattern: tuple[float, float, int]
    pattern_colour: Colour
    girth: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Looks:
        """Draws looks at random."""
        tone = rng.random()
        skin = _mix((235, 200, 175), (90, 55, 38), tone, rng)
        hair = _mix((30, 22, 18), (200, 170, 110), rng.random() ** 2, rng)
        shirt, trousers, shoes, other = (_colour(rng) for _ in range(4))
        long_sleeves, short_legs, bare_arms = rng.random(3) < (0.45, 0.3, 0.12)
        upper = skin if bare_arms else shirt
        return cls(
            skin=skin,
            hair=hair,
            shirt=shirt,
            sleeves=(upper, shirt if long_sleeves and not bare_arms else skin),
            legs=(trousers, skin if short_legs else trousers),
            shoes=shoes,
            pattern=(
                float(rng.uniform(0.025, 0.07)),
                float(rng.choice([0, np.pi / 2, np.pi / 4])),
                int(rng.integers(0, 5)),
            ),
            pattern_colour=other,
            girth=float(rng.uniform(0.85, 1.25)),
        )

    def of_part(self, part: int) -> Colour:
        """Returns a limb's colour."""
        pair = (part - 3) // 2
        return (*self.sleeves, *self.legs, self.shoes)[pair]


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (int(value) for value in rng.integers(15, 246, 3))
    return red, green, blue


def _mix(first: Colour, second: Colour, part: float, rng: np.random.Generator) -> Colour:
    mixed = np.array(first) * (1 - part) + np.array(second) * part + rng.normal(0, 6, 3)
    red, green, blue = (int(value) for value in np.clip(mixed, 0, 255))
    return red, green, blue


def darker(colour: Colour, factor: float = 0.62) -> Colour:
    """Returns a colour for outlines."""
    red, green, blue = (int(factor * value) for value in colour)
    return red, green, blue


def fill(image: ByteImage, outline: FloatArray, colour: Colour) -> None:
    """Fills a convex outline (P, 2), in place, with smooth edges."""
    points = np.round(outline * (1 << _SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(image, points, colour, cv2.LINE_AA, _SHIFT)


def _mark(mask: ByteImage, outline: FloatArray, part: int) -> None:
    points = np.round(outline * (1 << _SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(mask, points, part, cv2.LINE_8, _SHIFT)


def capsules(
    starts: FloatArray, ends: FloatArray, start_radii: FloatArray, end_radii: FloatArray
) -> FloatArray:
    """Returns the outlines of tapered capsules.

    Shape:
        (L, 2), (L, 2), (L,), (L,) -> (L, 14, 2).
    """
    along = ends - starts
    angles = np.arctan2(along[:, 1], along[:, 0])[:, None]
    tip = angles + _ARC
    back = tip + np.pi
    return np.concatenate(
        [
            ends[:, None] + end_radii[:, None, None] * np.stack([np.cos(tip), np.sin(tip)], -1),
            starts[:, None]
            + start_radii[:, None, None] * np.stack([np.cos(back), np.sin(back)], -1),
        ],
        axis=1,
    )


def _disc(centre: FloatArray, radius: float) -> FloatArray:
    return centre + radius * np.stack([np.cos(_CIRCLE), np.sin(_CIRCLE)], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A person, placed in an image.

    Attributes:
        points: COCO's 17 key points and the two toes, in pixels, with depth (19, 3).
        head: The head's centre, in pixels, with depth (3,).
        head_axes: The head's left, down and front, as rows (3, 3).
        height_px: The person's height.
        looks: What the person looks like.
    """

    points: FloatArray
    head: FloatArray
    head_axes: FloatArray
    height_px: float
    looks: Looks

    @property
    def unit_px(self) -> float:
        """What the radii of limbs are parts of."""
        return self.height_px * self.looks.girth


def draw_figure(image: ByteImage, mask: ByteImage, figure: Figure) -> None:
    """Draws a person into an image and its parts' numbers into a mask, both in place.

    Parts are painted from the farthest to the nearest, each with a darker rim.

    Args:
        image: RGB (height, width, 3).
        mask: Part numbers (height, width).
        figure: The person.
    """
    points, head, height_px, unit = figure.points, figure.head, figure.height_px, figure.unit_px
    starts, ends = points[_STARTS], points[_ENDS]
    limbs = capsules(starts[:, :2], ends[:, :2], _START_RADII * unit, _END_RADII * unit)
    rims = capsules(starts[:, :2], ends[:, :2], _START_RADII * unit + 0.8, _END_RADII * unit + 0.8)
    depths = (starts[:, 2] + ends[:, 2]) / 2 + _BIASES * height_px
    trunk_depth = points[[5, 6, 11, 12], 2].mean()
    order = [(depth, limb.part) for depth, limb in zip(depths, _LIMBS, strict=True)]
    order += [(trunk_depth, TORSO), (head[2], HEAD)]
    for _, part in sorted(order):
        if part == TORSO:
            _draw_trunk(image, mask, figure)
        elif part == HEAD:
            _draw_head(image, mask, figure)
        else:
            colour = figure.looks.of_part(part)
            fill(image, rims[part - 3], darker(colour))
            fill(image, limbs[part - 3], colour)
            _mark(mask, rims[part - 3], part)
            if part in _HANDS:
                hand = _disc(points[_HANDS[part], :2], _HAND_RADIUS * unit)
                fill(image, hand, figure.looks.skin)
                _mark(mask, hand, part)


def _draw_trunk(image: ByteImage, mask: ByteImage, figure: Figure) -> None:
    points, head, unit, looks = figure.points, figure.head, figure.unit_px, figure.looks
    shoulders = points[5:7, :2]
    neck = capsules(
        shoulders.mean(axis=0)[None],
        head[None, :2],
        np.array([0.035 * unit]),
        np.array([0.03 * unit]),
    )[0]
    fill(image, neck, darker(looks.skin, 0.85))
    _mark(mask, neck, TORSO)
    corners = [_disc(point, 0.046 * unit) for point in shoulders]
    corners += [_disc(point, 0.056 * unit) for point in points[11:13, :2]]
    hull = cv2.convexHull(np.concatenate(corners).astype(np.float32))[:, 0].astype(np.float64)
    fill(image, hull, looks.shirt)
    _mark(mask, hull, TORSO)
    if looks.pattern[2] < _NUM_PATTERNS:
        _draw_pattern(image, mask, figure)


def _draw_pattern(image: ByteImage, mask: ByteImage, figure: Figure) -> None:
    """Paints stripes (kind 0), checks (1) or dots (2) that turn with the trunk."""
    height_px, looks = figure.height_px, figure.looks
    corners = figure.points[[5, 6, 11, 12], :2]
    margin = 0.06 * height_px
    low = np.maximum(np.floor(corners.min(axis=0) - margin), 0).astype(int)
    high = np.ceil(corners.max(axis=0) + margin).astype(int)
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    inside = mask[window] == TORSO
    if not inside.size:
        return
    spacing, direction, kind = looks.pattern
    down = corners[2:].mean(axis=0) - corners[:2].mean(axis=0)
    angle = np.arctan2(down[1], down[0]) + direction
    pulse = np.pi / (spacing * height_px)
    x = np.arange(inside.shape[1]) - inside.shape[1] / 2
    y = (np.arange(inside.shape[0]) - inside.shape[0] / 2)[:, None]
    first = np.sin(pulse * (np.cos(angle) * x + np.sin(angle) * y))
    if kind == 0:
        chosen = first > 0
    else:
        second = np.sin(pulse * (np.cos(angle) * y - np.sin(angle) * x))
        chosen = first * second > 0 if kind == 1 else first + second > _DOT
    image[window][inside & chosen] = looks.pattern_colour


def _draw_head(image: ByteImage, mask: ByteImage, figure: Figure) -> None:
    points, head, looks = figure.points, figure.head, figure.looks
    radius = HEAD_RADIUS * figure.height_px
    skull = _disc(head[:2], radius)
    fill(image, _disc(head[:2], radius + 0.8), darker(looks.hair))
    fill(image, skull, looks.hair)
    _mark(mask, _disc(head[:2], radius + 0.8), HEAD)
    left, down, front = figure.head_axes
    # The face is a cap of the head's sphere around a direction a little below the front.
    centre = np.cos(0.3) * front + np.sin(0.3) * down
    below = np.cos(0.3) * down - np.sin(0.3) * front
    cap = np.cos(_FACE_ANGLE) * centre + np.sin(_FACE_ANGLE) * (
        np.cos(_CIRCLE)[:, None] * left + np.sin(_CIRCLE)[:, None] * below
    )
    nearest = cap[:, 2].max()
    if nearest > _FACE_SEEN:
        # What lies behind the horizon is drawn on it.
        lengths = np.linalg.norm(cap[:, :2], axis=1, keepdims=True)
        seen = np.where(cap[:, 2:] < 0, cap[:, :2] / np.maximum(lengths, 1e-6), cap[:, :2])
        hull = cv2.convexHull((head[:2] + radius * seen).astype(np.float32))[:, 0]
        fill(image, hull.astype(np.float64), looks.skin)
    for ear in (3, 4):
        if points[ear, 2] - head[2] > -0.35 * radius:
            fill(image, _disc(points[ear, :2], 0.24 * radius), darker(looks.skin, 0.85))
            _mark(mask, _disc(points[ear, :2], 0.24 * radius), HEAD)
    for eye in (1, 2):
        if points[eye, 2] - head[2] > 0.1 * radius:
            fill(image, _disc(points[eye, :2], 0.2 * radius), (245, 245, 245))
            fill(image, _disc(points[eye, :2], 0.12 * radius), (25, 20, 20))
    if points[0, 2] - head[2] > 0:
        fill(image, _disc(points[0, :2], 0.15 * radius), darker(looks.skin, 0.7))
        mouth = head + radius * (0.84 * front + 0.5 * down)
        ends = np.stack([mouth + 0.25 * radius * left, mouth - 0.25 * radius * left])[:, :2]
        thickness = np.array([0.07 * radius])
        fill(image, capsules(ends[:1], ends[1:], thickness, thickness)[0], (150, 40, 45))
