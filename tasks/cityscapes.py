"""Semantic segmentation of street scenes on Cityscapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from torch import Tensor

from blocks import BranchworkError, ImageSize, Problem, did_you_mean

from ._batch import Batch
from ._cityscapes_files import (
    CITYSCAPES_LABELS,
    IMAGE_END,
    find_true_labels,
    frame_name,
    read_city_frames,
)
from ._label_sets import LabelSet
from ._outputs import CITYSCAPES_CLASSES
from ._palettes import CITYSCAPES_PALETTE, Palette
from ._results import ImageResults
from ._segmentation import (
    find_label_files,
    pixel_cross_entropy,
    score_label_files,
    write_label_archive,
)
from ._segmentation_data import Inference
from ._segmentation_task import SegmentationTask
from ._task import Role, TaskData, data_folder, register_task

_SECRET_SPLIT = "test"  # noqa: S105 - a name

# HRNet's published weights, by train id: rarer classes count a little more.
_CLASS_WEIGHTS = (
    *(0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023),
    *(0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507),
)


@register_task("cityscapes")
@dataclass(frozen=True, kw_only=True)
class Cityscapes(SegmentationTask):
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
        class_weights: Whether the loss weighs classes as HRNet's published training does.
        hard_pixels: Whether only pixels count in the loss whose true class gets less than 0.7,
            or the hardest sixteenth (online hard example mining).
    """

    outputs: ClassVar[tuple[str, ...]] = CITYSCAPES_CLASSES
    default_input: ClassVar[ImageSize] = ImageSize(512, 1024)
    labels: ClassVar[LabelSet] = CITYSCAPES_LABELS
    palette: ClassVar[Palette] = CITYSCAPES_PALETTE
    prediction_end: ClassVar[str] = "_pred"

    train_split: str = "train"
    val_split: str = "val"
    inference: Inference = "fit"
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
                    where=f"{self.name}.inference",
                    rule=f"the option is one of {', '.join(get_args(Inference))}",
                    got=repr(self.inference),
                    do=did_you_mean(self.inference, get_args(Inference)),
                )
            )

    @property
    def shown(self) -> Inference:
        """How frames are shown when they are scored."""
        return self.inference

    @property
    def loss_name(self) -> str:
        """What the loss is called in a protocol."""
        weights = ", class weights" if self.class_weights else ""
        hard = ", hard pixels" if self.hard_pixels else ""
        return f"{super().loss_name}{weights}{hard}"

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        If the decoded images fit 1 GiB, all are decoded now and stay in memory, and every broken
        file is found; otherwise only the files' ends are looked at.

        Raises:
            DataError: If the folder, the images or the label images cannot be used.
        """
        name = self.train_split if split == "train" else self.val_split
        folder = data_folder(data, self.name)
        frames = read_city_frames(folder, name, labelled=name != _SECRET_SPLIT)
        return self.opened(name, frames, size)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns the cross entropy over the pixels that are of a class.

        Shape:
            (N, C, H/s, W/s) -> ().
        """
        weights = _CLASS_WEIGHTS if self.class_weights else ()
        return pixel_cross_entropy(
            outputs, batch, class_weights=weights, hard_only=self.hard_pixels
        )

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
            {name: (path, made[name]) for name, path in true.items()}, self.labels
        )

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
