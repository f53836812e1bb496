"""How long each operator of a network takes in eager PyTorch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from blocks import operator_kind

_OBSERVED_A_TURN = 4
_SILENT = frozenset({"empty", "detach", "lift_fresh"})
"""What touches no memory."""


class EagerObserver:
    """Times every call that reaches PyTorch's kernels.

    Args:
        module: The network, ready to run.
        images: What goes in.
    """

    def __init__(self, module: nn.Module, images: Tensor) -> None:
        self._module = module
        self._images = images
        self._kernels: list[dict[str, Any]] = []
        self._fastest_ms: list[float] = []

    def observe(self) -> None:
        """Makes a few passes."""
        for _ in range(_OBSERVED_A_TURN):
            watch = _Watch()
            # Inference mode would show convolutions before it is decided how they are computed.
            with torch.no_grad(), watch:
                self._module(self._images)
            self._fastest_ms = (
                list(map(min, self._fastest_ms, watch.times_ms))
                if self._fastest_ms
                else watch.times_ms
            )
            self._kernels = watch.kernels

    def kernels(self) -> list[dict[str, Any]]:
        """Returns what was executed; views execute nothing."""
        return [
            {**kernel, "time_ms": time_ms}
            for kernel, time_ms in zip(self._kernels, self._fastest_ms, strict=True)
        ]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call] # as PyTorch declares it
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.times_ms: list[float] = []
        self.kernels: list[dict[str, Any]] = []

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
        outs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        kind = operator_kind(func, args)
        if outs and kind not in _SILENT and not _is_view(func):
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            self.times_ms.append(took_ms)
            self.kernels.append(_kernel(kind, tensors, outs[0]))
        return result


def _kernel(kind: str, tensors: Sequence[Tensor], out: Tensor) -> dict[str, Any]:
    shapes = [list(tensor.shape) for tensor in tensors]
    activations = [each for each in tensors if not isinstance(each, nn.Parameter)]
    kernel = {
        "name": "",
        "operator": kind,
        "mark": "",
        "ins": [_unbatched(list(each.shape)) for each in activations if each.dim() > 1],
        "filters": [],
        "out": _unbatched(list(out.shape)),
    }
    if kind in {"convolution", "conv_transpose"}:
        is_learnt = isinstance(tensors[1], nn.Parameter)
        kernel |= {
            "operator": "convolution" if kind == "convolution" else "transposed",
            "mark": "" if is_learnt else "computed",
            "filters": shapes[1],
            "ins": [_unbatched(shapes[0])],
        }
    return kernel


def _unbatched(shape: list[int]) -> list[int]:
    """Drops a batch of one, as closed forms have it."""
    return shape[1:] if shape and shape[0] == 1 else shape


def _is_view(func: Any) -> bool:  # noqa: ANN401 - an operator overload has no public type
    returns = func._schema.returns  # noqa: SLF001 - the schema has no public accessor
    return any(each.alias_info is not None and not each.alias_info.is_write for each in returns)
