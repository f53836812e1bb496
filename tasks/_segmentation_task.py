"""What all segmentation tasks share: whole frames, a class for every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from blocks import ImageSize

from ._batch import Batch
from ._diagnosis import Diagnosis
from ._drawing import draw_classes, draw_legend
from ._frames import Frame, FrameVariation
from ._images import ByteImage
from ._label_sets import LabelSet
from ._palettes import Palette
from ._pictures import Picture
from ._results import ImageResults
from ._segmentation import (
    pixel_cross_entropy,
    predict_labels,
    score_predictions,
    write_label_files,
)
from ._segmentation_data import Inference, SegmentationData
from ._segmentation_errors import SegmentationErrors
from ._segmentation_pictures import labels_of_picture, open_frames_of_pictures
from ._segmentation_results import SegmentationResults
from ._task import Task, TaskData


@dataclass(frozen=True, kw_only=True)
class SegmentationTask(Task):
    """A class for every pixel of a frame; ``outputs`` are the classes.

    Attributes:
        flip_test: Whether predictions average the image and its mirror image.
    """

    metric: ClassVar[str] = SegmentationResults.headline
    results: ClassVar[type[ImageResults]] = SegmentationResults
    stride: ClassVar[int | None] = None
    boxed: ClassVar[bool] = False

    labels: ClassVar[LabelSet]
    """The ids of label images, true and predicted."""

    palette: ClassVar[Palette]
    """The classes' colours."""

    variation: ClassVar[FrameVariation] = FrameVariation()
    """How training views are varied."""

    prediction_end: ClassVar[str] = ""
    """What follows the image's name in the name of a file of predicted labels."""

    flip_test: bool = False

    @property
    def shown(self) -> Inference:
        """How frames are shown when they are scored: scaled to fit the input, by default."""
        return "fit"

    @property
    def loss_name(self) -> str:
        """What the loss is called in a protocol."""
        return "cross_entropy"

    def opened(self, split: str, frames: Sequence[Frame], size: ImageSize) -> SegmentationData:
        """Opens the frames of a split.

        Args:
            split: The split's name.
            frames: Its frames, by name.
            size: The network's input size.

        Raises:
            DataError: If the images or the label images cannot be used.
        """
        return SegmentationData(
            name=f"{self.name} {split}",
            frames=frames,
            labels=self.labels,
            size=size,
            inference=self.shown,
            variation=self.variation,
        )

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns the cross entropy over the pixels that are of a class.

        Shape:
            (N, C, H/s, W/s) -> ().
        """
        return pixel_cross_entropy(outputs, batch)

    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Returns one label image a frame, in the frame's own size, as a PNG."""
        return predict_labels(module, batch, self.labels, flip_test=self.flip_test)

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions on all pixels of every frame.

        Raises:
            DataError: If the predictions are not one a frame.
        """
        return score_predictions(data, predictions)

    def write_predictions(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> None:
        """Writes the predictions of a split into a folder, one PNG of labels for every image.

        Raises:
            BranchworkError: If the folder cannot be written.
        """
        del data
        write_label_files(predictions, out, self.prediction_end)

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
        return open_frames_of_pictures(pictures, size, self.labels, self.shown)

    def overlay(self, pixels: ByteImage, predictions: Sequence[dict[str, Any]]) -> ByteImage:
        """Blends an image with the colours of its classes.

        Shape:
            (H, W, 3) in and out.
        """
        (made,) = predictions
        return draw_classes(pixels, made["labels_png"], self.labels, self.palette)

    def legend(self) -> ByteImage:
        """Returns the classes' colours."""
        return draw_legend(self.labels.class_names, self.palette)

    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Writes the label image, and returns its name and how much of each class is in it."""
        return labels_of_picture(picture, predictions, self.labels, folder)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        return {
            "metric": self.metric,
            "pixels": "original",
            "inference": self.shown,
            "flip_test": self.flip_test,
            "upsampling": "bilinear, corners not aligned",
            "loss": self.loss_name,
            "augmentation": {
                "scale": [self.variation.smallest_scale, self.variation.largest_scale],
                "mirror_probability": self.variation.mirror_probability,
                "contrast": self.variation.contrast,
                "brightness": self.variation.brightness,
            },
        }
