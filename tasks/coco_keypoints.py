"""Key points of people in COCO's annotation format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from blocks import ImageSize

from ._augmentation import Augmentation
from ._batch import Batch
from ._coco_files import read_split
from ._keypoints import (
    folder_of,
    joints_mse,
    keypoint_evaluation,
    open_keypoints,
    predict_keypoints,
    score_predictions,
)
from ._outputs import num_outputs_of
from ._results import ImageResults
from ._task import Role, Task, TaskData, register_task

_NAME = "coco_keypoints"
_AUGMENTATION = Augmentation()


@register_task(_NAME)
@dataclass(frozen=True, kw_only=True)
class CocoKeypoints(Task):
    """Top-down key points of people, on COCO or any data in its format.

    One person a crop, 17 heat maps, trained and scored as in HRNet (Sun et al., *Deep
    High-Resolution Representation Learning for Human Pose Estimation*, CVPR 2019), with the
    annotations' own boxes. The data folder holds ``annotations/person_keypoints_SPLIT.json`` and
    the images in ``SPLIT/`` or ``images/SPLIT/``.

    Attributes:
        train_split: The split to learn from.
        val_split: The split to be scored on.
        flip_test: Whether predictions average the image and its mirror image.
    """

    metric: ClassVar[str] = "AP"
    default_input: ClassVar[ImageSize] = ImageSize(256, 192)

    train_split: str = "train2017"
    val_split: str = "val2017"
    flip_test: bool = True

    @property
    def num_outputs(self) -> int:
        """17: COCO's key points."""
        return num_outputs_of(_NAME)

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        If the decoded images fit 1 GiB, all are decoded now and stay in memory, and every broken
        file is found; otherwise only the files' ends are looked at.

        Raises:
            DataError: If the folder, the annotation file or the images cannot be used.
            BranchworkError: If the size is not a multiple of 4.
        """
        name = self.train_split if split == "train" else self.val_split
        return open_keypoints(_NAME, read_split(folder_of(data, _NAME), name), size, _AUGMENTATION)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns half the squared error of the heat maps, a mean over everything."""
        return joints_mse(outputs, batch)

    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Returns one prediction a person, in COCO's results form and with its annotation id."""
        return predict_keypoints(module, batch, flip_test=self.flip_test)

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions by COCO's key-point AP.

        Raises:
            DataError: If a prediction is for an image that the split does not have.
        """
        return score_predictions(data, predictions)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        return keypoint_evaluation(flip_test=self.flip_test, augmentation=_AUGMENTATION)
