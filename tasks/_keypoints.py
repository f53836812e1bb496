"""What all key-point tasks on COCO-style files share: opening, loss, prediction, scoring."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from blocks import DataError, ImageSize, Problem, check_image_size

from ._augmentation import Augmentation
from ._batch import Batch, Item
from ._coco_files import CocoSplit, has_labelled_joints
from ._crops import PADDING, Crop, apply_affine, crop_of_box, invert_affine, warp
from ._heatmaps import STRIDE, decode, encode, target_sigma_px
from ._images import ImageFile, ImageStore, find_unreadable
from ._oks import KeypointResults, score_keypoints
from ._outputs import COCO_JOINTS
from ._task import TaskData

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)
_FACTOR = 1 / (255 * _DEVIATION)
_SHIFT = -_MEAN / _DEVIATION

_CONFIDENT = 0.2


def _mirrored(name: str) -> str:
    sides = {"left": "right", "right": "left"}
    side, _, rest = name.partition("_")
    return f"{sides[side]}_{rest}" if side in sides else name


MIRRORED_JOINTS = tuple(COCO_JOINTS.index(_mirrored(name)) for name in COCO_JOINTS)
"""For each key point of a mirrored image, which key point of the image it was."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """Where a crop came from.

    Attributes:
        to_image: Affine map from heat-map pixels to image pixels (2, 3).
        image_id: The image's id in the annotation file.
        annotation_id: The person's id there.
        category_id: The person's category there.
    """

    to_image: npt.NDArray[np.float64]
    image_id: int
    annotation_id: int
    category_id: int


class KeypointData(TaskData):
    """One split of people with key points, opened at one input size.

    One item is one annotated person: not a crowd, with a labelled key point and a box that is
    not empty. Scoring uses the boxes of the annotations and covers every image of the split,
    its crowds and its people without key points included.

    Args:
        name: What to call the split.
        coco: The split's annotation file.
        size: The network's input size.
        augmentation: How training items are varied.
        store: Keeps the decoded images.

    Raises:
        DataError: If too many images cannot be read, or if no person is left.
        BranchworkError: If the size is not a multiple of the heat maps' stride.
    """

    def __init__(
        self,
        *,
        name: str,
        coco: CocoSplit,
        size: ImageSize,
        augmentation: Augmentation,
        store: ImageStore,
    ) -> None:
        check_image_size("input", size, STRIDE)
        self._name = name
        self._size = size
        self._augmentation = augmentation
        self._store = store
        files = {entry["id"]: ImageFile.of_entry(entry, coco.image_folder) for entry in coco.images}
        people = [entry for entry in coco.annotations if has_labelled_joints(entry)]
        crops = {entry["id"]: _crop(entry, files[entry["image_id"]], size) for entry in people}
        people = [entry for entry in people if crops[entry["id"]] is not None]

        shown = {entry["image_id"] for entry in people}
        unreadable = find_unreadable(
            store,
            [file for number, file in files.items() if number in shown],
            [file for number, file in files.items() if number not in shown],
        )
        self._skipped = tuple(
            f"{file.name}: {unreadable[file.path]}"
            for file in files.values()
            if file.path in unreadable
        )
        kept = {number for number, file in files.items() if file.path not in unreadable}
        self.images = tuple(entry for entry in coco.images if entry["id"] in kept)
        self.annotations = tuple(entry for entry in coco.annotations if entry["image_id"] in kept)
        self._people = [entry for entry in people if entry["image_id"] in kept]
        if not self._people:
            unread = f" (unreadable: {', '.join(self._skipped)})" if self._skipped else ""
            raise DataError(
                Problem(
                    where=str(coco.path),
                    rule="a split needs a person with a labelled key point in a readable image",
                    got=f"{len(coco.annotations)} annotations, none of them usable{unread}",
                    do="use a split with key points",
                )
            )
        self._fingerprint = _fingerprint(coco, self._people)
        self._files = [files[entry["image_id"]] for entry in self._people]
        self._crops = [crops[entry["id"]] for entry in self._people]
        joints = np.array([entry["keypoints"] for entry in self._people], dtype=np.float64)
        self._joints = joints.reshape(len(self._people), len(COCO_JOINTS), 3)

    @property
    def name(self) -> str:
        """Task and split."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of the annotation file, the split's name and the ids of the usable people."""
        return self._fingerprint

    @property
    def num_images(self) -> int:
        """Number of images that scores cover, those without people included."""
        return len(self.images)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Missing and unreadable images, by name."""
        return self._skipped

    def __len__(self) -> int:
        """Number of people."""
        return len(self._people)

    def train_item(self, index: int, seed: int) -> Item:
        """Returns a person's crop, varied by the augmentation.

        Raises:
            DataError: If the image can no longer be read.
        """
        crop = self._augmentation.apply(self._crop_of(index), np.random.default_rng([seed, index]))
        return self._item(index, crop)

    def eval_item(self, index: int) -> Item:
        """Returns a person's crop as it is.

        Raises:
            DataError: If the image can no longer be read.
        """
        return self._item(index, self._crop_of(index))

    def _crop_of(self, index: int) -> Crop:
        crop = self._crops[index]
        assert crop is not None
        return crop

    def _item(self, index: int, crop: Crop) -> Item:
        # One thread an item: parallelism is the caller's, and a pool in each of its workers hurts.
        cv2.setNumThreads(0)
        person, joints = self._people[index], self._joints[index]
        to_input = crop.to_input(self._size)
        pixels = warp(self._store.read(self._files[index]), to_input, self._size)
        if crop.mirrored:
            joints = joints[list(MIRRORED_JOINTS)]
        target, weight = encode(apply_affine(to_input, joints[:, :2]), joints[:, 2] > 0, self._size)
        to_image = invert_affine(to_input)
        to_image[:, :2] *= STRIDE
        image = np.ascontiguousarray((pixels * _FACTOR + _SHIFT).transpose(2, 0, 1))
        return Item(
            image=torch.from_numpy(image),
            target=torch.from_numpy(target),
            weight=torch.from_numpy(weight),
            origin=Person(
                to_image=to_image,
                image_id=person["image_id"],
                annotation_id=person["id"],
                category_id=person["category_id"],
            ),
        )


def _crop(annotation: dict[str, Any], file: ImageFile, size: ImageSize) -> Crop | None:
    if annotation["area"] <= 0:
        return None
    return crop_of_box(
        annotation["bbox"],
        image_width_px=file.width_px,
        image_height_px=file.height_px,
        size=size,
    )


def _fingerprint(coco: CocoSplit, people: Sequence[dict[str, Any]]) -> str:
    # The ids, for people whose image cannot be read are left out: then the data are others.
    digest = hashlib.sha256(coco.content)
    digest.update("\n".join([coco.split, *(str(entry["id"]) for entry in people)]).encode())
    return digest.hexdigest()[:12]


def joints_mse(outputs: Tensor, batch: Batch) -> Tensor:
    """Returns HRNet's loss: half the squared error of the heat maps.

    The mean over items, key points and pixels of ``0.5 w (output - target)^2``, w being the key
    point's weight. Key points that are not labelled count as a zero in the mean, as in HRNet's
    published code.

    Shape:
        (N, K, H/4, W/4) -> ().
    """
    error = (outputs - batch.target).square().mean(dim=(2, 3))
    return 0.5 * (batch.weight * error).mean()


@torch.inference_mode()
def heat_maps(module: nn.Module, image: Tensor, *, flip_test: bool) -> Tensor:
    """Runs a network, on the image and, with the flip test, on its mirror image too.

    As in HRNet, the mirror image's heat maps are mirrored back, left and right key points change
    places, and the maps move right by one pixel (the mirrored peaks of a stride-4 grid lie one
    pixel to the left) before the two are averaged.

    Shape:
        (N, 3, H, W) -> (N, 17, H/4, W/4).
    """
    straight: Tensor = module(image)
    if not flip_test:
        return straight
    back = module(image.flip(3)).flip(3)[:, list(MIRRORED_JOINTS)]
    return (straight + torch.cat([back[..., :1], back[..., :-1]], dim=3)) / 2


def predict_keypoints(module: nn.Module, batch: Batch, *, flip_test: bool) -> list[dict[str, Any]]:
    """Returns one prediction an item, in COCO's results form.

    The score is HRNet's: the mean peak of the key points whose peak is over 0.2. Where none is,
    which HRNet's published code scores 0, it is the mean of all peaks: below every other score,
    but still in an order.
    """
    maps = heat_maps(module, batch.image, flip_test=flip_test).float().cpu().numpy()
    points, peaks = decode(maps)
    people = cast("tuple[Person, ...]", batch.origins)
    points = apply_affine(np.stack([person.to_image for person in people]), points)
    confident = peaks > _CONFIDENT
    num = confident.sum(axis=1)
    means = np.where(num, (peaks * confident).sum(axis=1) / np.maximum(num, 1), peaks.mean(axis=1))
    keypoints = np.concatenate([points, peaks[..., None]], axis=2).reshape(len(points), -1)
    return [
        {
            "image_id": person.image_id,
            "category_id": person.category_id,
            "annotation_id": person.annotation_id,
            "keypoints": row,
            "score": score,
        }
        for person, row, score in zip(people, keypoints.tolist(), means.tolist(), strict=True)
    ]


def score_predictions(data: TaskData, predictions: Sequence[dict[str, Any]]) -> KeypointResults:
    """Scores predictions by COCO's key-point AP over every image of the split.

    Raises:
        DataError: If a prediction is for an image that the split does not have.
    """
    assert isinstance(data, KeypointData), "predictions are scored on the data of their own task"
    return score_keypoints(data.images, data.annotations, predictions)


def open_keypoints(
    name: str, coco: CocoSplit, size: ImageSize, augmentation: Augmentation
) -> KeypointData:
    """Opens a split that was read."""
    return KeypointData(
        name=f"{name} {coco.split}",
        coco=coco,
        size=size,
        augmentation=augmentation,
        store=ImageStore(),
    )


def keypoint_evaluation(*, flip_test: bool, augmentation: Augmentation) -> dict[str, Any]:
    """Returns the settings under which two scores of a key-point task may be compared."""
    return {
        "metric": "AP",
        "similarity": "oks",
        "boxes": "ground_truth",
        "nms": "none",
        "flip_test": flip_test,
        "decoding": "quarter_offset",
        "padding": PADDING,
        "target": "gaussian",
        "target_sigma_at_256_px": target_sigma_px(ImageSize(256, 192)),
        "loss": "joints_mse",
        "augmentation": {
            "scale": augmentation.scale,
            "rotation_deg": augmentation.rotation_deg,
            "rotation_probability": augmentation.rotation_probability,
            "mirror_probability": augmentation.mirror_probability,
        },
    }


def folder_of(data: Path | None, task: str) -> Path:
    """Returns the data folder of a task that brings no data of its own.

    Raises:
        DataError: If none was given.
    """
    if data is None:
        raise DataError(
            Problem(
                where=task,
                rule="the task needs a data folder",
                got="none",
                do="give one with --data",
            )
        )
    return data
