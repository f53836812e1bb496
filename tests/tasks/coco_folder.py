"""Small data folders in COCO's layout, whole or with one fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NUM_JOINTS = 17


def person(number: int, image_id: int, /, **changes: Any) -> dict[str, Any]:
    """An annotation of someone whose joints lie on a slanted line across the box."""
    keypoints: list[float] = []
    for joint in range(NUM_JOINTS):
        keypoints += [12 + 2 * joint, 14 + 3 * joint, 2]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [10.0, 10.0, 40.0, 55.0],
        "area": 1200.0,
        "num_keypoints": NUM_JOINTS,
        "keypoints": keypoints,
        **changes,
    }


def write_split(
    folder: Path,
    split: str = "val2017",
    num_images: int = 2,
    annotations: list[dict[str, Any]] | None = None,
) -> Path:
    """Writes a split with one person an image, or with the annotations given."""
    rng = np.random.default_rng(num_images)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / split).mkdir(exist_ok=True)
    images = []
    for number in range(1, num_images + 1):
        pixels = cv2.resize(rng.integers(0, 256, (8, 6, 3), np.uint8), (60, 80))
        cv2.imwrite(str(folder / split / f"{number:04d}.jpg"), pixels)
        images.append({"id": number, "file_name": f"{number:04d}.jpg", "width": 60, "height": 80})
    if annotations is None:
        annotations = [person(100 + number, number) for number in range(1, num_images + 1)]
    rewrite(folder, {"images": images, "annotations": annotations}, split)
    return folder


def annotation_file(folder: Path, split: str = "val2017") -> Path:
    return folder / "annotations" / f"person_keypoints_{split}.json"


def read(folder: Path, split: str = "val2017") -> dict[str, Any]:
    return json.loads(annotation_file(folder, split).read_text())


def rewrite(folder: Path, document: Any, split: str = "val2017") -> None:
    annotation_file(folder, split).write_text(json.dumps(document))
