"""PyTorch compiled by Inductor, on the CPU."""

from __future__ import annotations

import copy
import os
import shutil
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from analysis.runtimes.runtime import (
    DTYPES,
    Conditions,
    Prepared,
    Runtime,
    as_outputs,
    pytorch_threads,
)
from blocks import Problem

_COMPILERS = ("g++", "clang++", "cl")


class CompiledRuntime(Runtime):
    """``torch.compile`` with its default backend, Inductor, on the CPU."""

    @property
    def name(self) -> str:
        """``compile``."""
        return "compile"

    @property
    def package(self) -> str:
        """PyTorch."""
        return "torch"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """All."""
        return tuple(DTYPES)

    def missing(self) -> Problem | None:
        """Inductor writes C++, which something must compile."""
        names = (os.environ.get("CXX", ""), *_COMPILERS)
        if any(shutil.which(name) for name in names if name):
            return None
        return Problem(
            where=self.name,
            rule="torch.compile needs a C++ compiler",
            got="none on the PATH",
            do="install g++ or clang++, or name one in CXX",
        )

    def prepare(self, module: nn.Module, conditions: Conditions) -> Prepared:
        """Compiles the whole network as one graph; that may take minutes."""
        self.check(conditions)
        try:
            return _CompiledPrepared(module, conditions)
        # What Dynamo, Inductor and their C++ compiler raise.
        except RuntimeError as error:
            raise self.cannot_run(error) from error


class _CompiledPrepared(Prepared):
    def __init__(self, module: nn.Module, conditions: Conditions) -> None:
        dtype = DTYPES[conditions.dtype]
        self._compiled = compiled(copy.deepcopy(module).eval().to(dtype))
        self._images = conditions.images().to(dtype)
        self._threads = conditions.threads
        self.outputs()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Gives PyTorch the threads; the code that Inductor writes depends on their number."""
        with pytorch_threads(self._threads):
            yield

    def run(self) -> object:
        """Makes one pass."""
        with torch.inference_mode():
            return self._compiled(self._images)

    def outputs(self) -> tuple[Tensor, ...]:
        """Makes one pass."""
        with self.turn():
            return as_outputs(self.run())

    def num_kernels(self) -> int | None:
        """None: Inductor does not say how often it calls its kernels."""
        return None

    def layer_times_ms(self) -> Mapping[str, float] | None:
        """None: one kernel computes parts of several layers."""
        return None


def compiled(module: nn.Module) -> Callable[[Tensor], object]:
    """Compiles a module as one graph, apart from all that was compiled before.

    PyTorch keeps what it compiles with the code of ``forward``, which networks of one class
    share, and gives up after a few. Code of its own for each has no such limit.
    """

    def call(images: Tensor) -> object:
        return module(images)

    own = types.FunctionType(
        call.__code__.replace(), call.__globals__, "call", None, call.__closure__
    )
    made: Callable[[Tensor], object] = torch.compile(own, fullgraph=True, dynamic=False)
    return made
