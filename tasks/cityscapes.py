"""Semantic segmentation of street scenes on Cityscapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from torch import Tensor, nn

from blocks import BranchworkError, ImageSize, Problem, did_you_mean

from ._batch import Batch
from ._cityscapes_files import (
    CITYSCAPES_LABELS,
    IMAGE_END,
    find_true_labels,
    frame_name,
    read_city_frames,
)
from ._diagnosis import Diagnosis
from ._drawing import draw_classes, draw_legend
from ._frames import FrameVariation
from ._images import ByteImage
from ._keypoints import folder_of
from ._outputs import num_outputs_of
from ._palettes import CITYSCAPES_PALETTE
from ._pictures import Picture
from ._results import ImageResults
from ._segmentation import (
    find_label_files,
    pixel_cross_entropy,
    predict_labels,
    score_label_files,
    score_predictions,
    segmentation_evaluation,
    write_label_archive,
    write_label_files,
)
from ._segmentation_data import Inference, SegmentationData
from ._segmentation_errors import SegmentationErrors
from ._segmentation_pictures import labels_of_picture, open_frames_of_pictures
from ._segmentation_results import SegmentationResults
from ._task import Role, Task, TaskData, register_task

_NAME = "cityscapes"
_SECRET_SPLIT = "test"  # noqa: S105 - a name
_VARIATION = FrameVariation()

# HRNet's published weights, by train id: rarer classes count a little more.
_CLASS_WEIGHTS = (
    *(0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023),
    *(0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507),
)


@register_task(_NAME)
@dataclass(frozen=True, kw_only=True)
class Cityscapes(Task):
    """The 19 classes of Cityscapes, or of any data in its layout.

    The data folder holds ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` and
    ``gtFine/SPLIT/CITY/*_gtFine_labelIds.png``. Networks learn from random scales (0.5 to 2),
    crops of the input size and mirror images; scores are on the original pixels, whatever the
    network was shown, and exactly those of the official script.

    Attributes:
        train_split: The split to learn from.
        val_split: The split to be scored on; ``test`` is opened without labels.
        inference: ``fit``: frames are scaled to fit the input, which at 512x1024 is the
            half-resolution protocol. ``whole``: frames are shown in their own size, 1024x2048,
            whatever the input is. ``sliding``: so too, in windows of the input's size that
            overlap by a third. Training views are relative to the same scale.
        flip_test: Whether predictions average the image and its mirror image.
        class_weights: Whether the loss weighs classes as HRNet's published training does.
        hard_pixels: Whether only pixels count in the loss whose true class gets less than 0.7,
            or the hardest sixteenth (online hard example mining).
    """

    metric: ClassVar[str] = "mIoU"
    results: ClassVar[type[ImageResults]] = SegmentationResults
    default_input: ClassVar[ImageSize] = ImageSize(512, 1024)
    stride: ClassVar[int | None] = None
    boxed: ClassVar[bool] = False

    train_split: str = "train"
    val_split: str = "val"
    inference: Inference = "fit"
    flip_test: bool = False
    class_weights: bool = False
    hard_pixels: bool = False

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            BranchworkError: If there is no such way of inference.
        """
        if self.inference not in get_args(Inference):
            raise BranchworkError(
                Problem(
                    where=f"{_NAME}.inference",
                    rule=f"the option is one of {', '.join(get_args(Inference))}",
                    got=repr(self.inference),
                    do=did_you_mean(self.inference, get_args(Inference)),
                )
            )

    @property
    def num_outputs(self) -> int:
        """19: Cityscapes' train ids."""
        return num_outputs_of(_NAME)

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        If the decoded images fit 1 GiB, all are decoded now and stay in memory, and every broken
        file is found; otherwise only the files' ends are looked at.

        Raises:
            DataError: If the folder, the images or the label images cannot be used.
        """
        name = self.train_split if split == "train" else self.val_split
        labelled = name != _SECRET_SPLIT
        return SegmentationData(
            name=f"{_NAME} {name}",
            frames=read_city_frames(folder_of(data, _NAME), name, labelled=labelled),
            labels=CITYSCAPES_LABELS,
            size=size,
            inference=self.inference,
            variation=_VARIATION,
        )

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns the cross entropy over the pixels that are of a class."""
        weights = _CLASS_WEIGHTS if self.class_weights else ()
        return pixel_cross_entropy(
            outputs, batch, class_weights=weights, hard_only=self.hard_pixels
        )

    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Returns one label image a frame: label ids, in the frame's own size, as a PNG."""
        return predict_labels(module, batch, CITYSCAPES_LABELS, flip_test=self.flip_test)

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions on all pixels of every frame.

        Raises:
            DataError: If the predictions are not one a frame.
        """
        return score_predictions(data, predictions)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a folder of predicted label images, as the official script does.

        Args:
            annotations: The data folder, its ``gtFine``, or a split's folder in there.
            predictions: A folder in which, at any depth, one PNG of label ids (not train ids)
                for every frame has a name that begins with CITY_SEQUENCE_FRAME.

        Raises:
            DataError: If a file is missing or cannot be used.
        """
        true = find_true_labels(annotations, self.val_split)
        made = find_label_files(predictions, list(true), frame_name)
        return score_label_files(
            {name: (path, made[name]) for name, path in true.items()}, CITYSCAPES_LABELS
        )

    def write_predictions(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> None:
        """Writes the predictions of a split into a folder, one PNG of label ids for every frame.

        Raises:
            BranchworkError: If the folder cannot be written.
        """
        del data
        write_label_files(predictions, out, "_pred")

    def write_submission(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> Path:
        """Writes the ZIP archive that the server of Cityscapes takes.

        It holds label ids (not train ids) in the frames' own size, under the images' own names:
        the server goes by CITY_SEQUENCE_FRAME, with which they begin.

        Args:
            data: The split.
            predictions: One a frame.
            out: The archive; ``.zip`` is added where it is missing.

        Raises:
            BranchworkError: If it cannot be written.
        """
        del data
        archive = out if out.suffix == ".zip" else out.with_name(f"{out.name}.zip")
        write_label_archive(predictions, archive, IMAGE_END)
        return archive

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
        return open_frames_of_pictures(pictures, size, CITYSCAPES_LABELS, self.inference)

    def overlay(self, pixels: ByteImage, predictions: Sequence[dict[str, Any]]) -> ByteImage:
        """Blends an image with the colours of its classes."""
        (made,) = predictions
        return draw_classes(pixels, made["labels_png"], CITYSCAPES_LABELS, CITYSCAPES_PALETTE)

    def legend(self) -> ByteImage:
        """Returns the classes' colours."""
        return draw_legend(CITYSCAPES_LABELS.class_names, CITYSCAPES_PALETTE)

    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Writes the label image, and returns its name and how much of each class is in it."""
        return labels_of_picture(picture, predictions, CITYSCAPES_LABELS, folder)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        loss = "cross_entropy"
        loss += ", class weights" if self.class_weights else ""
        loss += ", hard pixels" if self.hard_pixels else ""
        return segmentation_evaluation(
            inference=self.inference, flip_test=self.flip_test, variation=_VARIATION, loss=loss
        )
