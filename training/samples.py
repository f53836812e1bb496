"""Which samples a step sees: decided by its number and the run's seed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Dataset

from tasks import Batch, Item, TaskData, collate
from training.schedule import Schedule

MAX_SEED = 2**32 - 1
"""The largest seed of a run."""

_SEED_STRIDE = 1_000_003


def sample_keys(
    num_items: int, schedule: Schedule, seed: int, first_step: int
) -> Iterator[list[tuple[int, int]]]:
    """Yields every step's samples: passes over the data in orders drawn from the seed.

    What a step sees depends on its number and the seed alone, so a resumed run sees the same.

    Args:
        num_items: Number of items of the training data.
        schedule: Says how many steps and how many samples each.
        seed: The run's seed.
        first_step: The first step to yield, from 0.

    Returns:
        For each step, the index of every sample and the seed of its augmentation.
    """
    drawn, order = -1, [0]

    def key(position: int) -> tuple[int, int]:
        nonlocal drawn, order
        epoch, offset = divmod(position, num_items)
        if epoch != drawn:
            # The one before is over: a long run would fill the memory with orders.
            generator = torch.Generator().manual_seed(seed * _SEED_STRIDE + epoch)
            order = torch.randperm(num_items, generator=generator).tolist()
            drawn = epoch
        return order[offset], seed * _SEED_STRIDE + epoch

    for step in range(first_step, schedule.steps):
        start = step * schedule.batch
        yield [key(position) for position in range(start, start + schedule.batch)]


def load_batches(
    data: TaskData,
    keys: Iterator[list[tuple[int, int]]],
    fabric: Fabric,
    *,
    num_parts: int,
    num_loaders: int,
) -> Iterator[Batch]:
    """Returns the parts of every step's batch, of the samples that fall to this process.

    Args:
        data: The training data.
        keys: Every step's samples.
        fabric: Says which process this is, and of how many.
        num_parts: Parts of a step, which are learnt from one after the other.
        num_loaders: Processes that prepare batches, 0 for this one.
    """
    loader: DataLoader[Any] = DataLoader(
        _Samples(data),
        batch_sampler=cast("Any", _Parts(keys, fabric, num_parts)),
        collate_fn=cast("Callable[[Sequence[Item]], Batch]", collate),
        num_workers=num_loaders,
        pin_memory=fabric.device.type == "cuda",
        # A generator of its own: the global one is the network's, and a resumed run goes on
        # from where it stood.
        generator=torch.Generator(),
    )
    return iter(loader)


class _Parts:
    """This process's part after part; drawn as they are needed, since a long run has many."""

    def __init__(
        self, keys: Iterator[list[tuple[int, int]]], fabric: Fabric, num_parts: int
    ) -> None:
        self._keys = keys
        self._fabric = fabric
        self._num_parts = num_parts

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in self._keys:
            share = step[self._fabric.global_rank :: self._fabric.world_size]
            for part in range(self._num_parts):
                yield share[part :: self._num_parts]


class _Samples(Dataset[Item]):
    """Items by (index, seed of the augmentation)."""

    def __init__(self, data: TaskData) -> None:
        self._data = data

    def __getitem__(self, key: tuple[int, int]) -> Item:
        return self._data.train_item(*key)
