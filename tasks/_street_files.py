"""The synthetic street scenes on disk: in CamVid's layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2

from ._label_files import encode_labels
from ._rendered_sets import SPLITS, RenderedSet
from ._synthetic_streets import STREETS_REVISION, render_street

_JPEG_QUALITY = 92


@dataclass(frozen=True, kw_only=True)
class StreetSet(RenderedSet):
    """Which set of street scenes: equal ones have equal images wherever they are rendered.

    Attributes:
        num_train: Number of scenes to learn from.
        num_val: Number of scenes to be scored on.
        seed: Seed of everything random.
    """

    task: ClassVar[str] = "synthetic_segmentation"
    parts: ClassVar[tuple[str, ...]] = tuple(
        f"{split}{suffix}" for split in SPLITS for suffix in ("", "annot")
    )

    num_train: int
    num_val: int
    seed: int

    @property
    def folder_name(self) -> str:
        """Name of the data set's folder."""
        numbers = f"{self.num_train}-{self.num_val}-seed{self.seed}"
        return f"{self.task}-{numbers}-r{STREETS_REVISION}"

    def render(self, folder: Path) -> None:
        """Writes images and label images."""
        for stream, (split, num) in enumerate(
            zip(SPLITS, (self.num_train, self.num_val), strict=True)
        ):
            images, labels = folder / split, folder / f"{split}annot"
            images.mkdir()
            labels.mkdir()
            for index in range(num):
                street = render_street(self.seed, stream, index)
                pixels = cv2.cvtColor(street.image, cv2.COLOR_RGB2BGR)
                options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
                done, content = cv2.imencode(".jpg", pixels, options)
                assert done
                name = f"{index + 1:06d}"
                (images / f"{name}.jpg").write_bytes(content.tobytes())
                (labels / f"{name}.png").write_bytes(encode_labels(street.labels))
