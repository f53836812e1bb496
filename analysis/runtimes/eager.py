"""PyTorch as it is written: operator after operator, on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn

from analysis.runtimes.module_times import module_times_ms
from analysis.runtimes.operator_times import EagerObserver
from analysis.runtimes.pytorch import PyTorchPrepared, PyTorchRuntime
from analysis.runtimes.runtime import DTYPES, Conditions, Observer, Prepared
from blocks import Problem, record


class EagerRuntime(PyTorchRuntime):
    """PyTorch without compilation, on the CPU."""

    @property
    def name(self) -> str:
        """``eager``."""
        return "eager"

    def missing(self) -> Problem | None:
        """None: it is always there."""
        return None

    def prepare(self, module: nn.Module, conditions: Conditions) -> Prepared:
        """Returns passes under inference mode."""
        self.check(conditions)
        return _EagerPrepared(module, conditions)


class _EagerPrepared(PyTorchPrepared):
    def __init__(self, module: nn.Module, conditions: Conditions) -> None:
        self._module = copy.deepcopy(module).eval().to(DTYPES[conditions.dtype])
        super().__init__(self._module, conditions)

    def num_kernels(self) -> int | None:
        """Counts the operator calls that touch memory."""
        return num_operator_calls(self._module, self._images)

    def layer_times_ms(self) -> Mapping[str, float] | None:
        """Times the modules."""
        with self.turn():
            return module_times_ms(self._module, self._images)

    def observer(self) -> Observer:
        """Times the operators."""
        return EagerObserver(self._module, self._images)


def num_operator_calls(module: nn.Module, images: Tensor) -> int | None:
    """Returns how many calls touch memory, None if the module cannot run without values."""
    recording = record(module, [images[:1]])
    return len(recording.ops) if recording.failed_at is None else None
