"""Semantic segmentation of street scenes on CamVid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from blocks import ImageSize

from ._camvid_files import pair_label_files, read_pairs
from ._label_sets import LabelSet, enumerated
from ._outputs import CAMVID_CLASSES
from ._palettes import CAMVID_PALETTE, Palette
from ._results import ImageResults
from ._segmentation import score_label_files
from ._segmentation_task import SegmentationTask
from ._task import Role, TaskData, data_folder, register_task


@register_task("camvid")
@dataclass(frozen=True, kw_only=True)
class CamVid(SegmentationTask):
    """The 11 classes of CamVid as SegNet's authors prepared it: frames of 360x480.

    The data folder holds ``SPLIT.txt``, or else ``SPLIT/`` and ``SPLITannot/``. Frames are scaled
    to fit the input and padded with the mean colour: at 384x480 they keep their size. Scores are
    on the original pixels, padding and label 11 (unlabelled) excluded.

    Attributes:
        train_split: The split to learn from.
        val_split: The split to be scored on.
    """

    outputs: ClassVar[tuple[str, ...]] = CAMVID_CLASSES
    # The frames have 360 rows, which the coarsest stride does not divide.
    default_input: ClassVar[ImageSize] = ImageSize(384, 480)
    labels: ClassVar[LabelSet] = enumerated(CAMVID_CLASSES)
    palette: ClassVar[Palette] = CAMVID_PALETTE

    train_split: str = "train"
    val_split: str = "val"

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split; all frames are decoded now, and every broken file is found.

        Raises:
            DataError: If the folder, the images or the label images cannot be used.
        """
        name = self.train_split if split == "train" else self.val_split
        return self.opened(name, read_pairs(data_folder(data, self.name), name, self.labels), size)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a folder of predicted label images.

        Args:
            annotations: The data folder, or the folder of the true label images.
            predictions: A folder in which, at any depth, there is one PNG of labels for every
                true label image, of the same name; ``_pred`` may follow it.

        Raises:
            DataError: If a file is missing or cannot be used.
        """
        pairs = pair_label_files(annotations, predictions, self.val_split, self.labels)
        return score_label_files(pairs, self.labels)
