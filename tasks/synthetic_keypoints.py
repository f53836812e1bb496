"""Key points of synthetic people that Branchwork renders itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from blocks import ImageSize

from ._augmentation import Augmentation
from ._coco_files import read_split
from ._coco_people import open_people
from ._coco_task import CocoFormTask
from ._outputs import COCO_JOINTS
from ._rendered_sets import open_rendered
from ._skeletons import COCO_SKELETON, Skeleton
from ._synthetic_files import SyntheticSet
from ._task import Role, TaskData, register_task


@register_task("synthetic_keypoints")
@dataclass(frozen=True, kw_only=True)
class SyntheticKeypoints(CocoFormTask):
    """Key points of synthetic people: a small data set that every machine can render.

    Cartoon people of 17 COCO joints in random poses, clothes and views, 160x128 pixels, partly
    hidden, cut off or next to someone else; only face and hair tell left from right. Everything
    after the files is that of ``coco_keypoints``. It is made for comparing networks after a
    minute or two of training (96x64, or 128x96 for longer runs), and its scores say nothing
    about real people.

    Attributes:
        num_train: Number of people to learn from.
        num_val: Number of people to be scored on.
        seed: Seed of the data set, not of the training.
    """

    outputs: ClassVar[tuple[str, ...]] = COCO_JOINTS
    default_input: ClassVar[ImageSize] = ImageSize(96, 64)
    skeleton: ClassVar[Skeleton] = COCO_SKELETON
    # Milder than COCO's: the people are already drawn in all sizes, and none is upside down.
    augmentation: ClassVar[Augmentation] = Augmentation(scale=0.1, rotation_deg=10.0)

    num_train: int = 2400
    num_val: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            BranchworkError: If a number is too small, or if there is no such decoding.
        """
        super().__post_init__()
        self._which()

    def _which(self) -> SyntheticSet:
        return SyntheticSet(num_train=self.num_train, num_val=self.num_val, seed=self.seed)

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split, rendering the data set on first use (some seconds).

        Args:
            data: A folder to keep the data set in; None for the cache folder, that is
                ``BRANCHWORK_CACHE`` or ``~/.cache/branchwork``.
            split: Which split.
            size: The network's input size.

        Raises:
            DataError: If the folder cannot be written.
            BranchworkError: If the size is not a multiple of 4.
        """
        return open_rendered(
            self._which(),
            data,
            lambda folder: open_people(
                self.name, read_split(folder, split), size, self.augmentation
            ),
        )

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        return super().evaluation() | {"renderer_revision": SyntheticSet.revision}
