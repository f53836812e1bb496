"""Small data sets in the layouts of Cityscapes and CamVid, made for a test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def write_frame(image: Path, label: Path, *, size=(40, 60), seed=0, ids=(7, 8, 11, 23, 26)) -> None:
    """Writes an image whose colours tell its labels: stripes of some ids."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.choice(ids, size), axis=1).astype(np.uint8)
    colours = np.random.default_rng(99).integers(0, 256, (256, 3)).astype(np.uint8)
    image.parent.mkdir(parents=True, exist_ok=True)
    label.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), colours[labels])
    Image.fromarray(labels).save(label)


def cityscapes_paths(folder: Path, split: str, index: int) -> tuple[Path, Path]:
    """Returns where a frame's image and label image belong."""
    name = f"aachen_{index:06d}_000019"
    return (
        folder / "leftImg8bit" / split / "aachen" / f"{name}_leftImg8bit.png",
        folder / "gtFine" / split / "aachen" / f"{name}_gtFine_labelIds.png",
    )


def write_cityscapes(folder: Path, *, num=4, size=(40, 60)) -> Path:
    """Writes a data set with the splits train and val."""
    for stream, split in enumerate(("train", "val")):
        for index in range(num):
            image, label = cityscapes_paths(folder, split, index)
            write_frame(image, label, size=size, seed=100 * stream + index)
    return folder


def write_camvid(folder: Path, *, num=3, size=(36, 48)) -> Path:
    """Writes a data set with the splits train and val, without lists."""
    for stream, split in enumerate(("train", "val")):
        for index in range(num):
            image = folder / split / f"{index:03d}.png"
            label = folder / f"{split}annot" / f"{index:03d}.png"
            write_frame(image, label, size=size, seed=100 * stream + index, ids=(0, 1, 3, 8, 11))
    return folder
