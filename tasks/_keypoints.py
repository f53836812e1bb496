"""What all key-point tasks share: people and their crops, loss, prediction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from blocks import (
    BranchworkError,
    DataError,
    ImageSize,
    Problem,
    check_image_size,
    did_you_mean,
)

from ._augmentation import Augmentation
from ._batch import Batch, Item
from ._crops import PADDING, Crop, apply_affine, invert_affine, warp
from ._heatmaps import STRIDE, Decoding, decode, encode, target_sigma_px
from ._images import ImageFile, ImageStore, find_unreadable
from ._outputs import COCO_JOINTS
from ._task import TaskData

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)
_FACTOR = 1 / (255 * _DEVIATION)
_SHIFT = -_MEAN / _DEVIATION

_CONFIDENT = 0.2


def mirrored_joints(names: Sequence[str]) -> tuple[int, ...]:
    """Returns, for each key point of a mirrored image, which key point of the image it was.

    >>> mirrored_joints(("nose", "left_eye", "right_eye"))
    (0, 2, 1)

    Args:
        names: The key points, those of one side being named ``left_`` or ``right_`` something.
    """
    return tuple(names.index(_mirrored(name)) for name in names)


def _mirrored(name: str) -> str:
    sides = {"left": "right", "right": "left"}
    side, _, rest = name.partition("_")
    return f"{sides[side]}_{rest}" if side in sides else name


MIRRORED_JOINTS = mirrored_joints(COCO_JOINTS)
"""For each key point of COCO in a mirrored image, which key point of the image it was."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whom an item is to show, and what is known of them.

    Attributes:
        image_id: The image's id.
        annotation_id: The person's id, None for a detector's box.
        category_id: The person's category.
        crop: What the network is shown; None if there is no room for anyone in the box.
        joints: x, y in pixels and a flag, 0 where nothing is labelled (K, 3).
        box_score: The detector's confidence in the box; 1 for an annotation's.
    """

    image_id: int
    annotation_id: int | None
    category_id: int
    crop: Crop | None
    joints: npt.NDArray[np.float64]
    box_score: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Person:
    """Where a crop came from.

    Attributes:
        to_image: Affine map from heat-map pixels to image pixels (2, 3).
        image_id: The image's id in the annotation file.
        annotation_id: The person's id there, None for a detector's box.
        category_id: The person's category there.
        box_score: The detector's confidence in the box; 1 for an annotation's.
        area_px: Area of the crop in the image.
    """

    to_image: npt.NDArray[np.float64]
    image_id: int
    annotation_id: int | None
    category_id: int
    box_score: float
    area_px: float


class KeypointData(TaskData):
    """One split of people with key points, opened at one input size.

    One item is one person in a box that is not empty. Scoring covers every image of the split.

    Args:
        name: What to call the split.
        where: The file that says who is in the images.
        content: Everything that makes the split, for its fingerprint.
        images: All images, by id.
        subjects: The people to be shown.
        joints: The key points' names.
        size: The network's input size.
        augmentation: How training items are varied.
        truth: What the task scores predictions against; it knows which images were read.

    Raises:
        DataError: If too many images cannot be read, or if no person is left.
        BranchworkError: If the size is not a multiple of the heat maps' stride.
    """

    def __init__(  # noqa: PLR0913 - a split is all of these
        self,
        *,
        name: str,
        where: Path,
        content: Sequence[bytes],
        images: Mapping[int, ImageFile],
        subjects: Sequence[Subject],
        joints: Sequence[str],
        size: ImageSize,
        augmentation: Augmentation,
        truth: object,
    ) -> None:
        check_image_size("input", size, STRIDE)
        self._name = name
        self._size = size
        self._augmentation = augmentation
        self._store = ImageStore()
        self._mirrored = list(mirrored_joints(joints))
        self.truth = truth
        usable = [one for one in subjects if one.crop is not None]
        shown = {one.image_id for one in usable}
        unreadable = find_unreadable(
            self._store,
            [file for number, file in images.items() if number in shown],
            [file for number, file in images.items() if number not in shown],
        )
        self._skipped = tuple(
            f"{file.name}: {unreadable[file.path]}"
            for file in images.values()
            if file.path in unreadable
        )
        self._images = {
            number: file for number, file in images.items() if file.path not in unreadable
        }
        self._subjects = [one for one in usable if one.image_id in self._images]
        if not self._subjects:
            found = f"{len(subjects)} people, none of them usable" if subjects else "nobody"
            unread = f" (unreadable: {', '.join(self._skipped)})" if self._skipped else ""
            raise DataError(
                Problem(
                    where=str(where),
                    rule="a split needs a person with a labelled key point in a readable image",
                    got=f"{found}{unread}",
                    do="use a split with key points",
                )
            )
        self._fingerprint = _fingerprint(content, self._subjects)

    @property
    def name(self) -> str:
        """Task and split."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of the annotation file, the split's name and the ids of the usable people."""
        return self._fingerprint

    @property
    def image_ids(self) -> tuple[int, ...]:
        """The ids of all images that could be read, those without people included."""
        return tuple(self._images)

    @property
    def num_images(self) -> int:
        """Number of images that scores cover, those without people included."""
        return len(self._images)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Missing and unreadable images, by name."""
        return self._skipped

    def __len__(self) -> int:
        """Number of people."""
        return len(self._subjects)

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
        crop = self._subjects[index].crop
        assert crop is not None
        return crop

    def _item(self, index: int, crop: Crop) -> Item:
        # One thread an item: parallelism is the caller's, and a pool in each of its workers hurts.
        cv2.setNumThreads(0)
        subject = self._subjects[index]
        joints = subject.joints[self._mirrored] if crop.mirrored else subject.joints
        to_input = crop.to_input(self._size)
        pixels = warp(self._store.read(self._images[subject.image_id]), to_input, self._size)
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
                image_id=subject.image_id,
                annotation_id=subject.annotation_id,
                category_id=subject.category_id,
                box_score=subject.box_score,
                area_px=crop.width_px**2 * self._size.height / self._size.width,
            ),
        )


def _fingerprint(content: Sequence[bytes], people: Sequence[Subject]) -> str:
    # The ids, for people whose image cannot be read are left out: then the data are others.
    split, *others = content
    digest = hashlib.sha256(b"".join(others))
    ids = [one.image_id if one.annotation_id is None else one.annotation_id for one in people]
    digest.update("\n".join([split.decode(), *map(str, ids)]).encode())
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
def heat_maps(
    module: nn.Module,
    image: Tensor,
    *,
    flip_test: bool,
    mirrored: Sequence[int] = MIRRORED_JOINTS,
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
    decoding: Decoding = "quarter_offset",
    mirrored: Sequence[int] = MIRRORED_JOINTS,
) -> list[dict[str, Any]]:
    """Returns one prediction an item, in COCO's results form.

    The score is HRNet's: the mean peak of the key points whose peak is over 0.2, times the
    detector's confidence in the box. Where none is, which HRNet's published code scores 0, it is
    the mean of all peaks: below every other score, but still in an order.
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


def keypoint_evaluation(
    *, flip_test: bool, augmentation: Augmentation, decoding: Decoding = "quarter_offset"
) -> dict[str, Any]:
    """Returns the settings under which two scores of a key-point task may be compared."""
    return {
        "metric": "AP",
        "similarity": "oks",
        "boxes": "ground_truth",
        "nms": "none",
        "flip_test": flip_test,
        "decoding": decoding,
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


def check_decoding(task: str, decoding: str) -> None:
    """Checks a task's option.

    Raises:
        BranchworkError: If there is no such decoding.
    """
    if decoding not in get_args(Decoding):
        raise BranchworkError(
            Problem(
                where=f"{task}.decoding",
                rule=f"the option is one of {', '.join(get_args(Decoding))}",
                got=repr(decoding),
                do=did_you_mean(decoding, get_args(Decoding)),
            )
        )
