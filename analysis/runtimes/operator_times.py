"""How long each operator of a network takes in eager PyTorch."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from analysis.execution.fusing import filters_of, is_plain
from blocks import Op, record, touches_memory

_OBSERVED_A_TURN = 4
_OPERATORS = {"convolution": "convolution", "conv_transpose": "transposed"}
"""What ``analysis.execution`` calls operators that have filters."""


class EagerObserver:
    """Times every call that touches memory.

    What the calls are is recorded from the same module, which makes the same ones each time.

    Args:
        module: The network, ready to run.
        images: What goes in.
    """

    def __init__(self, module: nn.Module, images: Tensor) -> None:
        self._module = module
        self._images = images
        self._fastest_ms: list[float] = []

    def observe(self) -> None:
        """Makes a few passes."""
        for _ in range(_OBSERVED_A_TURN):
            watch = _Watch()
            # Inference mode would show convolutions before it is decided how they are computed.
            with torch.no_grad(), watch:
                self._module(self._images)
            before_ms = self._fastest_ms or watch.times_ms
            self._fastest_ms = list(map(min, before_ms, watch.times_ms))

    def kernels(self) -> list[dict[str, Any]]:
        """Returns what was executed."""
        ops = record(self._module, [self._images]).ops
        return [
            {**_kernel(op), "time_ms": time_ms}
            for op, time_ms in zip(ops, self._fastest_ms, strict=True)
        ]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call] # as PyTorch declares it
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.times_ms: list[float] = []

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - PyTorch's signature
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Runs one operator and notes how long it took."""
        started = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        took_ms = (time.perf_counter() - started) * 1e3
        if touches_memory(func):
            self.times_ms.append(took_ms)
        return result


def _kernel(op: Op) -> dict[str, Any]:
    has_filters = op.kind in _OPERATORS
    return {
        "name": op.address,
        "operator": _OPERATORS.get(op.kind, op.kind),
        "mark": "computed" if has_filters and not is_plain(op) else "",
        "ins": op.ins[:1] if has_filters else op.ins,
        "filters": filters_of(op) if has_filters else (),
        "out": op.out,
    }
