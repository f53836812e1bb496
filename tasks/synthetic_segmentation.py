"""Semantic segmentation of synthetic street scenes that Branchwork renders itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from blocks import BranchworkError, DataError, ImageSize, Problem

from ._batch import Batch
from ._camvid_files import image_name, read_pairs, true_label_files
from ._diagnosis import Diagnosis
from ._drawing import draw_classes, draw_legend
from ._frames import FrameVariation
from ._images import ByteImage
from ._label_sets import enumerated
from ._outputs import STREET_CLASSES, num_outputs_of
from ._palettes import STREET_PALETTE
from ._pictures import Picture
from ._rendered_sets import cache_folder, distrust, ensure_rendered, version_of
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
from ._street_files import StreetSet
from ._synthetic_streets import STREETS_REVISION
from ._task import Role, Task, TaskData, register_task

_NAME = "synthetic_segmentation"
_LABELS = enumerated(STREET_CLASSES)
# Milder than for photographs: the scenes are drawn in all lights, and none is seen from afar.
_VARIATION = FrameVariation(smallest_scale=0.8, largest_scale=1.5, contrast=0.1, brightness=0.1)


@register_task(_NAME)
@dataclass(frozen=True, kw_only=True)
class SyntheticSegmentation(Task):
    """Synthetic street scenes: a small data set that every machine can render.

    A road in perspective with houses, trees, poles, cars and people, 96x128 pixels, 8 classes and
    some things that count for nothing. Everything after the files is that of ``camvid``. It is
    made for comparing networks after a minute or two of training, and its scores say nothing
    about photographs.

    Attributes:
        num_train: Number of scenes to learn from.
        num_val: Number of scenes to be scored on.
        seed: Seed of the data set, not of the training.
        flip_test: Whether predictions average the image and its mirror image.
    """

    metric: ClassVar[str] = "mIoU"
    results: ClassVar[type[ImageResults]] = SegmentationResults
    default_input: ClassVar[ImageSize] = ImageSize(96, 128)
    stride: ClassVar[int | None] = None
    boxed: ClassVar[bool] = False

    num_train: int = 800
    num_val: int = 200
    seed: int = 0
    flip_test: bool = False

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            BranchworkError: If a number is too small.
        """
        least = {"num_train": 1, "num_val": 1, "seed": 0}
        problems = [
            Problem(
                where=f"{_NAME}.{option}",
                rule=f"the option must be at least {smallest}",
                got=str(getattr(self, option)),
                do=f"use {smallest} or more",
            )
            for option, smallest in least.items()
            if getattr(self, option) < smallest
        ]
        if problems:
            raise BranchworkError(problems)

    @property
    def num_outputs(self) -> int:
        """8: the classes of the scenes."""
        return num_outputs_of(_NAME)

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split, rendering the data set on first use (some seconds).

        Args:
            data: A folder to keep the data set in; None for the cache folder, that is
                ``BRANCHWORK_CACHE`` or ``~/.cache/branchwork``.
            split: Which split.
            size: The network's input size.

        Raises:
            DataError: If the folder cannot be written.
        """
        which = StreetSet(num_train=self.num_train, num_val=self.num_val, seed=self.seed)
        folder = ensure_rendered(which, cache_folder() if data is None else data)
        version = version_of(folder)
        try:
            opened = _read(folder, split, size)
        except DataError:
            opened = None
        if opened is None or opened.skipped:
            # All the bytes are there, but not as they were written.
            distrust(folder, version)
            opened = _read(ensure_rendered(which, folder.parent), split, size)
        return opened

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns the cross entropy over the pixels that are of a class."""
        return pixel_cross_entropy(outputs, batch)

    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Returns one label image a scene, in its own size, as a PNG."""
        return predict_labels(module, batch, _LABELS, flip_test=self.flip_test)

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions on all pixels of every scene.

        Raises:
            DataError: If the predictions are not one a scene.
        """
        return score_predictions(data, predictions)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a folder of predicted label images.

        Args:
            annotations: The data set's own folder, or the folder of the true label images.
            predictions: A folder in which, at any depth, there is one PNG of labels for every
                true label image, of the same name; ``_pred`` may follow it.

        Raises:
            DataError: If a file is missing or cannot be used.
        """
        true = true_label_files(annotations, "val", _LABELS)
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
        return draw_classes(pixels, made["labels_png"], _LABELS, STREET_PALETTE)

    def legend(self) -> ByteImage:
        """Returns the classes' colours."""
        return draw_legend(_LABELS.class_names, STREET_PALETTE)

    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Writes the label image, and returns its name and how much of each class is in it."""
        return labels_of_picture(picture, predictions, _LABELS, folder)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        settings = segmentation_evaluation(
            inference="fit", flip_test=self.flip_test, variation=_VARIATION, loss="cross_entropy"
        )
        return settings | {"renderer_revision": STREETS_REVISION}


def _read(folder: Path, split: Role, size: ImageSize) -> SegmentationData:
    return SegmentationData(
        name=f"{_NAME} {split}",
        frames=read_pairs(folder, split, _LABELS),
        labels=_LABELS,
        size=size,
        inference="fit",
        variation=_VARIATION,
    )
