"""Pictures as a key-point task opens them, and its predictions for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from blocks import ImageSize

from ._augmentation import Augmentation
from ._crops import crop_of_detection
from ._keypoints import KeypointData, Subject
from ._pictures import Picture

_PERSON = 1
_KEYS = ("image_id", "category_id", "keypoints", "score")


def open_people_in_pictures(
    pictures: Sequence[Picture], size: ImageSize, joints: Sequence[str]
) -> KeypointData:
    """Opens the people in pictures, of whom nothing is known but their boxes.

    Args:
        pictures: The images, with at least one person.
        size: The network's input size.
        joints: The key points' names.

    Raises:
        DataError: If no image can be read.
        BranchworkError: If the size is not a multiple of 4.
    """
    nothing = np.zeros((len(joints), 3))
    subjects = [
        Subject(
            image_id=picture.image_id,
            annotation_id=None,
            category_id=_PERSON,
            crop=crop_of_detection(box.numbers, size=size),
            joints=nothing,
            box_score=box.score,
        )
        for picture in pictures
        for box in picture.people
    ]
    return KeypointData(
        name="pictures",
        where=pictures[0].file.path,
        content=[b"pictures"],
        images={picture.image_id: picture.file for picture in pictures},
        subjects=subjects,
        joints=joints,
        size=size,
        augmentation=Augmentation(),
        truth=None,
    )


def people_of_picture(
    picture: Picture, predictions: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Returns the people of a picture in COCO's results form, and which picture it is.

    ``image`` is the file's name, ``name`` that of what was made of it.
    """
    which = {"image": picture.file.name, "name": picture.name}
    return [{**which, **{key: made[key] for key in _KEYS}} for made in predictions]
