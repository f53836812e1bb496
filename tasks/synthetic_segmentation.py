"""Semantic segmentation of synthetic street scenes that Branchwork renders itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from blocks import ImageSize

from ._camvid_files import pair_label_files, read_pairs
from ._frames import FrameVariation
from ._label_sets import LabelSet, enumerated
from ._outputs import STREET_CLASSES
from ._palettes import STREET_PALETTE, Palette
from ._rendered_sets import open_rendered
from ._results import ImageResults
from ._segmentation import score_label_files
from ._segmentation_task import SegmentationTask
from ._street_files import StreetSet
from ._task import Role, TaskData, register_task


@register_task("synthetic_segmentation")
@dataclass(frozen=True, kw_only=True)
class SyntheticSegmentation(SegmentationTask):
    """Synthetic street scenes: a small data set that every machine can render.

    A road in perspective with houses, trees, poles, cars and people, 96x128 pixels, 8 classes and
    some things that count for nothing. Everything after the files is that of ``camvid``. It is
    made for comparing networks after a minute or two of training, and its scores say nothing
    about photographs.

    Attributes:
        num_train: Number of scenes to learn from.
        num_val: Number of scenes to be scored on.
        seed: Seed of the data set, not of the training.
    """

    outputs: ClassVar[tuple[str, ...]] = STREET_CLASSES
    default_input: ClassVar[ImageSize] = ImageSize(96, 128)
    labels: ClassVar[LabelSet] = enumerated(STREET_CLASSES)
    palette: ClassVar[Palette] = STREET_PALETTE
    # Milder than for photographs: the scenes are drawn in all lights, and none is seen from afar.
    variation: ClassVar[FrameVariation] = FrameVariation(
        smallest_scale=0.8, largest_scale=1.5, contrast=0.1, brightness=0.1
    )

    num_train: int = 800
    num_val: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            BranchworkError: If a number is too small.
        """
        self._which()

    def _which(self) -> StreetSet:
        return StreetSet(num_train=self.num_train, num_val=self.num_val, seed=self.seed)

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
        return open_rendered(
            self._which(),
            data,
            lambda folder: self.opened(split, read_pairs(folder, split, self.labels), size),
        )

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a folder of predicted label images.

        Args:
            annotations: The data set's own folder, or the folder of the true label images.
            predictions: A folder in which, at any depth, there is one PNG of labels for every
                true label image, of the same name; ``_pred`` may follow it.

        Raises:
            DataError: If a file is missing or cannot be used.
        """
        pairs = pair_label_files(annotations, predictions, "val", self.labels)
        return score_label_files(pairs, self.labels)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        return super().evaluation() | {"renderer_revision": StreetSet.revision}
