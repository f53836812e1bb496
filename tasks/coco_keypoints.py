"""Key points of people in COCO's annotation format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from blocks import BranchworkError, ImageSize, Problem

from ._coco_files import read_split
from ._coco_people import open_people
from ._coco_submission import write_coco_submission
from ._coco_task import CocoFormTask
from ._detections import read_boxes
from ._oks_suppression import KEEP_ALL
from ._outputs import COCO_JOINTS
from ._skeletons import COCO_SKELETON, Skeleton
from ._task import Role, TaskData, data_folder, register_task

_OWN_BOXES = "ground_truth"


@register_task("coco_keypoints")
@dataclass(frozen=True, kw_only=True)
class CocoKeypoints(CocoFormTask):
    """Top-down key points of people, on COCO or any data in its format.

    The data folder holds ``annotations/person_keypoints_SPLIT.json``
    (``image_info_SPLIT.json`` where the labels are secret) and the images in ``SPLIT/`` or
    ``images/SPLIT/``. Predictions in a detector's
    boxes are scored by their own confidence times the box's, and published ones are suppressed
    with ``nms=0.9``.

    Attributes:
        train_split: The split to learn from, always with the annotations' boxes.
        val_split: The split to be scored on.
        boxes: ``ground_truth`` for the annotations' boxes in the split to be scored on, or a
            detector's file: a path, or a name in the data folder or its
            ``person_detection_results``.
        box_score: A detector's boxes of lower confidence are left out.
        nms: The similarity above which the less confident of two predictions goes; 1 keeps all.
    """

    outputs: ClassVar[tuple[str, ...]] = COCO_JOINTS
    default_input: ClassVar[ImageSize] = ImageSize(256, 192)
    skeleton: ClassVar[Skeleton] = COCO_SKELETON

    train_split: str = "train2017"
    val_split: str = "val2017"
    boxes: str = _OWN_BOXES
    box_score: float = 0.0
    nms: float = KEEP_ALL

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            BranchworkError: If an option cannot be had.
        """
        super().__post_init__()
        problems = [
            Problem(
                where=f"{self.name}.{option}",
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
    def most_similar(self) -> float:
        """The option ``nms``."""
        return self.nms

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        If the decoded images fit 1 GiB, all are decoded now and stay in memory, and every broken
        file is found; otherwise only the files' ends are looked at.

        Raises:
            DataError: If the folder, the annotation file, the boxes or the images cannot be used.
            BranchworkError: If the size is not a multiple of 4.
        """
        folder = data_folder(data, self.name)
        name = self.train_split if split == "train" else self.val_split
        coco = read_split(folder, name)
        found = None
        if split != "train" and self.boxes != _OWN_BOXES:
            found = read_boxes(self.boxes, folder, self.box_score)
        return open_people(self.name, coco, size, self.augmentation, boxes=found)

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
            self.suppressed(predictions), split=data.name.split()[-1], out=out
        )

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        settings = super().evaluation()
        if self.nms < KEEP_ALL:
            settings |= {"nms": "oks", "nms_threshold": self.nms}
        if self.boxes != _OWN_BOXES:
            settings |= {
                "boxes": Path(self.boxes).name,
                "box_score_threshold": self.box_score,
                "rescoring": "mean confident peak x box score",
            }
        return settings
