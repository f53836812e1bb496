"""Key points of people in COCO's annotation format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from blocks import BranchworkError, ImageSize, Problem

from ._augmentation import Augmentation
from ._batch import Batch
from ._coco_files import read_split
from ._coco_people import (
    diagnose_people,
    diagnose_people_files,
    keep_best,
    open_people,
    score_people,
    score_people_files,
    write_people,
)
from ._coco_submission import write_coco_submission
from ._detections import read_boxes
from ._diagnosis import Diagnosis
from ._drawing import draw_people
from ._heatmaps import Decoding
from ._images import ByteImage
from ._keypoint_pictures import open_people_in_pictures, people_of_picture
from ._keypoints import (
    check_decoding,
    folder_of,
    joints_mse,
    keypoint_evaluation,
    predict_keypoints,
)
from ._oks import KeypointResults
from ._oks_suppression import KEEP_ALL
from ._outputs import COCO_JOINTS, num_outputs_of
from ._pictures import Picture
from ._results import ImageResults
from ._skeletons import COCO_SKELETON
from ._task import Role, Task, TaskData, register_task

_NAME = "coco_keypoints"
_AUGMENTATION = Augmentation()
_OWN_BOXES = "ground_truth"


@register_task(_NAME)
@dataclass(frozen=True, kw_only=True)
class CocoKeypoints(Task):
    """Top-down key points of people, on COCO or any data in its format.

    One person a crop, 17 heat maps, trained and scored as in HRNet (Sun et al., *Deep
    High-Resolution Representation Learning for Human Pose Estimation*, CVPR 2019). The data folder
    holds ``annotations/person_keypoints_SPLIT.json`` (``image_info_SPLIT.json`` where the labels
    are secret) and the images in ``SPLIT/`` or ``images/SPLIT/``. Predictions in a detector's
    boxes are scored by their own confidence times the box's, and published ones are suppressed
    with ``nms=0.9``.

    Attributes:
        train_split: The split to learn from, always with the annotations' boxes.
        val_split: The split to be scored on.
        flip_test: Whether predictions average the image and its mirror image.
        boxes: ``ground_truth`` for the annotations' boxes in the split to be scored on, or a
            detector's file: a path, or a name in the data folder or its
            ``person_detection_results``.
        box_score: A detector's boxes of lower confidence are left out.
        nms: The similarity above which the less confident of two predictions goes; 1 keeps all.
        decoding: ``quarter_offset`` (HRNet's) or ``dark``.
    """

    metric: ClassVar[str] = "AP"
    results: ClassVar[type[ImageResults]] = KeypointResults
    prediction_suffixes: ClassVar[tuple[str, ...]] = (".json",)
    default_input: ClassVar[ImageSize] = ImageSize(256, 192)

    train_split: str = "train2017"
    val_split: str = "val2017"
    flip_test: bool = True
    boxes: str = _OWN_BOXES
    box_score: float = 0.0
    nms: float = KEEP_ALL
    decoding: Decoding = "quarter_offset"

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            BranchworkError: If an option cannot be had.
        """
        check_decoding(_NAME, self.decoding)
        problems = [
            Problem(
                where=f"{_NAME}.{option}",
                rule="the option is a number from 0 to 1",
                got=str(getattr(self, option)),
                do=f"write {usual}, for example",
            )
            for option, usual in (("box_score", 0.2), ("nms", 0.9))
            if not 0 <= getattr(self, option) <= 1
        ]
        if problems:
            raise BranchworkError(problems)

    @property
    def num_outputs(self) -> int:
        """17: COCO's key points."""
        return num_outputs_of(_NAME)

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        If the decoded images fit 1 GiB, all are decoded now and stay in memory, and every broken
        file is found; otherwise only the files' ends are looked at.

        Raises:
            DataError: If the folder, the annotation file, the boxes or the images cannot be used.
            BranchworkError: If the size is not a multiple of 4.
        """
        folder = folder_of(data, _NAME)
        name = self.train_split if split == "train" else self.val_split
        coco = read_split(folder, name)
        found = None
        if split != "train" and self.boxes != _OWN_BOXES:
            found = read_boxes(self.boxes, folder, self.box_score)
        return open_people(_NAME, coco, size, _AUGMENTATION, boxes=found)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns half the squared error of the heat maps, a mean over everything."""
        return joints_mse(outputs, batch)

    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Returns one prediction a person, in COCO's results form and with its annotation id."""
        return predict_keypoints(module, batch, flip_test=self.flip_test, decoding=self.decoding)

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions by COCO's key-point AP.

        Raises:
            DataError: If a prediction is for an image that the split does not have.
        """
        return score_people(data, predictions, nms=self.nms)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a file in COCO's results form.

        Args:
            annotations: A ``person_keypoints_*.json`` file.
            predictions: A JSON list of image_id, category_id, 51 numbers in keypoints and score;
                suppressed with the option ``nms``.

        Raises:
            DataError: If a file is missing or cannot be used, or if the two do not fit.
        """
        return score_people_files(annotations, predictions, nms=self.nms)

    def write_predictions(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> None:
        """Writes predictions in COCO's results form, those that suppression leaves.

        Raises:
            BranchworkError: If the file's name does not end in ``.json``.
        """
        del data
        write_people(keep_best(predictions, self.nms), out)

    def write_submission(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> Path:
        """Writes the zip file that COCO's server takes, and the JSON file that is in it.

        Args:
            data: The split, such as test-dev2017.
            predictions: One an item.
            out: A JSON file, ``person_keypoints_SPLIT_NAME_results.json``; another name becomes
                NAME.

        Raises:
            BranchworkError: If the file's name does not end in ``.json``.
        """
        return write_coco_submission(
            keep_best(predictions, self.nms), split=data.name.split()[-1], out=out
        )

    def diagnose(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every key point: jitter, inversion, swap or miss."""
        del results
        return diagnose_people(data, predictions, nms=self.nms)

    def diagnose_files(
        self, annotations: Path, predictions: Path, results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every key point of a file in COCO's results form."""
        del results
        return diagnose_people_files(annotations, predictions, nms=self.nms)

    def open_pictures(self, pictures: Sequence[Picture], size: ImageSize) -> TaskData:
        """Opens the people in pictures, in their boxes as they are.

        Raises:
            DataError: If no image can be read.
            BranchworkError: If the size is not a multiple of 4.
        """
        return open_people_in_pictures(pictures, size, COCO_JOINTS)

    def overlay(self, pixels: ByteImage, predictions: Sequence[dict[str, Any]]) -> ByteImage:
        """Draws people's skeletons: their left blue, their right orange."""
        return draw_people(pixels, self._best(predictions), COCO_SKELETON)

    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Returns the people of a picture in COCO's results form."""
        del folder
        return people_of_picture(picture, self._best(predictions))

    def _best(self, predictions: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        return keep_best(predictions, self.nms)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        settings = keypoint_evaluation(
            flip_test=self.flip_test, augmentation=_AUGMENTATION, decoding=self.decoding
        )
        if self.nms < KEEP_ALL:
            settings |= {"nms": "oks", "nms_threshold": self.nms}
        if self.boxes != _OWN_BOXES:
            settings |= {
                "boxes": Path(self.boxes).name,
                "box_score_threshold": self.box_score,
                "rescoring": "mean confident peak x box score",
            }
        return settings
