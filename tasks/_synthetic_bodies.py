"""Bodies of synthetic people: a jointed skeleton in random poses, seen from random sides.

The axes of a view are right, down and towards the viewer; those of a body its left, down and
front, so a body that faces the viewer needs no turn. Lengths are parts of the body's height.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

HEAD_RADIUS = 0.078
_FOOT = 0.075
_SIDES = np.array([1.0, -1.0])
_RAISED_ARM = 0.14
# Nose, eyes and ears in the head's own axes, in head radii.
_FACE = np.array(
    [[0, 0.12, 1.06], [0.4, -0.14, 0.9], [-0.4, -0.14, 0.9], [1.0, 0.05, 0], [-1.0, 0.05, 0]]
)
# How often each way of holding oneself occurs: at ease, walking, active, seated.
_STYLES = np.array([0.45, 0.35, 0.15, 0.05])
_STOOP_DEG = np.array([4.0, 6.0, 14.0, 8.0])
_STOOP_DEVIATION_DEG = np.array([10.0, 8.0, 22.0, 10.0])


@dataclass(frozen=True, kw_only=True)
class Bodies:
    """Several bodies, as seen.

    Attributes:
        joints: COCO's 17 key points (N, 17, 3).
        toes: The feet's tips, left and right (N, 2, 3).
        head: Centres of the heads (N, 3).
        head_axes: The heads' left, down and front, as rows (N, 3, 3).
    """

    joints: FloatArray
    toes: FloatArray
    head: FloatArray
    head_axes: FloatArray


def draw_bodies(rng: np.random.Generator, num: int) -> Bodies:
    """Draws bodies with random proportions, poses and viewing directions.

    Angles stay within what joints allow; seven in ten people are seen from the front, the others
    from the side or from behind, and all stand more or less upright in the image. Harder views
    teach a network nothing in the few steps for which this data set is made.

    Args:
        rng: Where the randomness comes from.
        num: How many bodies.
    """
    build = np.clip(rng.normal(1, 0.07, (num, 8)), 0.8, 1.2)
    style = rng.choice(len(_STYLES), size=num, p=_STYLES)
    trunk = _turn(
        pitch=np.deg2rad(rng.normal(_STOOP_DEG[style], _STOOP_DEVIATION_DEG[style])),
        yaw=np.deg2rad(rng.normal(0, 14, num)),
        roll=np.deg2rad(rng.normal(0, 7, num)),
    )
    hips = np.zeros((num, 2, 3))
    hips[..., 0] = _SIDES * (0.068 * build[:, :1])
    shoulders = np.zeros((num, 2, 3))
    shoulders[..., 0] = _SIDES * (0.112 * build[:, 1:2])
    shoulders[..., 1] = -0.29 * build[:, 2:3]
    shoulders[..., 1] += rng.normal(0, 0.012, (num, 2))

    upper, lower = _arms(rng, style)
    elbows = shoulders + upper * (0.168 * build[:, 3, None, None])
    wrists = elbows + lower * (0.15 * build[:, 4, None, None])
    thigh, shin, foot = _legs(rng, style)
    knees = hips + thigh * (0.235 * build[:, 5, None, None])
    ankles = knees + shin * (0.225 * build[:, 6, None, None])
    toes = ankles + foot * _FOOT

    neck = np.zeros((num, 3))
    neck[:, 1] = -(0.29 * build[:, 2] + 0.125)
    nod = _turn(
        pitch=np.deg2rad(rng.normal(4, 12, num)),
        yaw=np.deg2rad(rng.normal(0, 26, num)),
        roll=np.deg2rad(rng.normal(0, 8, num)),
    )
    arms = np.concatenate([shoulders, elbows, wrists, neck[:, None]], axis=1) @ trunk
    head_axes = nod @ trunk
    face = arms[:, 6:] + HEAD_RADIUS * (_FACE @ head_axes)
    body = np.concatenate([face, arms[:, :6], hips, knees, ankles, toes, arms[:, 6:]], axis=1)

    view = _views(rng, num)
    seen = body @ view
    return Bodies(
        joints=seen[:, :17],
        toes=seen[:, 17:19],
        head=seen[:, 19],
        head_axes=head_axes @ view,
    )


def _turn(*, pitch: FloatArray, yaw: FloatArray, roll: FloatArray) -> FloatArray:
    """Returns matrices that turn row vectors: forward, then about the body's axis, then aside."""
    zero, one = np.zeros_like(pitch), np.ones_like(pitch)
    cos, sin = np.cos(pitch), np.sin(pitch)
    forward = _stack([[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]])
    cos, sin = np.cos(yaw), np.sin(yaw)
    about = _stack([[cos, zero, -sin], [zero, one, zero], [sin, zero, cos]])
    cos, sin = np.cos(roll), np.sin(roll)
    aside = _stack([[cos, sin, zero], [-sin, cos, zero], [zero, zero, one]])
    return forward @ about @ aside


def _stack(rows: list[list[FloatArray]]) -> FloatArray:
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _views(rng: np.random.Generator, num: int) -> FloatArray:
    facing = rng.choice(4, size=num, p=[0.7, 0.1, 0.1, 0.1])
    centre = np.array([0.0, 60.0, -60.0, 180.0])[facing]
    return _turn(
        pitch=np.deg2rad(rng.normal(3, 7, num)),
        yaw=np.deg2rad(rng.normal(centre, 18)),
        roll=np.deg2rad(rng.normal(0, 9, num)),
    )


def _swing(flexion: FloatArray, abduction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns a limb's direction and the one in which it would flex further (N, 2, 3)."""
    cos, sin = np.cos(flexion), np.sin(flexion)
    out, down = _SIDES * np.sin(abduction), np.cos(abduction)
    along = np.stack([out * cos, down * cos, sin], axis=-1)
    further = np.stack([-out * sin, -down * sin, cos], axis=-1)
    return along, further


def _by_style(
    rng: np.random.Generator, style: npt.NDArray[np.intp], bounds_deg: list[tuple[float, float]]
) -> FloatArray:
    low, high = np.deg2rad(np.array(bounds_deg)).T
    return rng.uniform(low[style, None], high[style, None], (len(style), 2))


def _arms(rng: np.random.Generator, style: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    flexion = _by_style(rng, style, [(-15, 20), (-35, 40), (-50, 85), (-5, 55)])
    abduction = _by_style(rng, style, [(3, 22), (3, 20), (5, 165), (5, 30)])
    # At ease too, an arm is now and then raised: to wave, to point, to a hip.
    raised = rng.random(flexion.shape) < _RAISED_ARM
    abduction = np.where(raised, np.deg2rad(rng.uniform(20, 150, flexion.shape)), abduction)
    along, further = _swing(flexion, abduction)
    bend = _by_style(rng, style, [(5, 45), (15, 85), (5, 130), (20, 110)])
    twist = np.deg2rad(rng.uniform(-25, 80, flexion.shape))[..., None]
    inward = np.cross(along, further) * -_SIDES[:, None]
    towards = further * np.cos(twist) + inward * np.sin(twist)
    return along, along * np.cos(bend)[..., None] + towards * np.sin(bend)[..., None]


def _legs(
    rng: np.random.Generator, style: npt.NDArray[np.intp]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    flexion = _by_style(rng, style, [(-6, 12), (-22, 38), (-25, 80), (55, 100)])
    # Walking, one leg goes forward while the other goes back.
    walking = (style == 1)[:, None] & (_SIDES * rng.choice(_SIDES, (len(style), 1)) < 0)
    flexion = np.where(walking, -0.6 * flexion[:, ::-1], flexion)
    abduction = _by_style(rng, style, [(0, 14), (0, 8), (0, 48), (2, 28)])
    along, further = _swing(flexion, abduction)
    bend = _by_style(rng, style, [(0, 10), (4, 45), (0, 105), (55, 105)])[..., None]
    shin = along * np.cos(bend) - further * np.sin(bend)
    foot = further * np.cos(bend) + along * np.sin(bend)
    lift = np.deg2rad(20)
    return along, shin, foot * np.cos(lift) + shin * np.sin(lift)
