"""The synthetic people on disk: in COCO's layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import ClassVar

import cv2

from ._outputs import COCO_JOINTS
from ._rendered_sets import SPLITS, RenderedSet
from ._synthetic_scenes import IMAGE_SIZE, RENDERER_REVISION, Sample, render_chunk

_JPEG_QUALITY = 92


@dataclass(frozen=True, kw_only=True)
class SyntheticSet(RenderedSet):
    """Which synthetic data set: equal ones have equal images wherever they are rendered.

    Attributes:
        num_train: Number of people to learn from.
        num_val: Number of people to be scored on.
        seed: Seed of everything random.
    """

    task: ClassVar[str] = "synthetic_keypoints"
    parts: ClassVar[tuple[str, ...]] = ("annotations", *SPLITS)

    num_train: int
    num_val: int
    seed: int

    @property
    def folder_name(self) -> str:
        """Name of the data set's folder."""
        numbers = f"{self.num_train}-{self.num_val}-seed{self.seed}"
        return f"{self.task}-{numbers}-r{RENDERER_REVISION}"

    def render(self, folder: Path) -> None:
        """Writes annotations and images."""
        _render(self, folder)


def _render(which: SyntheticSet, folder: Path) -> None:
    (folder / "annotations").mkdir()
    for stream, (split, num) in enumerate(
        zip(SPLITS, (which.num_train, which.num_val), strict=True)
    ):
        (folder / split).mkdir()
        images, annotations = [], []
        for number, sample in enumerate(islice(_samples(which.seed, stream), num), start=1):
            name = f"{number:06d}.jpg"
            _write(folder / split / name, sample)
            images.append(
                {
                    "id": number,
                    "file_name": name,
                    "width": IMAGE_SIZE.width,
                    "height": IMAGE_SIZE.height,
                }
            )
            annotations.append({"id": number, "image_id": number, **sample.annotation})
        document = {
            "info": {
                "description": f"Synthetic people rendered by Branchwork, {split} split",
                "seed": which.seed,
                "renderer_revision": RENDERER_REVISION,
            },
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_JOINTS)}],
            "images": images,
            "annotations": annotations,
        }
        path = folder / "annotations" / f"person_keypoints_{split}.json"
        path.write_text(json.dumps(document), encoding="utf-8")


def _samples(seed: int, stream: int) -> Iterator[Sample]:
    for chunk in count():
        yield from render_chunk(seed, stream, chunk)


def _write(path: Path, sample: Sample) -> None:
    pixels = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
    done, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert done
    path.write_bytes(content.tobytes())
