"""Skeletons: which key points are joined by a line when a person is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._outputs import COCO_JOINTS, CROWDPOSE_JOINTS, MPII_JOINTS

Limb = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """How a person is drawn.

    Attributes:
        joints: The key points, in the order of predictions.
        limbs: Pairs of key points that a line joins.
    """

    joints: tuple[str, ...]
    limbs: tuple[Limb, ...]


def _both_sides(*limbs: Limb) -> tuple[Limb, ...]:
    return tuple(
        (f"{side}_{first}", f"{side}_{second}")
        for side in ("left", "right")
        for first, second in limbs
    )


def _across(*names: str) -> tuple[Limb, ...]:
    return tuple((f"left_{name}", f"right_{name}") for name in names)


def _from_middle(middle: str, *names: str) -> tuple[Limb, ...]:
    return tuple((middle, f"{side}_{name}") for side in ("left", "right") for name in names)


_ARMS_AND_LEGS: Sequence[Limb] = _both_sides(
    ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")
)

COCO_SKELETON = Skeleton(
    joints=COCO_JOINTS,
    limbs=(
        *_from_middle("nose", "eye"),
        *_both_sides(("eye", "ear"), ("ear", "shoulder"), ("shoulder", "hip")),
        *_across("shoulder", "hip"),
        *_ARMS_AND_LEGS,
    ),
)
"""People of COCO."""

CROWDPOSE_SKELETON = Skeleton(
    joints=CROWDPOSE_JOINTS,
    limbs=(
        ("head", "neck"),
        *_from_middle("neck", "shoulder"),
        *_both_sides(("shoulder", "hip")),
        *_across("hip"),
        *_ARMS_AND_LEGS,
    ),
)
"""People of CrowdPose."""

MPII_SKELETON = Skeleton(
    joints=MPII_JOINTS,
    limbs=(
        ("head_top", "neck"),
        ("neck", "thorax"),
        ("thorax", "pelvis"),
        *_from_middle("thorax", "shoulder"),
        *_from_middle("pelvis", "hip"),
        *_ARMS_AND_LEGS,
    ),
)
"""People of MPII."""
