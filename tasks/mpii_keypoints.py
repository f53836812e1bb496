"""Key points of people on MPII Human Pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from blocks import DataError, ImageSize, Problem

from ._augmentation import Augmentation
from ._crops import Crop
from ._diagnosis import Diagnosis
from ._images import ImageFile
from ._keypoint_task import KeypointTask
from ._keypoints import KeypointData, Subject
from ._mpii_errors import diagnose_points
from ._mpii_files import (
    MpiiSplit,
    read_mpii_split,
    read_points,
    read_truth,
    read_truth_beside,
    write_points,
)
from ._outputs import MPII_JOINTS
from ._pck import PckResults, PckTruth, score_points
from ._results import FloatArray, ImageResults
from ._skeletons import MPII_SKELETON, Skeleton
from ._task import Role, TaskData, data_folder, register_task

# HRNet's way from MPII's annotations to boxes: the scale is in units of 200 pixels, the centre
# lies a little too high, and the box is grown by a quarter.
_UNIT_PX = 200.0
_DOWN_PER_SCALE = 15.0
_GROWTH = 1.25
# MPII counts pixels from 1.
_FIRST_PIXEL = 1.0


@register_task("mpii_keypoints")
@dataclass(frozen=True, kw_only=True)
class MpiiKeypoints(KeypointTask):
    """Single people of MPII Human Pose (Andriluka et al., CVPR 2014), scored by PCKh.

    The data folder has HRNet's layout: ``annot/train.json``, ``annot/valid.json``,
    ``annot/gt_valid.mat`` and ``images/``. Crops are squares around the annotated centre, as in
    HRNet, grown to the input's shape.

    Attributes:
        train_split: The split to learn from.
        val_split: The split to be scored on; needs its ``gt_SPLIT.mat``.
    """

    outputs: ClassVar[tuple[str, ...]] = MPII_JOINTS
    metric: ClassVar[str] = PckResults.headline
    results: ClassVar[type[ImageResults]] = PckResults
    prediction_suffixes: ClassVar[tuple[str, ...]] = (".npz", ".mat")
    default_input: ClassVar[ImageSize] = ImageSize(256, 256)
    skeleton: ClassVar[Skeleton] = MPII_SKELETON
    augmentation: ClassVar[Augmentation] = Augmentation(scale=0.25, rotation_deg=30.0)

    train_split: str = "train"
    val_split: str = "valid"

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        Raises:
            DataError: If the folder, the annotation file or the images cannot be used, or if the
                split to be scored on lacks its .mat file.
            BranchworkError: If the size is not a multiple of 4.
        """
        people = read_mpii_split(
            data_folder(data, self.name), self.train_split if split == "train" else self.val_split
        )
        truth = None
        content = [people.split.encode(), people.content]
        if split != "train":
            path = people.path.with_name(f"gt_{people.split}.mat")
            truth = read_truth(path, [one["image"] for one in people.people])
            content.append(path.read_bytes())
        images, subjects = _subjects(people, size)
        return KeypointData(
            name=f"{self.name} {people.split}",
            where=people.path,
            content=content,
            images=images,
            subjects=subjects,
            joints=MPII_JOINTS,
            size=size,
            augmentation=self.augmentation,
            truth=truth,
        )

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions by PCKh.

        Raises:
            DataError: If the predictions are not one a person.
        """
        assert isinstance(data, KeypointData)
        assert isinstance(data.truth, PckTruth), "the training split has no sizes of heads"
        rows, points, _ = _points(data, predictions)
        return score_points(data.truth.part(rows), points)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a file of predicted joints.

        Args:
            annotations: The data folder, its ``annot`` folder, or in there ``gt_valid.mat`` or
                ``valid.json``. Results are by image where the JSON file with the images' names
                lies beside the .mat file, by person otherwise.
            predictions: A .npz, .npy or .mat file with ``preds`` (P, 16, 2): pixels counted from 1
                as in MPII and in the ``pred.mat`` that HRNet's code writes.

        Raises:
            DataError: If a file is missing or cannot be used, or if the two do not fit.
        """
        truth = read_truth_beside(annotations, self.val_split)
        return score_points(truth, read_points(predictions, truth))

    def write_predictions(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> None:
        """Writes joints as a .npz or .mat file with ``preds`` and ``scores``.

        Raises:
            DataError: If an image could not be read: the file has a row for everyone.
            BranchworkError: If the file's name ends in something else.
        """
        if data.skipped:
            raise DataError(
                Problem(
                    where=str(out),
                    rule="a file of predicted joints has a row for everyone",
                    got=f"{len(data.skipped)} unreadable images, the first: {data.skipped[0]}",
                    do="restore the images",
                )
            )
        _, points, scores = _points(data, predictions)
        write_points(out, points, scores)

    def diagnose(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every joint, errors measured in head sizes."""
        del results
        assert isinstance(data, KeypointData)
        assert isinstance(data.truth, PckTruth), "the training split has no sizes of heads"
        rows, points, _ = _points(data, predictions)
        return diagnose_points(data.truth.part(rows), points)

    def diagnose_files(
        self, annotations: Path, predictions: Path, results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every joint of a file, errors measured in head sizes.

        Without the JSON file beside the truth nobody is known to be in one image with somebody
        else, and there are no swaps.
        """
        del results
        truth = read_truth_beside(annotations, self.val_split)
        return diagnose_points(truth, read_points(predictions, truth))

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        return super().evaluation() | {"similarity": "head size"}


def _subjects(split: MpiiSplit, size: ImageSize) -> tuple[Mapping[int, ImageFile], list[Subject]]:
    """Returns the images by number, and everyone in them."""
    numbers = {name: number for number, name in enumerate(_unique(split.people))}
    images = {
        number: ImageFile.of_header(split.image_folder / name, name)
        for name, number in numbers.items()
    }
    shape = max(1.0, size.width / size.height)
    subjects = []
    for row, one in enumerate(split.people):
        scale, (x_px, y_px) = one["scale"], one["center"]
        joints = np.zeros((len(MPII_JOINTS), 3))
        joints[:, :2] = np.array(one["joints"], dtype=np.float64) - _FIRST_PIXEL
        joints[:, 2] = np.array(one["joints_vis"], dtype=np.float64) > 0
        crop = Crop(
            x_px=x_px - _FIRST_PIXEL,
            y_px=y_px + _DOWN_PER_SCALE * scale - _FIRST_PIXEL,
            width_px=_GROWTH * _UNIT_PX * scale * shape,
        )
        subjects.append(
            Subject(
                image_id=numbers[one["image"]],
                annotation_id=row,
                category_id=1,
                crop=crop,
                joints=joints,
            )
        )
    return images, subjects


def _unique(people: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(one["image"] for one in people))


def _points(
    data: TaskData, predictions: Sequence[dict[str, Any]]
) -> tuple[np.ndarray[Any, np.dtype[np.intp]], FloatArray, FloatArray]:
    """Returns the rows of people, their joints counted from 1, and the joints' scores."""
    rows = np.array([made["annotation_id"] for made in predictions], dtype=np.intp)
    order = np.argsort(rows, kind="stable")
    if len(rows) != len(data) or len(np.unique(rows)) != len(rows):
        raise DataError(
            Problem(
                where="predictions",
                rule="everyone in the split has one prediction",
                got=f"{len(rows)} predictions for {len(data)} people",
                do="score them on the split that they were made on",
            )
        )
    numbers = np.array([made["keypoints"] for made in predictions], dtype=np.float64)
    numbers = numbers.reshape(len(rows), len(MPII_JOINTS), 3)[order]
    return rows[order], numbers[..., :2] + _FIRST_PIXEL, numbers[..., 2]
