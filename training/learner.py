"""One optimiser step: what a network learns from a batch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn

from blocks import BranchworkError, Problem
from tasks import Batch, Task
from training.averaging import WeightAverage
from training.optimisers import make_optimiser
from training.schedule import Schedule

_MAX_GOT = 160


@dataclass(kw_only=True)
class Learner:
    """A network in training on its device, with all that a step needs.

    Attributes:
        task: Gives the loss.
        schedule: How it is trained.
        fabric: Where it runs.
        module: The network itself.
        model: The network as it is called in training: distributed, compiled.
        optimiser: Its optimiser.
        average: The average of its weights, None where there is none.
        compile_s: Seconds of the first step where the network was compiled in it, else 0.
    """

    task: Task
    schedule: Schedule
    fabric: Fabric
    module: nn.Module
    model: _FabricModule
    optimiser: torch.optim.Optimizer
    average: WeightAverage | None
    compile_s: float = 0.0
    _is_compiled: bool = False

    def learn(self, step: int, parts: Iterator[Batch]) -> Tensor:
        """Does one optimiser step and returns the mean loss over this device's samples.

        The gradients of the parts are added up before the update. With losses that are means over
        samples the sum is the whole batch's gradient, up to rounding; batch norms alone see every
        part for itself.

        Args:
            step: Its number, from 0.
            parts: Gives the step's parts, one after the other.

        Returns:
            A scalar, whose mean over the devices is the batch's loss.
        """
        if self.schedule.compile and not self._is_compiled:
            started = time.monotonic()
            with _compiling():
                loss = self._learn(step, parts)
            self.compile_s = time.monotonic() - started
            self._is_compiled = True
            return loss
        self.compile_s = 0.0
        return self._learn(step, parts)

    def _learn(self, step: int, parts: Iterator[Batch]) -> Tensor:
        schedule, fabric = self.schedule, self.fabric
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.lr_at(step)
        self.optimiser.zero_grad(set_to_none=True)
        losses = []
        for _ in range(schedule.accumulation):
            batch = next(parts).to(fabric.device)
            image = batch.image
            if schedule.memory_format == "channels_last":
                image = image.to(memory_format=torch.channels_last)
            loss = self.task.loss(self.model(image), batch)
            # The devices' gradients are averaged, though their shares may differ by a sample.
            loss = loss * (len(batch) * fabric.world_size / schedule.batch)
            # They are after every part, which costs talk but no truth: what was averaged before
            # is equal on all devices. Waiting for the last part fails an assertion of PyTorch's
            # where the graph is static (pytorch/pytorch#187732).
            fabric.backward(loss)
            losses.append(loss.detach())
        self.optimiser.step()
        if self.average:
            self.average.update(step + 1)
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def make_learner(module: nn.Module, task: Task, schedule: Schedule, fabric: Fabric) -> Learner:
    """Returns a learner that begins with a network's present weights, moved to its device."""
    if schedule.memory_format == "channels_last":
        # PyTorch's own types know no format without a device.
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = make_optimiser(schedule, module)
    called = cast("nn.Module", torch.compile(module)) if schedule.compile else module
    model, wrapped = fabric.setup(called, optimiser)
    return Learner(
        task=task,
        schedule=schedule,
        fabric=fabric,
        module=module,
        model=model,
        optimiser=wrapped,
        # After the set-up, which moves the weights to the device.
        average=WeightAverage(module, schedule.ema) if schedule.ema else None,
    )


@contextmanager
def _compiling() -> Iterator[None]:
    """Turns the many lines of a compiler that fails into one problem."""
    # Loading it takes seconds, which only those pay who compile.
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise BranchworkError(
            Problem(
                where="schedule.compile",
                rule="torch.compile needs a C++ compiler and a network that it understands",
                got=" ".join(f"{type(error).__name__}: {error}".split())[:_MAX_GOT],
                do="install a compiler, or write compile = false",
            )
        ) from error
