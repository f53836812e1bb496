"""Non-maximum suppression by similarity: of two predictions of one person, the weaker one goes."""

from __future__ import annotations

import numpy as np

from ._keypoint_arrays import Detections, IntArray
from ._oks_similarity import Similarity
from ._results import FloatArray

KEEP_ALL = 1.0
"""The threshold at which every prediction is kept: nothing is more similar."""


def suppress(
    detections: Detections, threshold: float, similarity: Similarity, areas_px: FloatArray
) -> IntArray:
    """Returns which predictions are kept, by image and falling score.

    As in HRNet's published evaluation: in each image the most confident prediction is kept, those
    more similar to it than the threshold go, and so on with what is left. The squared scale of
    two predictions is the mean of their areas.

    Args:
        detections: The predictions of a split.
        threshold: The similarity above which the less confident of two goes.
        similarity: How similar two predictions are.
        areas_px: Every prediction's area, in square pixels (D,).
    """
    if threshold >= KEEP_ALL:
        return np.arange(len(detections))
    points = detections.keypoints[..., :2]
    order = np.lexsort((-detections.scores, detections.image_ids))
    ends = np.flatnonzero(np.diff(detections.image_ids[order])) + 1
    kept: list[int] = []
    for left in np.split(order, ends) if len(order) else ():
        remaining = left
        while len(remaining):
            best, others = remaining[0], remaining[1:]
            kept.append(int(best))
            scales = (areas_px[best] + areas_px[others]) / 2
            similar = similarity.of_predictions(points[best], points[others], scales)
            remaining = others[similar <= threshold]
    return np.array(kept, dtype=np.int64)
