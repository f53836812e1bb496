"""What PyTorch's runtimes on the CPU have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from analysis.runtimes.runtime import (
    DTYPES,
    Conditions,
    Prepared,
    Runtime,
    as_outputs,
    pytorch_threads,
)


class PyTorchRuntime(Runtime):
    """A way in which PyTorch executes modules."""

    @property
    def package(self) -> str:
        """PyTorch."""
        return "torch"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """All: a processor without instructions for a format computes in it all the same."""
        return tuple(DTYPES)


class PyTorchPrepared(Prepared):
    """A call on a batch of images, on the CPU.

    Args:
        call: What makes a pass, in the number format that is asked for.
        conditions: Images, threads and number format.
    """

    def __init__(self, call: Callable[[Tensor], object], conditions: Conditions) -> None:
        self._call = call
        self._images = conditions.images().to(DTYPES[conditions.dtype])
        self._threads = conditions.threads

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Gives PyTorch the threads."""
        with pytorch_threads(self._threads):
            yield

    def run(self) -> object:
        """Makes one pass."""
        with torch.inference_mode():
            return self._call(self._images)

    def outputs(self) -> tuple[Tensor, ...]:
        """Makes one pass."""
        with self.turn():
            return as_outputs(self.run())
