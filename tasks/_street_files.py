"""The synthetic street scenes on disk: in CamVid's layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ._drawing import encode_picture
from ._label_files import encode_labels
from ._rendered_sets import SPLITS, RenderedSet
from ._synthetic_streets import STREETS_REVISION, render_street


@dataclass(frozen=True, kw_only=True)
class StreetSet(RenderedSet):
    """Which set of street scenes."""

    task: ClassVar[str] = "synthetic_segmentation"
    parts: ClassVar[tuple[str, ...]] = tuple(
        f"{split}{suffix}" for split in SPLITS for suffix in ("", "annot")
    )

    revision: ClassVar[int] = STREETS_REVISION

    def render(self, folder: Path) -> None:
        """Writes images and label images."""
        for stream, (split, num) in enumerate(self.splits):
            images, labels = folder / split, folder / f"{split}annot"
            images.mkdir()
            labels.mkdir()
            for index in range(num):
                street = render_street(self.seed, stream, index)
                name = f"{index + 1:06d}"
                (images / f"{name}.jpg").write_bytes(encode_picture(street.image, ".jpg"))
                (labels / f"{name}.png").write_bytes(encode_labels(street.labels))
