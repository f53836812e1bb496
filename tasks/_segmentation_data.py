"""One split of frames with labels, opened at one input size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch

from blocks import DataError, ImageSize, Problem

from ._batch import Item
from ._frames import Frame, FrameVariation, View, fitting_scale
from ._images import ByteImage, Decodable, ImageStore, find_unreadable
from ._label_files import LabelImage
from ._label_sets import IGNORED, LabelSet
from ._task import TaskData

Inference = Literal["fit", "whole", "sliding"]
"""``fit``: a frame is scaled to fit the input. ``whole``: it is shown in its own size.
``sliding``: it is shown in its own size, in windows as large as the input."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a frame that is scored lies in a batch.

    Attributes:
        name: The frame's name.
        frame: The frame's size.
        scale: Input pixels a frame pixel; the frame lies in the upper left corner.
        shown: The part of the batch's image that is shown to the network: the frame, padded to
            what strides divide.
        window: How large the windows are in which it is shown; ``shown`` unless they slide.
        alone: Whether it goes through the network alone, because it may be far larger than the
            input.
    """

    name: str
    frame: ImageSize
    scale: float
    shown: ImageSize
    window: ImageSize
    alone: bool


class SegmentationData(TaskData):
    """One split of frames.

    One item is one frame. For training it is scaled at random and cut to the input; for scoring it
    is shown as ``inference`` says, in the upper left corner, with the mean colour around it.

    Args:
        name: What to call the split.
        frames: The frames, by name.
        labels: The ids of the label images.
        size: The network's input size.
        inference: How frames are shown when they are scored.
        variation: How training views are varied.

    Raises:
        DataError: If too many images or label images cannot be read.
    """

    def __init__(  # noqa: PLR0913 - a split opened is all of these
        self,
        *,
        name: str,
        frames: Sequence[Frame],
        labels: LabelSet,
        size: ImageSize,
        inference: Inference,
        variation: FrameVariation,
    ) -> None:
        self._name = name
        self._size = size
        self._inference: Inference = inference
        self._variation = variation
        self._store = ImageStore()
        self.labels = labels
        frames, no_image = self._readable(frames, [frame.image for frame in frames])
        labelled = [frame.label for frame in frames if frame.label is not None]
        frames, no_label = self._readable(frames, labelled)
        self._skipped = no_image + no_label
        if not frames:
            raise DataError(
                Problem(
                    where=name,
                    rule="a split needs a readable image with a readable label image",
                    got=f"none (unreadable: {', '.join(self._skipped)})",
                    do="restore the files",
                )
            )
        self.frames = tuple(frames)
        self._fingerprint = _fingerprint(self.frames, labels)
        self._canvas = _canvas([frame.size for frame in frames], size, inference)

    @property
    def name(self) -> str:
        """Task and split."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Hash of the frames' names, the sizes of the images and all of the label images."""
        return self._fingerprint

    @property
    def num_images(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Frames whose image or label image is missing or unreadable."""
        return self._skipped

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def train_item(self, index: int, seed: int) -> Item:
        """Returns a part of a frame, varied.

        Raises:
            DataError: If its files can no longer be read.
        """
        frame = self.frames[index]
        scale = self._scale(frame)
        rng = np.random.default_rng([seed, index])
        view = self._variation.draw(frame.size, scale, self._size, rng)
        return self._item(frame, view, self._size)

    def eval_item(self, index: int) -> Item:
        """Returns a frame as it is scored.

        Raises:
            DataError: If its files can no longer be read.
        """
        frame = self.frames[index]
        return self._item(frame, View(scale=self._scale(frame)), self._canvas)

    def true_labels(self, frame: Frame) -> LabelImage:
        """Returns a frame's label image; not to be written to.

        Raises:
            DataError: If it has none, or it can no longer be read.
        """
        if frame.label is None:
            raise DataError(
                Problem(
                    where=f"{self._name}: {frame.name}",
                    rule="a frame is scored against its label image",
                    got="a frame without one",
                    do="score a split that has labels",
                )
            )
        return self._store.read(frame.label)

    def _scale(self, frame: Frame) -> float:
        return fitting_scale(frame.size, self._size) if self._inference == "fit" else 1.0

    def _item(self, frame: Frame, view: View, size: ImageSize) -> Item:
        # One thread an item: parallelism is the caller's, and a pool in each of its workers hurts.
        cv2.setNumThreads(0)
        pixels: ByteImage = self._store.read(frame.image)
        if frame.label is None:
            target = np.full((size.height, size.width), IGNORED, dtype=np.int64)
        else:
            target = view.target(self.labels.to_target(self._store.read(frame.label)), size)
        shown = _shown_size(frame.size, self._size, self._inference)
        return Item(
            image=torch.from_numpy(view.image(pixels, size)),
            target=torch.from_numpy(target),
            weight=torch.ones(()),
            origin=Shown(
                name=frame.name,
                frame=frame.size,
                scale=view.scale,
                shown=shown,
                window=self._size if self._inference == "sliding" else shown,
                alone=self._inference != "fit",
            ),
        )

    def _readable(
        self, frames: Sequence[Frame], files: Sequence[Decodable]
    ) -> tuple[Sequence[Frame], tuple[str, ...]]:
        """Returns the frames of which none of the files is broken, and words on the others."""
        if not files:
            return frames, ()
        found = find_unreadable(self._store, files, [])
        broken = {
            file.name: f"{file.path.name}: {found[file.path]}"
            for file in files
            if file.path in found
        }
        return [f for f in frames if f.name not in broken], tuple(broken.values())


def _shown_size(frame: ImageSize, size: ImageSize, inference: Inference) -> ImageSize:
    """Returns the size, padded, in which a frame is shown to the network."""
    if inference == "fit":
        return size
    # What divides the input divides into whatever strides suit it.
    height, width = (
        -(-side // divisor) * divisor
        for side, divisor in (
            (frame.height, _power_of_2_in(size.height)),
            (frame.width, _power_of_2_in(size.width)),
        )
    )
    if inference == "sliding":
        return ImageSize(max(height, size.height), max(width, size.width))
    return ImageSize(height, width)


def _canvas(frames: Sequence[ImageSize], size: ImageSize, inference: Inference) -> ImageSize:
    """Returns the size that holds every frame as it is shown: items of a batch are of one size."""
    shown = [_shown_size(frame, size, inference) for frame in set(frames)]
    return ImageSize(max(one.height for one in shown), max(one.width for one in shown))


def _power_of_2_in(side: int) -> int:
    return side & -side


def _fingerprint(frames: Sequence[Frame], labels: LabelSet) -> str:
    digest = hashlib.sha256(repr(labels).encode())
    for frame in frames:
        digest.update(f"\n{frame.name} {frame.image.path.stat().st_size} ".encode())
        if frame.label is not None:
            digest.update(frame.label.path.read_bytes())
    return digest.hexdigest()[:12]
