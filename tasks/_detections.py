"""Boxes of people that a detector found, as files hold them."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._coco_entries import are_numbers, is_whole
from ._coco_results import check_entries, read_list
from ._keypoint_arrays import IntArray
from ._results import FloatArray

_PERSON = 1
_USUAL_FOLDER = "person_detection_results"


@dataclass(frozen=True, kw_only=True)
class DetectorBoxes:
    """Boxes of people, B of them.

    Attributes:
        path: The file that they come from.
        content: Its bytes, for fingerprints.
        image_ids: Which image each is in (B,).
        boxes_px: Left, top, width, height (B, 4).
        scores: How confident the detector is (B,).
    """

    path: Path
    content: bytes
    image_ids: IntArray
    boxes_px: FloatArray
    scores: FloatArray

    def of_images(self, images: Container[int]) -> Iterator[tuple[int, FloatArray, float]]:
        """Yields image, box and score of the boxes in some images."""
        rows = zip(self.image_ids.tolist(), self.boxes_px, self.scores.tolist(), strict=True)
        return (row for row in rows if row[0] in images)


def read_boxes(file: str, folder: Path, least_score: float) -> DetectorBoxes:
    """Reads the people among a detector's results.

    The form is COCO's for detections, as of ``COCO_val2017_detections_AP_H_56_person.json``: a
    list of ``{"image_id", "category_id", "bbox", "score"}``; only category 1 is of people.

    Args:
        file: The file, or its name in the data folder or in its ``person_detection_results``.
        folder: The data folder.
        least_score: Boxes of a lower score are left out.

    Raises:
        DataError: If the file is missing or does not say what it must.
    """
    places = (Path(file), folder / file, folder / _USUAL_FOLDER / file)
    path = next((place for place in places if place.is_file()), places[0])
    entries = read_list(path, "a detector's boxes")
    check_entries(
        path,
        entries,
        (
            (
                "every box needs a whole-numbered image_id and category_id",
                lambda entry: (
                    is_whole(entry.get("image_id")) and is_whole(entry.get("category_id"))
                ),
                "correct the entry",
            ),
            (
                "every box needs 4 finite numbers in bbox (left, top, width, height) and a score",
                lambda entry: (
                    are_numbers(entry.get("bbox"), 4) and are_numbers([entry.get("score")], 1)
                ),
                "use a detector's results in COCO's form",
            ),
        ),
    )
    people = [
        entry
        for entry in entries
        if entry["category_id"] == _PERSON and entry["score"] >= least_score
    ]
    return DetectorBoxes(
        path=path,
        content=path.read_bytes(),
        image_ids=np.array([entry["image_id"] for entry in people], dtype=np.int64),
        boxes_px=np.array([entry["bbox"] for entry in people], dtype=np.float64).reshape(-1, 4),
        scores=np.array([entry["score"] for entry in people], dtype=np.float64),
    )
