"""Peak activation memory of one forward pass: as it runs, and with the best order of operations."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from analysis.memory_graph import order_graph
from analysis.memory_order import find_best_order
from analysis.memory_recording import Execution, Step, follow_storages
from blocks import ImageSize, Problem
from networks import NetworkSpec

_LONGEST = 300

MEMORY_RULE = (
    "Bytes of distinct activation storages that live at once in one forward pass, in eval mode "
    "and without gradients, as eager PyTorch makes them on a CPU: the image and the output "
    "included; parameters, buffers and operators' workspaces excluded. Views are no storage, and "
    "writing in place makes none. The caller holds the image throughout."
)
"""What the numbers are; it stands wherever they are shown."""

MEMORY_TERMS = {
    "eager": "as the module runs: what its variables hold on to lives as long as they do",
    "last use": "the same order, every storage let go after its last use",
    "best order": "the least peak of all orders of the same operations, let go after the last use",
    "bound": "what every order needs at least; equal to the best order where that is proven",
    "allocator": "the peak of CUDA's allocator over a real pass, without parameters and buffers; "
    "workspaces included, every storage rounded up",
}
"""What each number says, by its name in tables."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """What lives while operations run in some order.

    Attributes:
        steps: The operations in their order.
        live_bytes: For each of them what lives while it runs: what it reads, what it makes, and
            whatever else is there.
        image_bytes: What lives before the first of them.
    """

    steps: tuple[Step, ...]
    live_bytes: tuple[int, ...]
    image_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The most that lives at once."""
        return max(self.live_bytes, default=self.image_bytes)

    @property
    def peak_index(self) -> int | None:
        """The place of the first operation at which that much lives, None without operations."""
        return self.live_bytes.index(self.peak_bytes) if self.steps else None

    @property
    def peak_step(self) -> Step | None:
        """The first operation at which that much lives, None without operations."""
        return None if self.peak_index is None else self.steps[self.peak_index]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Peak activation memory of one network; ``MEMORY_RULE`` says what is counted.

    Attributes:
        input: The image's size.
        batch: How many images go in at once.
        dtype: The number format of image and weights.
        output_bytes: The share of what is put out.
        eager: The network as it runs.
        last_use: The same order, with every storage let go after its last use.
        best_order: The order with the least peak that is known, let go in the same way.
        lower_bound_bytes: What every order needs at least.
        allocator_peak_bytes: The peak of CUDA's allocator, None where it was not measured.
        problem: What broke the pass off, None if nothing did; else all numbers are of its start.
    """

    input: ImageSize
    batch: int
    dtype: str
    output_bytes: int
    eager: Timeline
    last_use: Timeline
    best_order: Timeline
    lower_bound_bytes: int
    allocator_peak_bytes: int | None = None
    problem: Problem | None = None

    @property
    def best_order_is_proven(self) -> bool:
        """Whether no order needs less than the best one that is known."""
        return self.best_order.peak_bytes == self.lower_bound_bytes

    @property
    def conditions(self) -> str:
        """Under which conditions the numbers hold, in words."""
        start = "" if self.problem is None else ", up to where it broke off"
        return f"{self.dtype}, batch {self.batch}, {self.input}{start}"

    @cached_property
    def data(self) -> dict[str, Any]:
        """All numbers as plain data."""
        step = self.eager.peak_step
        data: dict[str, Any] = {
            "eager_peak_bytes": self.eager.peak_bytes,
            "eager_peak_at": step
            and {
                "operation": self.eager.peak_index,
                "address": step.address,
                "kind": step.kind,
            },
            "last_use_peak_bytes": self.last_use.peak_bytes,
            "best_order_peak_bytes": self.best_order.peak_bytes,
            "best_order_is_proven": self.best_order_is_proven,
            "lower_bound_bytes": self.lower_bound_bytes,
            "allocator_peak_bytes": self.allocator_peak_bytes,
            "image_bytes": self.eager.image_bytes,
            "output_bytes": self.output_bytes,
            "num_operations": len(self.eager.steps),
            "dtype": self.dtype,
            "batch": self.batch,
            "input": str(self.input),
            "is_partial": self.problem is not None,
            "convention": MEMORY_RULE,
        }
        if self.problem is not None:
            data["stopped_by"] = str(self.problem)
        return data


def network_memory(spec: NetworkSpec, size: ImageSize, batch: int = 1) -> Memory:
    """Returns a network's peak activation memory in float32; nothing is computed.

    Args:
        spec: The network.
        size: The image's size.
        batch: How many images go in at once.
    """
    with torch.device("meta"):
        module = spec.build()
    memory = module_memory(module, size, batch)
    assert memory.problem is None
    return memory


def module_memory(
    module: nn.Module, size: ImageSize, batch: int = 1, name: str = "module"
) -> Memory:
    """Returns any module's peak activation memory, in the number format that its weights have.

    Args:
        module: A module that takes one image of three channels; it is left as it is.
        size: The image's size.
        batch: How many images go in at once.
        name: What the user calls it, for messages.
    """
    executed = follow_storages(module, size, batch)
    graph = order_graph(executed)
    best = find_best_order(graph)
    sizes, steps = executed.storage_bytes, executed.steps
    image = sizes[executed.image]
    return Memory(
        input=size,
        batch=batch,
        dtype=executed.dtype,
        output_bytes=sum(sizes[each] for each in executed.outputs),
        eager=Timeline(steps=steps, live_bytes=executed.live_bytes, image_bytes=image),
        last_use=Timeline(
            steps=steps, live_bytes=graph.live_bytes(range(len(steps))), image_bytes=image
        ),
        best_order=Timeline(
            steps=tuple(steps[index] for index in best.order),
            live_bytes=graph.live_bytes(best.order),
            image_bytes=image,
        ),
        lower_bound_bytes=best.lower_bound_bytes,
        problem=_problem(module, executed, name),
    )


def allocator_peak_bytes(
    make: Callable[[], nn.Module], size: ImageSize, batch: int = 1
) -> int | None:
    """Returns the peak of CUDA's allocator over a real forward pass, None without CUDA.

    What the allocator held before, weights among it, is taken off. Unlike the other numbers it
    holds the workspaces that kernels ask for, and every storage rounded up to the allocator's
    blocks; a first pass beforehand leaves what libraries keep for good outside it.

    Args:
        make: Makes a module with weights that takes one image; called only if there is CUDA.
        size: The image's size.
        batch: How many images go in at once.
    """
    if not torch.cuda.is_available():
        return None
    moved = copy.deepcopy(make()).eval().to("cuda")
    floats = (each.dtype for each in moved.parameters() if each.is_floating_point())
    dtype = next(floats, torch.float32)
    shape = batch, 3, size.height, size.width
    with torch.no_grad():
        moved(torch.zeros(shape, dtype=dtype, device="cuda"))
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        moved(torch.zeros(shape, dtype=dtype, device="cuda"))
        torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - held


def _problem(module: nn.Module, executed: Execution, name: str) -> Problem | None:
    if executed.failed_at is None:
        return None
    kind = type(dict(module.named_modules())[executed.failed_at]).__name__
    where = f"{name}, {executed.failed_at}" if executed.failed_at else name
    return Problem(
        where=f"{where} ({kind})",
        rule="a module whose memory is followed runs on tensors without values",
        got=executed.reason[:_LONGEST],
        do=f"the {len(executed.steps)} operations before it are told of; take out of its forward "
        "what depends on values, or look at its parts",
    )
