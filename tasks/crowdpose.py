"""Key points of people in crowds, on CrowdPose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from blocks import DataError, ImageSize, Problem

from ._coco_entries import are_numbers
from ._coco_files import read_annotations, read_split
from ._coco_form import CocoForm
from ._coco_people import CocoTruth, open_people, score_people, score_people_files
from ._coco_task import CocoFormTask
from ._crowdpose_results import CrowdPoseResults
from ._keypoints import KeypointData
from ._oks import KeypointResults, Similarity
from ._outputs import CROWDPOSE_JOINTS
from ._results import ImageResults
from ._skeletons import CROWDPOSE_SKELETON, Skeleton
from ._task import Role, TaskData, data_folder, register_task

_SIGMAS = np.array([79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89, 79, 79]) / 1000


@register_task("crowdpose")
@dataclass(frozen=True, kw_only=True)
class CrowdPose(CocoFormTask):
    """14 key points of people in crowds (Li et al., CVPR 2019).

    The data folder holds ``json/crowdpose_SPLIT.json`` and ``images/``, as published. Everything
    is as in ``coco_keypoints``, but that a person's area is 0.53 of their box, and that images
    are also scored by how crowded they are.

    Attributes:
        train_split: The split to learn from.
        val_split: The split to be scored on.
    """

    outputs: ClassVar[tuple[str, ...]] = CROWDPOSE_JOINTS
    metric: ClassVar[str] = CrowdPoseResults.headline
    results: ClassVar[type[ImageResults]] = CrowdPoseResults
    default_input: ClassVar[ImageSize] = ImageSize(256, 192)
    skeleton: ClassVar[Skeleton] = CROWDPOSE_SKELETON
    form: ClassVar[CocoForm] = CocoForm(
        prefix="crowdpose_",
        joints=CROWDPOSE_JOINTS,
        has_areas=False,
        annotation_folder="json",
        image_folder="images",
    )
    similarity: ClassVar[Similarity] = Similarity(sigmas=tuple(_SIGMAS.tolist()), area_of_box=True)

    train_split: str = "train"
    val_split: str = "val"

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        Raises:
            DataError: If the folder, the annotation file or the images cannot be used.
            BranchworkError: If the size is not a multiple of 4.
        """
        name = self.train_split if split == "train" else self.val_split
        coco = read_split(data_folder(data, self.name), name, self.form)
        return open_people(self.name, coco, size, self.augmentation, form=self.form)

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions by CrowdPose's metrics.

        Raises:
            DataError: If a prediction is for an image that the split does not have, or if the
                annotation file does not say how crowded images are.
        """
        assert isinstance(data, KeypointData)
        assert isinstance(data.truth, CocoTruth)
        keypoints = score_people(data, self.suppressed(predictions), self.similarity)
        coco = data.truth.coco
        return _with_crowding(keypoints, coco.path, coco.images)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a file in COCO's results form.

        Args:
            annotations: A ``crowdpose_*.json`` file.
            predictions: A JSON list of image_id, category_id, 42 numbers in keypoints and score.

        Raises:
            DataError: If a file is missing or cannot be used, or if the two do not fit.
        """
        keypoints = score_people_files(
            annotations,
            predictions,
            form=self.form,
            nms=self.most_similar,
            similarity=self.similarity,
        )
        images = read_annotations(annotations, self.form).images
        return _with_crowding(keypoints, annotations, images)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        return super().evaluation() | {"similarity": "oks, area 0.53 of the box"}


def _with_crowding(
    keypoints: KeypointResults, path: Path, images: Sequence[dict[str, Any]]
) -> CrowdPoseResults:
    crowding: dict[int, Any] = {image["id"]: image.get("crowdIndex") for image in images}
    wrong = [number for number, index in crowding.items() if not are_numbers([index], 1)]
    if wrong:
        raise DataError(
            Problem(
                where=str(path),
                rule="every image of CrowdPose needs a crowdIndex, a number",
                got=f"{len(wrong)} otherwise, the first being image {wrong[0]}",
                do="use the benchmark's own annotation file",
            )
        )
    return CrowdPoseResults(
        keypoints=keypoints,
        crowding=np.array([crowding[number] for number in keypoints.image_ids.tolist()]),
    )
