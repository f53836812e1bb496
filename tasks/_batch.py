"""What a task hands to a training loop: items, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Item:
    """One sample: a person's crop, its target, and the way back to the image.

    Attributes:
        image: The network's input, normalised with ImageNet's mean and deviation (3, H, W).
        target: The heat maps to be learnt (K, H/4, W/4).
        weight: 1 for key points that are labelled and within reach of the crop, else 0 (K,).
        to_image: Affine map from heat-map pixels to image pixels, float64 (2, 3).
        image_id: The image's id in the annotation file.
        annotation_id: The person's id there.
        category_id: The person's category there.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    to_image: Tensor
    image_id: int
    annotation_id: int
    category_id: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Several items, each attribute stacked along a first dimension N.

    Attributes:
        image: (N, 3, H, W).
        target: (N, K, H/4, W/4).
        weight: (N, K).
        to_image: (N, 2, 3), float64.
        image_id: (N,), int64.
        annotation_id: (N,), int64.
        category_id: (N,), int64.
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    to_image: Tensor
    image_id: Tensor
    annotation_id: Tensor
    category_id: Tensor

    def __len__(self) -> int:
        """Number of items."""
        return self.image.shape[0]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Returns the batch with what a network reads on another device.

        What only leads back to the image stays where it is: it is read on the host, and not
        every device knows float64.
        """
        return Batch(
            image=self.image.to(device, non_blocking=non_blocking),
            target=self.target.to(device, non_blocking=non_blocking),
            weight=self.weight.to(device, non_blocking=non_blocking),
            to_image=self.to_image,
            image_id=self.image_id,
            annotation_id=self.annotation_id,
            category_id=self.category_id,
        )

    def pin_memory(self) -> Batch:
        """Returns the batch in page-locked memory (``torch.utils.data.DataLoader`` calls this)."""
        return Batch(
            **{field.name: getattr(self, field.name).pin_memory() for field in fields(self)}
        )


def collate(items: Sequence[Item]) -> Batch:
    """Stacks items into a batch."""
    return Batch(
        image=torch.stack([item.image for item in items]),
        target=torch.stack([item.target for item in items]),
        weight=torch.stack([item.weight for item in items]),
        to_image=torch.stack([item.to_image for item in items]),
        image_id=torch.tensor([item.image_id for item in items]),
        annotation_id=torch.tensor([item.annotation_id for item in items]),
        category_id=torch.tensor([item.category_id for item in items]),
    )
