"""PyTorch as it is written: operator after operator, on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from analysis.runtimes.module_times import module_times_ms
from analysis.runtimes.runtime import (
    DTYPES,
    Conditions,
    Prepared,
    Runtime,
    as_outputs,
    pytorch_threads,
)
from blocks import Problem, record


class EagerRuntime(Runtime):
    """PyTorch without compilation, on the CPU."""

    @property
    def name(self) -> str:
        """``eager``."""
        return "eager"

    @property
    def package(self) -> str:
        """PyTorch."""
        return "torch"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """All: a CPU without instructions for a format computes in it all the same."""
        return tuple(DTYPES)

    def missing(self) -> Problem | None:
        """None: it is always there."""
        return None

    def prepare(self, module: nn.Module, conditions: Conditions) -> Prepared:
        """Returns passes under inference mode."""
        self.check(conditions)
        return _EagerPrepared(module, conditions)


class _EagerPrepared(Prepared):
    def __init__(self, module: nn.Module, conditions: Conditions) -> None:
        dtype = DTYPES[conditions.dtype]
        self._module = copy.deepcopy(module).eval().to(dtype)
        self._images = conditions.images().to(dtype)
        self._threads = conditions.threads

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Gives PyTorch the threads."""
        with pytorch_threads(self._threads):
            yield

    def run(self) -> object:
        """Makes one pass."""
        with torch.inference_mode():
            return self._module(self._images)

    def outputs(self) -> tuple[Tensor, ...]:
        """Makes one pass."""
        with self.turn():
            return as_outputs(self.run())

    def num_kernels(self) -> int | None:
        """Counts the operator calls that touch memory."""
        return num_operator_calls(self._module, self._images)

    def layer_times_ms(self) -> Mapping[str, float] | None:
        """Times the modules."""
        with self.turn():
            return module_times_ms(self._module, self._images)


def num_operator_calls(module: nn.Module, images: Tensor) -> int | None:
    """Returns how many calls touch memory, None if the module cannot run without values."""
    recording = record(module, [images[:1]])
    return len(recording.ops) if recording.failed_at is None else None
