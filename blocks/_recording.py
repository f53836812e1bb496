"""Records what a module really executes, as the same operations that a spec writes down.

The module runs once on "meta" tensors, which have shapes and no values, under a dispatch mode
that sees every call below autograd. Views touch no memory and are left out.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ._ops import Op
from ._shapes import Shape

KINDS = {
    "aten.convolution": "convolution",
    "aten.native_batch_norm": "batch_norm",
    "aten.hardtanh": "relu6",
    "aten.avg_pool2d": "avg_pool",
    "aten._adaptive_avg_pool2d": "adaptive_avg_pool",
    "aten.max_pool2d_with_indices": "max_pool",
    "aten.upsample_nearest2d": "upsample_nearest",
    "aten.upsample_bilinear2d": "upsample_bilinear",
}
"""Our names of PyTorch's operators, where they are not the operator's own without ``aten.``."""

_SILENT = frozenset({"aten.empty", "aten.detach", "aten.lift_fresh"})


def record_ops(module: nn.Module, inputs: Sequence[Tensor], *, as_list: bool) -> tuple[Op, ...]:
    """Runs a copy of a module in eval mode on meta tensors and returns what it executed.

    Args:
        module: Any module; it is left as it is.
        inputs: Tensors with a batch dimension of 1; only their shapes are used.
        as_list: Whether the module takes its inputs as one list (every layer of ours) or as
            separate arguments.
    """
    # The copy's parameters and buffers are shapes alone, so it costs no memory.
    shapes: dict[int, Any] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for parameter in module.parameters()
    }
    shapes |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in module.buffers()}
    meta = copy.deepcopy(module, shapes).eval()
    arguments = [torch.empty_like(x, device="meta") for x in inputs]
    recorder = _Recorder(meta)
    with torch.no_grad(), recorder.following_modules(), recorder:
        meta(arguments) if as_list else meta(*arguments)
    return tuple(recorder.ops)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # as PyTorch declares it
    """Appends an ``Op`` for each call that touches memory."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops: list[Op] = []
        self._module = module
        self._stack: list[tuple[str, nn.Module]] = []
        # A view of a parameter, such as gamma.view(1, -1, 1, 1), is that parameter.
        self._weights = {
            _storage(parameter): tuple(parameter.shape) for parameter in module.parameters()
        }
        self._buffers = {_storage(buffer) for buffer in module.buffers()}

    @contextmanager
    def following_modules(self) -> Iterator[None]:
        """Keeps track of which module is executing."""
        handles = []
        for name, module in self._module.named_modules():
            handles.append(module.register_forward_pre_hook(self._enter(name)))
            handles.append(module.register_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> Callable[[nn.Module, Any], None]:
        def push(module: nn.Module, _: Any) -> None:  # noqa: ANN401 - whatever the module takes
            self._stack.append((name, module))

        return push

    def _leave(self, *_: Any) -> None:  # noqa: ANN401
        self._stack.pop()

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - PyTorch's signature
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Runs one operator and notes it."""
        result = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket)
        if not _is_view(func) and name not in _SILENT:
            self._note(name, args, result)
        return result

    def _note(self, name: str, args: tuple[Any, ...], result: Any) -> None:  # noqa: ANN401
        tensors = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
        storages = [_storage(tensor) for tensor in tensors]
        weights = tuple(self._weights[key] for key in storages if key in self._weights)
        ins = tuple(
            _without_batch(tensor)
            for tensor, key in zip(tensors, storages, strict=True)
            if key not in self._weights and key not in self._buffers
        )
        outs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        address, module = self._stack[-1] if self._stack else ("", self._module)
        is_leaf = type(module).__module__.startswith("torch.nn.modules")
        self.ops.append(
            Op(
                kind=_kind(name, args),
                ins=ins,
                out=_without_batch(outs[0]) if outs else (),
                weights=weights,
                window=_window(name, args),
                address=address,
                module=type(module).__name__ if is_leaf else "",
            )
        )


def _is_view(func: Any) -> bool:  # noqa: ANN401 - an operator overload has no public type
    """Tells whether an operator only relabels memory: its result aliases an input unwritten."""
    returns = func._schema.returns  # noqa: SLF001 - the schema has no public accessor
    return any(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _kind(name: str, args: tuple[Any, ...]) -> str:
    transposed_index = 6
    if name == "aten.convolution" and args[transposed_index]:
        return "conv_transpose"
    # relu_ and relu compute the same.
    name = name.rstrip("_")
    return KINDS.get(name, name.removeprefix("aten."))


def _window(name: str, args: tuple[Any, ...]) -> int:
    if name in {"aten.avg_pool2d", "aten.max_pool2d_with_indices"}:
        kernel = args[1]
        return math.prod(kernel) if len(kernel) > 1 else kernel[0] ** 2
    return 0


def _without_batch(tensor: Tensor) -> Shape:
    """Drops the batch of one; the heads or tokens that reshaping put first are kept."""
    has_batch = tensor.dim() > 0 and tensor.shape[0] == 1
    return tuple(tensor.shape[1:] if has_batch else tensor.shape)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - meta tensors have no address
