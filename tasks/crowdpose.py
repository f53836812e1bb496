"""Key points of people in crowds, on CrowdPose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from blocks import DataError, ImageSize, Problem

from ._augmentation import Augmentation
from ._batch import Batch
from ._coco_files import CocoForm, are_numbers, read_annotations, read_split
from ._coco_people import (
    CocoTruth,
    diagnose_people,
    diagnose_people_files,
    open_people,
    score_people,
    score_people_files,
    write_people,
)
from ._crowdpose_results import CrowdPoseResults
from ._diagnosis import Diagnosis
from ._drawing import draw_people
from ._heatmaps import Decoding
from ._images import ByteImage
from ._keypoint_pictures import open_people_in_pictures, people_of_picture
from ._keypoints import (
    KeypointData,
    check_decoding,
    folder_of,
    joints_mse,
    keypoint_evaluation,
    mirrored_joints,
    predict_keypoints,
)
from ._oks import KeypointResults, Similarity
from ._outputs import CROWDPOSE_JOINTS, num_outputs_of
from ._pictures import Picture
from ._results import ImageResults
from ._skeletons import CROWDPOSE_SKELETON
from ._task import Role, Task, TaskData, register_task

_NAME = "crowdpose"
_FORM = CocoForm(
    prefix="crowdpose_",
    joints=CROWDPOSE_JOINTS,
    has_areas=False,
    annotation_folder="json",
    image_folder="images",
)
_SIGMAS = np.array([79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89, 79, 79]) / 1000
_SIMILARITY = Similarity(sigmas=tuple(_SIGMAS.tolist()), area_of_box=True)
_AUGMENTATION = Augmentation()
_MIRRORED = mirrored_joints(CROWDPOSE_JOINTS)


@register_task(_NAME)
@dataclass(frozen=True, kw_only=True)
class CrowdPose(Task):
    """14 key points of people in crowds (Li et al., CVPR 2019).

    The data folder holds ``json/crowdpose_SPLIT.json`` and ``images/``, as published. Everything
    is as in ``coco_keypoints``, but that a person's area is 0.53 of their box, and that images
    are also scored by how crowded they are.

    Attributes:
        train_split: The split to learn from.
        val_split: The split to be scored on.
        flip_test: Whether predictions average the image and its mirror image.
        decoding: ``quarter_offset`` (HRNet's) or ``dark``.
    """

    metric: ClassVar[str] = CrowdPoseResults.headline
    results: ClassVar[type[ImageResults]] = CrowdPoseResults
    prediction_suffixes: ClassVar[tuple[str, ...]] = (".json",)
    default_input: ClassVar[ImageSize] = ImageSize(256, 192)

    train_split: str = "train"
    val_split: str = "val"
    flip_test: bool = True
    decoding: Decoding = "quarter_offset"

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            BranchworkError: If there is no such decoding.
        """
        check_decoding(_NAME, self.decoding)

    @property
    def num_outputs(self) -> int:
        """14: CrowdPose's key points."""
        return num_outputs_of(_NAME)

    def open(self, data: Path | None, split: Role, size: ImageSize) -> TaskData:
        """Opens one split.

        Raises:
            DataError: If the folder, the annotation file or the images cannot be used.
            BranchworkError: If the size is not a multiple of 4.
        """
        name = self.train_split if split == "train" else self.val_split
        coco = read_split(folder_of(data, _NAME), name, _FORM)
        return open_people(_NAME, coco, size, _AUGMENTATION, form=_FORM)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Returns half the squared error of the heat maps, a mean over everything."""
        return joints_mse(outputs, batch)

    def predict(self, module: nn.Module, batch: Batch) -> list[dict[str, Any]]:
        """Returns one prediction a person, in COCO's results form and with its annotation id."""
        return predict_keypoints(
            module, batch, flip_test=self.flip_test, decoding=self.decoding, mirrored=_MIRRORED
        )

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions by CrowdPose's metrics.

        Raises:
            DataError: If a prediction is for an image that the split does not have, or if the
                annotation file does not say how crowded images are.
        """
        assert isinstance(data, KeypointData)
        assert isinstance(data.truth, CocoTruth)
        keypoints = score_people(data, predictions, similarity=_SIMILARITY)
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
        keypoints = score_people_files(annotations, predictions, form=_FORM, similarity=_SIMILARITY)
        images = read_annotations(annotations, _FORM).images
        return _with_crowding(keypoints, annotations, images)

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
        return diagnose_people(data, predictions, similarity=_SIMILARITY)

    def diagnose_files(
        self, annotations: Path, predictions: Path, results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every key point of a file in COCO's results form."""
        del results
        return diagnose_people_files(annotations, predictions, form=_FORM, similarity=_SIMILARITY)

    def open_pictures(self, pictures: Sequence[Picture], size: ImageSize) -> TaskData:
        """Opens the people in pictures, in their boxes as they are.

        Raises:
            DataError: If no image can be read.
            BranchworkError: If the size is not a multiple of 4.
        """
        return open_people_in_pictures(pictures, size, CROWDPOSE_JOINTS)

    def overlay(self, pixels: ByteImage, predictions: Sequence[dict[str, Any]]) -> ByteImage:
        """Draws people's skeletons: their left blue, their right orange."""
        return draw_people(pixels, predictions, CROWDPOSE_SKELETON)

    def keep(
        self, picture: Picture, predictions: Sequence[dict[str, Any]], folder: Path
    ) -> list[dict[str, Any]]:
        """Returns the people of a picture in COCO's results form."""
        del folder
        return people_of_picture(picture, predictions)

    def evaluation(self) -> dict[str, Any]:
        """Returns what must be equal for scores to be comparable."""
        settings = keypoint_evaluation(
            flip_test=self.flip_test, augmentation=_AUGMENTATION, decoding=self.decoding
        )
        return settings | {"metric": self.metric, "similarity": "oks, area 0.53 of the box"}


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
