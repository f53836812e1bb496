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
from ._coco_people import (
    diagnose_people,
    diagnose_people_files,
    open_people,
    score_people,
    score_people_files,
    write_people,
)
from ._diagnosis import Diagnosis
from ._drawing import draw_people
from ._images import ByteImage
from ._keypoint_pictures import open_people_in_pictures, people_of_picture
from ._keypoints import KeypointData, joints_mse, keypoint_evaluation, predict_keypoints
from ._oks import KeypointResults
from ._outputs import COCO_JOINTS, num_outputs_of
from ._pictures import Picture
from ._rendered_sets import cache_folder, distrust, ensure_rendered, version_of
from ._results import ImageResults
from ._skeletons import COCO_SKELETON
from ._synthetic_files import SyntheticSet
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
    results: ClassVar[type[ImageResults]] = KeypointResults
    prediction_suffixes: ClassVar[tuple[str, ...]] = (".json",)
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
        return score_people(data, predictions)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a file in COCO's results form.

        Args:
            annotations: The data set's ``annotations/person_keypoints_val.json``.
            predictions: A JSON list of image_id, category_id, 51 numbers in keypoints and score.

        Raises:
            DataError: If a file is missing or cannot be used, or if the two do not fit.
        """
        return score_people_files(annotations, predictions)

    def write_predictions(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> None:
        """Writes predictions in COCO's results form.

        Raises:
            BranchworkError: If the file's name does not end in ``.json``.
        """
        del data
        write_people(predictions, out)

    def diagnose(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every key point: jitter, inversion, swap or miss."""
        del results
        return diagnose_people(data, predictions)

    def diagnose_files(
        self, annotations: Path, predictions: Path, results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every key point of a file in COCO's results form."""
        del results
        return diagnose_people_files(annotations, predictions)

    def open_pictures(self, pictures: Sequence[Picture], size: ImageSize) -> TaskData:
        """Opens the people in pictures, in their boxes as they are.

        Raises:
            DataError: If no image can be read.
            BranchworkError: If the size is not a multiple of 4.
        """
        return open_people_in_pictures(pictures, size, COCO_JOINTS)

    def overlay(self, pixels: ByteImage, predictions: Sequence[dict[str, Any]]) -> ByteImage:
        """Draws people's skeletons: their left blue, their right orange."""
        return draw_people(pixels, predictions, COCO_SKELETON)

    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Returns the people of a picture in COCO's results form."""
        del folder
        return people_of_picture(picture, predictions)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        settings = keypoint_evaluation(flip_test=self.flip_test, augmentation=_AUGMENTATION)
        return settings | {"renderer_revision": RENDERER_REVISION}


def _read(folder: Path, split: Role, size: ImageSize) -> KeypointData:
    return open_people(_NAME, read_split(folder, split), size, _AUGMENTATION)
