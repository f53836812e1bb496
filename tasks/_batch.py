"""What a task hands to a training loop: items, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Item:
    """One sample: an image, its target, and the way back to the data.

    Attributes:
        image: The network's input, normalised with ImageNet's mean and deviation (3, H, W).
        target: What is to be learnt: heat maps (K, H/4, W/4), or class ids (H, W), int64.
        weight: How much each part of the target counts: (K,) for heat maps, () for class ids.
        origin: What leads from the network's output back to the data; known to the task alone.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    origin: object


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Several items, their tensors stacked along a first dimension N.

    Attributes:
        image: (N, 3, H, W).
        target: (N, K, H/4, W/4) or (N, H, W).
        weight: (N, K) or (N,).
        origins: Every item's origin.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    origins: tuple[object, ...]

    def __len__(self) -> int:
        """Number of items."""
        return self.image.shape[0]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Returns the batch with what a network reads on another device."""
        return Batch(
            image=self.image.to(device, non_blocking=non_blocking),
            target=self.target.to(device, non_blocking=non_blocking),
            weight=self.weight.to(device, non_blocking=non_blocking),
            origins=self.origins,
        )

    def pin_memory(self) -> Batch:
        """Returns the batch in page-locked memory (``torch.utils.data.DataLoader`` calls this)."""
        return Batch(
            image=self.image.pin_memory(),
            target=self.target.pin_memory(),
            weight=self.weight.pin_memory(),
            origins=self.origins,
        )


def collate(items: Sequence[Item]) -> Batch:
    """Stacks items into a batch."""
    return Batch(
        image=torch.stack([item.image for item in items]),
        target=torch.stack([item.target for item in items]),
        weight=torch.stack([item.weight for item in items]),
        origins=tuple(item.origin for item in items),
    )
