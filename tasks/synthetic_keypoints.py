"""Key points of synthetic people that Branchwork renders itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from blocks import BranchworkError, DataError, ImageSize, Problem

from ._augmentation import Augmentation
from ._batch import Batch
from ._coco_files import read_split
from ._keypoints import (
    KeypointData,
    joints_mse,
    keypoint_evaluation,
    open_keypoints,
    predict_keypoints,
    score_predictions,
)
from ._outputs import num_outputs_of
from ._results import ImageResults
from ._synthetic_files import (
    SyntheticSet,
    cache_folder,
    distrust,
    ensure_rendered,
    version_of,
)
from ._synthetic_scenes import RENDERER_REVISION
from ._task import Role, Task, TaskData, register_task

_NAME = "synthetic_keypoints"
# Milder than COCO's: the people are already drawn in all sizes, and none is upside down.
_AUGMENTATION = Augmentation(scale=0.1, rotation_deg=10.0)


@register_task(_NAME)
@dataclass(frozen=True, kw_only=True)
class SyntheticKeypoints(Task):
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
        flip_test: Whether predictions average the image and its mirror image.
    """

    metric: ClassVar[str] = "AP"
    default_input: ClassVar[ImageSize] = ImageSize(96, 64)

    num_train: int = 2400
    num_val: int = 400
    seed: int = 0
    flip_test: bool = True

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
        """17: COCO's key points."""
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
            BranchworkError: If the size is not a multiple of 4.
        """
        which = SyntheticSet(num_train=self.num_train, num_val=self.num_val, seed=self.seed)
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
        settings = keypoint_evaluation(flip_test=self.flip_test, augmentation=_AUGMENTATION)
        return settings | {"renderer_revision": RENDERER_REVISION}


def _read(folder: Path, split: Role, size: ImageSize) -> KeypointData:
    return open_keypoints(_NAME, read_split(folder, split), size, _AUGMENTATION)
