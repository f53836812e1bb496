"""The synthetic people on disk: in COCO's layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import ClassVar

from ._drawing import encode_picture
from ._outputs import COCO_JOINTS
from ._rendered_sets import SPLITS, RenderedSet
from ._synthetic_scenes import IMAGE_SIZE, RENDERER_REVISION, Sample, render_chunk


@dataclass(frozen=True, kw_only=True)
class SyntheticSet(RenderedSet):
    """Which set of synthetic people, one an image."""

    task: ClassVar[str] = "synthetic_keypoints"
    parts: ClassVar[tuple[str, ...]] = ("annotations", *SPLITS)
    revision: ClassVar[int] = RENDERER_REVISION

    def render(self, folder: Path) -> None:
        """Writes annotations and images."""
        _render(self, folder)


def _render(which: SyntheticSet, folder: Path) -> None:
    (folder / "annotations").mkdir()
    for stream, (split, num) in enumerate(which.splits):
        (folder / split).mkdir()
        images, annotations = [], []
        for number, sample in enumerate(islice(_samples(which.seed, stream), num), start=1):
            name = f"{number:06d}.jpg"
            (folder / split / name).write_bytes(encode_picture(sample.image, ".jpg"))
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
