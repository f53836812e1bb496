"""Synthetic street scenes: a road in perspective, what stands along it, and its labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from blocks import ImageSize

from ._label_files import LabelImage
from ._outputs import STREET_CLASSES

FloatArray = npt.NDArray[np.float64]
ByteImage = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

STREETS_REVISION = 1
"""Raised by one whenever the same seed gives other images or labels."""

STREET_SIZE = ImageSize(96, 128)
"""Size of every synthetic street scene."""

_ROAD, _PAVEMENT, _BUILDING, _VEGETATION, _SKY, _POLE, _CAR, _PERSON = range(len(STREET_CLASSES))
_UNLABELLED = len(STREET_CLASSES)

# Drawn at twice the size, then halved: edges are smooth, labels are one of four pixels.
_OVER = 2
_CAMERA_HEIGHT_M = 1.5
_FAR_M = 60.0
_BLURRED = 0.4


@dataclass(frozen=True, kw_only=True)
class Street:
    """One synthetic street scene.

    Attributes:
        image: RGB (96, 128, 3).
        labels: The class at every pixel (96, 128); the number of classes for what has none.
    """

    image: ByteImage
    labels: LabelImage


def render_street(seed: int, stream: int, index: int) -> Street:
    """Renders one scene.

    Args:
        seed: The data set's seed.
        stream: Tells splits apart.
        index: Which scene, from 0.
    """
    rng = np.random.default_rng([seed, stream, index])
    canvas = _Canvas.empty(rng)
    _draw_ground(canvas, rng)
    things = _row_of_buildings(rng) + _things_beside(rng) + _traffic(rng)
    # What is nearer is drawn later.
    for _, draw in sorted(things, key=lambda thing: -thing[0]):
        draw(canvas)
    return canvas.finished(rng)


@dataclass(frozen=True, kw_only=True)
class _Canvas:
    """An image and its labels, drawn on together, seen from a camera over the road.

    Positions on the ground are metres to the right of the road's middle and metres away.
    """

    image: ByteImage
    labels: LabelImage
    horizon_px: float
    middle_px: float
    focal_px: float

    @classmethod
    def empty(cls, rng: np.random.Generator) -> _Canvas:
        """Returns nothing but sky."""
        height, width = _OVER * STREET_SIZE.height, _OVER * STREET_SIZE.width
        top, low = _shades(rng, ((90, 140, 210), (190, 200, 215), (120, 125, 135))), 235
        part = np.linspace(0, 1, height)[:, None, None]
        rows = (1 - part) * np.array(top) + part * low
        image = np.repeat(rows, width, axis=1).astype(np.uint8)
        return cls(
            image=np.ascontiguousarray(image),
            labels=np.full((height, width), _SKY, dtype=np.uint8),
            horizon_px=float(rng.uniform(0.36, 0.52) * height),
            middle_px=float(rng.uniform(0.35, 0.65) * width),
            focal_px=float(rng.uniform(0.75, 1.0) * width),
        )

    def at(self, right_m: float, up_m: float, away_m: float) -> tuple[float, float]:
        """Returns the pixel of a place."""
        scale = self.focal_px / away_m
        x = self.middle_px + scale * right_m
        return x, self.horizon_px + scale * (_CAMERA_HEIGHT_M - up_m)

    def fill(self, outline: list[tuple[float, float]], colour: Colour, label: int) -> None:
        """Fills an outline given in pixels."""
        points = np.round(np.clip(outline, -4000, 4000)).astype(np.int32)
        cv2.fillPoly(self.image, [points], colour)
        cv2.fillPoly(self.labels, [points], (label,))

    def upright(
        self,
        right_m: float,
        away_m: float,
        size_m: tuple[float, float, float],
        colour: Colour,
        label: int,
    ) -> None:
        """Fills a rectangle that faces the camera: width, height, and how high its foot is."""
        width, height, foot = size_m
        left, low = self.at(right_m - width / 2, foot, away_m)
        right, high = self.at(right_m + width / 2, foot + height, away_m)
        self.fill([(left, low), (right, low), (right, high), (left, high)], colour, label)

    def blob(
        self,
        place: tuple[float, float, float],
        radii_m: tuple[float, float],
        colour: Colour,
        label: int,
    ) -> None:
        """Fills an upright ellipse around a place: right, up and away."""
        right, up, away = place
        angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        outline = [
            self.at(right + radii_m[0] * x, up + radii_m[1] * y, away)
            for x, y in zip(np.cos(angles).tolist(), np.sin(angles).tolist(), strict=True)
        ]
        self.fill(outline, colour, label)

    def finished(self, rng: np.random.Generator) -> Street:
        """Returns the scene in its size, with blur, noise, contrast and brightness."""
        size = (STREET_SIZE.width, STREET_SIZE.height)
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA)
        blurred, sigma = rng.random() < _BLURRED, float(rng.uniform(0.3, 0.9))
        if blurred:
            image = cv2.GaussianBlur(image, (3, 3), sigma)
        contrast, brightness = rng.uniform(0.55, 1.05), rng.uniform(-25, 35)
        noise = rng.normal(0, rng.uniform(1, 10), image.shape)
        values = 128 + contrast * (image.astype(np.float64) - 128) + brightness + noise
        return Street(
            image=np.clip(np.round(values), 0, 255).astype(np.uint8),
            labels=np.ascontiguousarray(self.labels[_OVER // 2 :: _OVER, _OVER // 2 :: _OVER]),
        )


_Thing = tuple[float, Callable[[_Canvas], None]]


def _draw_ground(canvas: _Canvas, rng: np.random.Generator) -> None:
    near = canvas.focal_px * _CAMERA_HEIGHT_M / (canvas.image.shape[0] - canvas.horizon_px)
    width = float(rng.uniform(2.8, 4.2))
    strips = (
        (60.0, _shades(rng, ((95, 120, 60), (120, 125, 80))), _VEGETATION),
        (
            width + float(rng.uniform(1.5, 3)),
            _shades(rng, ((160, 150, 140), (130, 120, 120))),
            _PAVEMENT,
        ),
        (width, _shades(rng, ((85, 85, 90), (110, 108, 105))), _ROAD),
    )
    for half, colour, label in strips:
        corners = ((-half, near), (half, near), (half, 4 * _FAR_M), (-half, 4 * _FAR_M))
        canvas.fill([canvas.at(x, 0, z) for x, z in corners], colour, label)
    mark = _shades(rng, ((215, 215, 205),))
    for start in np.arange(near, _FAR_M, 6.0).tolist():
        corners = ((-0.08, start), (0.08, start), (0.08, start + 3), (-0.08, start + 3))
        canvas.fill([canvas.at(x, 0, z) for x, z in corners], mark, _ROAD)


def _row_of_buildings(rng: np.random.Generator) -> list[_Thing]:
    things: list[_Thing] = []
    for side in (-1, 1):
        away = float(rng.uniform(4, 9))
        while away < _FAR_M:
            length, gap = float(rng.uniform(6, 14)), float(rng.exponential(2.5))
            if rng.random() < 0.8:  # noqa: PLR2004 - some lots are empty
                things.append((away, _building(side, away, length, rng)))
            away += length + gap
    return things


def _building(
    side: int, away: float, length: float, rng: np.random.Generator
) -> Callable[[_Canvas], None]:
    front = side * float(rng.uniform(7.5, 10))
    height = float(rng.uniform(4, 16))
    wall = _shades(rng, ((150, 110, 90), (180, 170, 150), (120, 120, 130), (165, 140, 110)))
    shaded = _darker(wall, 0.8)
    glass = _shades(rng, ((60, 70, 90), (100, 110, 120)))
    storeys = max(1, int(height // 3))
    columns = max(2, int(length // 2.5))

    def draw(canvas: _Canvas) -> None:
        far = away + length
        face = ((front, 0.0, away), (front, 0.0, far), (front, height, far), (front, height, away))
        gable = (
            *face[:1],
            (front + side * 12, 0.0, away),
            (front + side * 12, height, away),
            face[3],
        )
        canvas.fill([canvas.at(*corner) for corner in gable], shaded, _BUILDING)
        canvas.fill([canvas.at(*corner) for corner in face], wall, _BUILDING)
        for column in range(columns):
            z = away + (column + 0.3) * length / columns
            for storey in range(storeys):
                y = 3 * storey + 1.0
                corners = ((y, z), (y, z + 1.0), (y + 1.3, z + 1.0), (y + 1.3, z))
                canvas.fill([canvas.at(front, up, dz) for up, dz in corners], glass, _BUILDING)

    return draw


def _things_beside(rng: np.random.Generator) -> list[_Thing]:
    makers = (_tree, _tree, _pole, _pole, _person, _person, _unlabelled)
    things: list[_Thing] = []
    for _ in range(int(rng.integers(5, 13))):
        make = makers[int(rng.integers(len(makers)))]
        away = float(np.exp(rng.uniform(np.log(5), np.log(35))))
        right = float(rng.choice([-1.0, 1.0]) * rng.uniform(4.2, 7))
        things.append((away, make(right, away, rng)))
    return things


def _traffic(rng: np.random.Generator) -> list[_Thing]:
    things: list[_Thing] = []
    for _ in range(int(rng.integers(0, 5))):
        away = float(np.exp(rng.uniform(np.log(5), np.log(35))))
        right = float(rng.choice([-1.0, 1.0]) * rng.uniform(1.2, 3.2))
        things.append((away, _car(right, away, rng)))
    if rng.random() < 0.3:  # noqa: PLR2004 - now and then somebody crosses
        away = float(rng.uniform(6, 20))
        things.append((away, _person(float(rng.uniform(-3, 3)), away, rng)))
    return things


def _car(right: float, away: float, rng: np.random.Generator) -> Callable[[_Canvas], None]:
    paint = _any_colour(rng)
    width, height = float(rng.uniform(1.7, 2.1)), float(rng.uniform(1.3, 2.0))
    glass, tyre = _shades(rng, ((50, 60, 75), (120, 130, 140))), (25, 25, 28)
    light = _shades(rng, ((220, 60, 50), (240, 235, 210)))

    def draw(canvas: _Canvas) -> None:
        for sign in (-1, 1):
            wheel = right + sign * (width / 2 - 0.2)
            canvas.upright(wheel, away, (0.3, 0.4, 0.0), tyre, _CAR)
        canvas.upright(right, away, (width, 0.5 * height, 0.25), paint, _CAR)
        canvas.upright(right, away, (0.8 * width, 0.4 * height, 0.5 * height), paint, _CAR)
        canvas.upright(right, away, (0.7 * width, 0.27 * height, 0.58 * height), glass, _CAR)
        for sign in (-1, 1):
            lamp = right + sign * 0.38 * width
            canvas.upright(lamp, away, (0.25, 0.15, 0.55), light, _CAR)

    return draw


def _person(right: float, away: float, rng: np.random.Generator) -> Callable[[_Canvas], None]:
    height = float(rng.uniform(1.5, 1.95))
    shirt, trousers = _any_colour(rng), _any_colour(rng)
    skin = _shades(rng, ((225, 185, 160), (110, 75, 55)))
    stride = float(rng.uniform(0.05, 0.25))

    def draw(canvas: _Canvas) -> None:
        for sign in (-1, 1):
            foot = canvas.at(right + sign * stride, 0, away)
            hip = canvas.at(right + sign * 0.1, 0.5 * height, away)
            wide = 0.09 * canvas.focal_px / away
            outline = [
                (foot[0] - wide, foot[1]),
                (foot[0] + wide, foot[1]),
                (hip[0] + wide, hip[1]),
                (hip[0] - wide, hip[1]),
            ]
            canvas.fill(outline, trousers, _PERSON)
        canvas.blob((right, 0.66 * height, away), (0.24, 0.2 * height), shirt, _PERSON)
        canvas.blob((right, 0.92 * height, away), (0.12, 0.14), skin, _PERSON)

    return draw


def _pole(right: float, away: float, rng: np.random.Generator) -> Callable[[_Canvas], None]:
    colour = _shades(rng, ((120, 120, 120), (70, 75, 70), (150, 140, 125)))
    height, width = float(rng.uniform(3, 6.5)), float(rng.uniform(0.14, 0.24))
    sign = _any_colour(rng)
    has_sign = rng.random() < 0.5  # noqa: PLR2004

    def draw(canvas: _Canvas) -> None:
        canvas.upright(right, away, (width, height, 0.0), colour, _POLE)
        if has_sign:
            canvas.upright(right, away, (0.7, 0.7, height - 0.7), sign, _UNLABELLED)

    return draw


def _tree(right: float, away: float, rng: np.random.Generator) -> Callable[[_Canvas], None]:
    trunk = _shades(rng, ((95, 75, 55), (80, 70, 65)))
    leaves = _shades(rng, ((60, 95, 45), (95, 120, 60), (130, 110, 50)))
    height, radius = float(rng.uniform(3, 7)), float(rng.uniform(0.9, 2.2))
    offsets = rng.normal(0, 0.35 * radius, (4, 2)).tolist()

    def draw(canvas: _Canvas) -> None:
        canvas.upright(right, away, (0.3, height - radius, 0.0), trunk, _VEGETATION)
        for shade, (x, y) in enumerate(offsets):
            colour = _darker(leaves, 0.85 + 0.08 * shade)
            canvas.blob((right + x, height + y, away), (radius, 0.8 * radius), colour, _VEGETATION)

    return draw


def _unlabelled(right: float, away: float, rng: np.random.Generator) -> Callable[[_Canvas], None]:
    colour = _any_colour(rng)
    size = (float(rng.uniform(0.4, 1.2)), float(rng.uniform(0.5, 1.3)), 0.0)
    return lambda canvas: canvas.upright(right, away, size, colour, _UNLABELLED)


def _shades(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """Returns one of the colours, varied."""
    base = np.array(colours[int(rng.integers(len(colours)))])
    red, green, blue = np.clip(base + rng.integers(-22, 23, 3), 0, 255).tolist()
    return (red, green, blue)


def _any_colour(rng: np.random.Generator) -> Colour:
    red, green, blue = rng.integers(15, 241, 3).tolist()
    return (red, green, blue)


def _darker(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(factor * value)) for value in colour)
    return (red, green, blue)
