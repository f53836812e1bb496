"""Semantic segmentation of street scenes on CamVid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from blocks import ImageSize

from ._batch import Batch
from ._camvid_files import image_name, read_pairs, true_label_files
from ._diagnosis import Diagnosis
from ._drawing import draw_classes, draw_legend
from ._frames import FrameVariation
from ._images import ByteImage
from ._keypoints import folder_of
from ._label_sets import enumerated
from ._outputs import CAMVID_CLASSES, num_outputs_of
from ._palettes import CAMVID_PALETTE
from ._pictures import Picture
from ._results import ImageResults
from ._segmentation import (
    find_label_files,
    pixel_cross_entropy,
    predict_labels,
    score_label_files,
    score_predictions,
    segmentation_evaluation,
    write_label_files,
)
from ._segmentation_data import SegmentationData
from ._segmentation_errors import SegmentationErrors
from ._segmentation_pictures import labels_of_picture, open_frames_of_pictures
from ._segmentation_results import SegmentationResults
from ._task import Role, Task, TaskData, register_task

_NAME = "camvid"
_LABELS = enumerated(CAMVID_CLASSES)
_VARIATION = FrameVariation()


@register_task(_NAME)
@dataclass(frozen=True, kw_only=True)
class CamVid(Task):
    """The 11 classes of CamVid as SegNet's authors prepared it: frames of 360x480.

    The data folder holds ``SPLIT.txt``, or else ``SPLIT/`` and ``SPLITannot/``. Frames are scaled
    to fit the input and padded with the mean colour: at 384x480 they keep their size. Scores are
    on the original pixels, padding and label 11 (unlabelled) excluded.

    Attributes:
        train_split: The split to learn from.
        val_split: The split to be scored on.
        flip_test: Whether predictions average the image and its mirror image.
    """

    metric: ClassVar[str] = "mIoU"
    results: ClassVar[type[ImageResults]] = SegmentationResults
    default_input: ClassVar[ImageSize] = ImageSize(384, 480)
    stride: ClassVar[int | None] = None
    boxed: ClassVar[bool] = False

    train_split: str = "train"
    val_split: str = "val"
    flip_test: bool = False

    @property
    def num_outputs(self) -> int:
        """11: CamVid's classes."""
        return num_outputs_of(_NAME)

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split; all frames are decoded now, and every broken file is found.

        Raises:
            DataError: If the folder, the images or the label images cannot be used.
        """
        name = self.train_split if split == "train" else self.val_split
        return SegmentationData(
            name=f"{_NAME} {name}",
            frames=read_pairs(folder_of(data, _NAME), name, _LABELS),
            labels=_LABELS,
            size=size,
            inference="fit",
            variation=_VARIATION,
        )

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns the cross entropy over the pixels that are of a class."""
        return pixel_cross_entropy(outputs, batch)

    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Returns one label image a frame, in the frame's own size, as a PNG."""
        return predict_labels(module, batch, _LABELS, flip_test=self.flip_test)

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions on all pixels of every frame.

        Raises:
            DataError: If the predictions are not one a frame.
        """
        return score_predictions(data, predictions)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a folder of predicted label images.

        Args:
            annotations: The data folder, or the folder of the true label images.
            predictions: A folder in which, at any depth, there is one PNG of labels for every
                true label image, of the same name; ``_pred`` may follow it.

        Raises:
            DataError: If a file is missing or cannot be used.
        """
        true = true_label_files(annotations, self.val_split, _LABELS)
        made = find_label_files(predictions, list(true), image_name)
        return score_label_files({name: (path, made[name]) for name, path in true.items()}, _LABELS)

    def write_predictions(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> None:
        """Writes the predictions of a split into a folder, one PNG of labels for every image.

        Raises:
            BranchworkError: If the folder cannot be written.
        """
        del data
        write_label_files(predictions, out, "")

    def diagnose(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every class."""
        del data, predictions
        return SegmentationErrors.of(results)

    def diagnose_files(
        self, annotations: Path, predictions: Path, results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every class in a folder of label images."""
        del annotations, predictions
        return SegmentationErrors.of(results)

    def open_pictures(self, pictures: Sequence[Picture], size: ImageSize) -> TaskData:
        """Opens images without labels.

        Raises:
            DataError: If no image can be read, or if one has boxes.
        """
        return open_frames_of_pictures(pictures, size, _LABELS, "fit")

    def overlay(self, pixels: ByteImage, predictions: Sequence[dict[str, Any]]) -> ByteImage:
        """Blends an image with the colours of its classes."""
        (made,) = predictions
        return draw_classes(pixels, made["labels_png"], _LABELS, CAMVID_PALETTE)

    def legend(self) -> ByteImage:
        """Returns the classes' colours."""
        return draw_legend(_LABELS.class_names, CAMVID_PALETTE)

    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Writes the label image, and returns its name and how much of each class is in it."""
        return labels_of_picture(picture, predictions, _LABELS, folder)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        return segmentation_evaluation(
            inference="fit", flip_test=self.flip_test, variation=_VARIATION, loss="cross_entropy"
        )
