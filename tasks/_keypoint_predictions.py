"""From a network's heat maps to predictions of people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from blocks import ImageSize

from ._batch import Batch
from ._crops import apply_affine
from ._heatmaps import Decoding, decode, target_sigma_px
from ._keypoints import Person

_CONFIDENT = 0.2


@torch.inference_mode()
def heat_maps(
    module: nn.Module, image: Tensor, *, flip_test: bool, mirrored: Sequence[int]
) -> Tensor:
    """Runs a network, on the image and, with the flip test, on its mirror image too.

    As in HRNet, the mirror image's heat maps are mirrored back, left and right key points change
    places, and the maps move right by one pixel (the mirrored peaks of a stride-4 grid lie one
    pixel to the left) before the two are averaged.

    Args:
        module: The network.
        image: What it is shown.
        flip_test: Whether to average.
        mirrored: For each key point of a mirrored image, which key point of the image it was.

    Shape:
        (N, 3, H, W) -> (N, K, H/4, W/4).
    """
    straight: Tensor = module(image)
    if not flip_test:
        return straight
    back = module(image.flip(3)).flip(3)[:, list(mirrored)]
    return (straight + torch.cat([back[..., :1], back[..., :-1]], dim=3)) / 2


def predict_keypoints(
    module: nn.Module,
    batch: Batch,
    *,
    flip_test: bool,
    decoding: Decoding,
    mirrored: Sequence[int],
) -> list[dict[str, Any]]:
    """Returns one prediction an item, in COCO's results form.

    The score is HRNet's: the mean peak of the key points whose peak is over 0.2, times the
    detector's confidence in the box. Where none is, which HRNet's published code scores 0, it is
    the mean of all peaks: below every other score, but still in an order.

    Args:
        module: The network, from (N, 3, H, W) to (N, K, H/4, W/4).
        batch: What it is shown.
        flip_test: Whether the mirror image is shown too.
        decoding: How peaks become points.
        mirrored: For each key point of a mirrored image, which key point of the image it was.
    """
    maps = heat_maps(module, batch.image, flip_test=flip_test, mirrored=mirrored)
    height, width = batch.image.shape[2:]
    sigma_px = target_sigma_px(ImageSize(height, width))
    points, peaks = decode(maps.float().cpu().numpy(), decoding, sigma_px)
    people = cast("tuple[Person, ...]", batch.origins)
    points = apply_affine(np.stack([person.to_image for person in people]), points)
    confident = peaks > _CONFIDENT
    num = confident.sum(axis=1)
    means = np.where(num, (peaks * confident).sum(axis=1) / np.maximum(num, 1), peaks.mean(axis=1))
    scores = means * np.array([person.box_score for person in people])
    keypoints = np.concatenate([points, peaks[..., None]], axis=2).reshape(len(points), -1)
    return [
        _prediction(person, row, score)
        for person, row, score in zip(people, keypoints.tolist(), scores.tolist(), strict=True)
    ]


def _prediction(person: Person, keypoints: list[float], score: float) -> dict[str, Any]:
    made: dict[str, Any] = {
        "image_id": person.image_id,
        "category_id": person.category_id,
        "keypoints": keypoints,
        "score": score,
    }
    if person.annotation_id is None:
        # The area by which suppression measures: as in HRNet that of the crop.
        return {**made, "area_px": person.area_px}
    return {**made, "annotation_id": person.annotation_id}
