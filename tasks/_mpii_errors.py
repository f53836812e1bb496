"""What goes wrong with each joint of MPII, where errors are measured in head sizes."""

from __future__ import annotations

import numpy as np

from ._keypoint_errors import KeypointErrors, diagnose
from ._keypoints import mirrored_joints
from ._outputs import MPII_JOINTS
from ._pck import PckTruth
from ._results import FloatArray

_NEAR_HEADS = 0.5
# A similarity of 0.5 lies at half a head's size, so that jitter ends where PCKh@0.5 does; the
# similarity is exp(-d^2 / (2 (2 sigma)^2)) with d in head sizes.
_SIGMA = _NEAR_HEADS / np.sqrt(8 * np.log(2))
# Where a joint stands that was not predicted (pelvis and thorax need not be): too far from all.
_NOWHERE_PX = 1e9

HEAD_SCALE = (
    "a similarity of head sizes that is 0.5 at half a head's size (the limit of PCKh@0.5) and 0.85 "
    "at 0.24 of it, for every joint"
)
"""What errors are measured by where people have sizes of heads but no areas."""


def diagnose_points(truth: PckTruth, points_px: FloatArray) -> KeypointErrors:
    """Returns what went wrong with every visible joint.

    Args:
        truth: The people.
        points_px: Their predicted joints, counted from 1 (P, 16, 2).
    """
    points = np.where(np.isfinite(points_px), points_px, _NOWHERE_PX)
    numbers = {name: number for number, name in enumerate(sorted(set(truth.names)))}
    people, made = [], []
    for row, name in enumerate(truth.names):
        visible = truth.visible[row]
        joints = np.column_stack([truth.points_px[row], np.where(visible, 2.0, 0.0)])
        ids = {"image_id": numbers[name], "category_id": 1}
        people.append(
            {
                **ids,
                "id": row,
                "num_keypoints": int(visible.sum()),
                "keypoints": joints.ravel().tolist(),
                "area": float(truth.head_sizes_px[row]) ** 2,
            }
        )
        predicted = np.column_stack([points[row], np.ones(len(MPII_JOINTS))])
        made.append(
            {**ids, "annotation_id": row, "keypoints": predicted.ravel().tolist(), "score": 1.0}
        )
    return diagnose(
        people,
        made,
        joints=MPII_JOINTS,
        mirrored=mirrored_joints(MPII_JOINTS),
        sigmas=np.full(len(MPII_JOINTS), _SIGMA),
        scale=HEAD_SCALE,
    )
