"""PyTorch compiled by Inductor, on the CPU."""

from __future__ import annotations

import copy
import os
import shutil
import types
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from analysis.runtimes.pytorch import PyTorchPrepared, PyTorchRuntime
from analysis.runtimes.runtime import DTYPES, Conditions, Prepared
from blocks import Problem

_COMPILERS = ("g++", "clang++", "cl")


class CompiledRuntime(PyTorchRuntime):
    """``torch.compile`` with its default backend, Inductor, on the CPU."""

    @property
    def name(self) -> str:
        """``compile``."""
        return "compile"

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


class _CompiledPrepared(PyTorchPrepared):
    def __init__(self, module: nn.Module, conditions: Conditions) -> None:
        copied = copy.deepcopy(module).eval().to(DTYPES[conditions.dtype])
        super().__init__(compiled(copied), conditions)
        # Compiles now, for as many threads as will run it: the code depends on their number.
        self.outputs()

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
