"""People in their crops, as all key-point tasks show them to networks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from blocks import (
    DataError,
    ImageSize,
    Problem,
    check_image_size,
)

from ._augmentation import Augmentation
from ._batch import Item
from ._crops import Crop, apply_affine, invert_affine, warp
from ._heatmaps import STRIDE, encode
from ._images import ImageFile, ImageStore, find_unreadable
from ._normalisation import FACTOR, SHIFT
from ._task import TaskData


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
        image = np.ascontiguousarray((pixels * FACTOR + SHIFT).transpose(2, 0, 1))
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
