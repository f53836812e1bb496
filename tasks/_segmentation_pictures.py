"""Pictures as a segmentation task opens them, and its predictions for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blocks import DataError, ImageSize, Problem

from ._frames import Frame, FrameVariation
from ._label_files import decode_labels
from ._label_sets import LabelSet
from ._pictures import Picture
from ._segmentation_data import Inference, SegmentationData

_LABEL_FOLDER = "labels"


def open_frames_of_pictures(
    pictures: Sequence[Picture], size: ImageSize, labels: LabelSet, inference: Inference
) -> SegmentationData:
    """Opens pictures as frames without labels.

    Args:
        pictures: The images.
        size: The network's input size.
        labels: The ids that predictions hold.
        inference: How frames are shown.

    Raises:
        DataError: If no image can be read, or if one has boxes.
    """
    boxed = [picture for picture in pictures if picture.boxes is not None]
    if boxed:
        raise DataError(
            Problem(
                where=boxed[0].file.name,
                rule="whole images are segmented",
                got="boxes of people",
                do="leave the boxes out",
            )
        )
    return SegmentationData(
        name="pictures",
        frames=[Frame(name=one.name, image=one.file, label=None) for one in pictures],
        labels=labels,
        size=size,
        inference=inference,
        variation=FrameVariation(),
    )


def labels_of_picture(
    picture: Picture, predictions: Sequence[dict[str, Any]], labels: LabelSet, folder: Path
) -> list[dict[str, Any]]:
    """Writes the label image of a picture, and returns where it is and what is in it.

    Args:
        picture: The image.
        predictions: The one of this image.
        labels: What its ids mean.
        folder: In its ``labels/`` the label image is written, under the picture's name.
    """
    entries = []
    for made in predictions:
        path = folder / _LABEL_FOLDER / f"{picture.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made["labels_png"])
        ids = decode_labels(made["labels_png"], path)
        counts = np.bincount(ids.ravel(), minlength=labels.num_ids)
        pairs = zip(labels.class_names, labels.class_ids, strict=True)
        entries.append(
            {
                "image": picture.file.name,
                "name": picture.name,
                "image_id": picture.image_id,
                "labels": f"{_LABEL_FOLDER}/{path.name}",
                "class_shares": {name: float(counts[one] / ids.size) for name, one in pairs},
            }
        )
    return entries
