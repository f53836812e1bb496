"""Records what a module really executes, as the same operations that a spec writes down.

The module runs once on "meta" tensors, which have shapes and no values, under a dispatch mode
that sees every call below autograd. Views touch no memory and are left out.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from ._module_path import ModulePath
from ._ops import Op, without_batch
from ._shapes import Shape

KINDS = {
    "aten.convolution": "convolution",
    "aten.native_batch_norm": "batch_norm",
    "aten.hardtanh": "relu6",
    "aten.avg_pool2d": "avg_pool",
    "aten._adaptive_avg_pool2d": "adaptive_avg_pool",
    "aten.max_pool2d_with_indices": "max_pool",
    "aten._softmax": "softmax",
    "aten.native_layer_norm": "layer_norm",
    "aten.upsample_nearest2d": "upsample_nearest",
    "aten.upsample_bilinear2d": "upsample_bilinear",
}
"""Our names of PyTorch's operators, where they are not the operator's own without ``aten.``."""

_SILENT = frozenset({"aten.empty", "aten.detach", "aten.lift_fresh"})


_FREE_OF_MACS = frozenset(
    {
        *("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
        *("native_layer_norm", "native_group_norm", "_fused_rms_norm", "_weight_norm_interface"),
        *("_softmax", "_safe_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "topk"),
        *("avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices"),
        *("_adaptive_avg_pool2d", "adaptive_max_pool2d", "_adaptive_avg_pool3d"),
        *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
        *("_upsample_nearest_exact2d", "upsample_linear1d", "upsample_bilinear2d"),
        *("upsample_bicubic2d", "upsample_trilinear3d"),
        *("cat", "stack", "clone", "copy", "_to_copy", "_unsafe_view", "repeat", "roll", "flip"),
        *("index", "index_select", "gather", "scatter", "embedding", "constant_pad_nd"),
        *("reflection_pad2d", "replication_pad2d", "pixel_shuffle", "pixel_unshuffle"),
        *("channel_shuffle", "im2col", "tril", "triu", "_local_scalar_dense"),
        *("arange", "linspace", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like"),
        *("new_zeros", "new_ones", "new_full", "scalar_tensor", "fill", "zero", "eye"),
        *("_assert_async", "_assert_tensor_metadata", "rand", "randn", "rand_like", "randn_like"),
    }
)
"""Operators that multiply no matrices, besides those that PyTorch tags as such."""

_FREE_TAGS = frozenset({"pointwise", "reduction"})


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a module executed, as far as it ran.

    Attributes:
        ops: Its operations, in order.
        are_read: For each of them, whether the module's output depends on it; True where that
            cannot be told.
        reads: For each of them, the place of the operation that wrote what it reads, for each of
            its ``ins``; -1 where none did.
        outputs: The places of the operations that wrote what the module puts out, in order.
        uncounted: Kinds whose multiply-accumulates nobody has a formula for, and their calls.
        failed_at: Address of the module that broke the run off ("" is the outermost); None if
            the run came to its end.
        reason: What was raised there, on one line.
    """

    ops: tuple[Op, ...]
    are_read: tuple[bool, ...]
    uncounted: dict[str, int]
    reads: tuple[tuple[int, ...], ...] = ()
    outputs: tuple[int, ...] = ()
    failed_at: str | None = None
    reason: str = ""


def record_ops(module: nn.Module, inputs: Sequence[Tensor], *, as_list: bool) -> tuple[Op, ...]:
    """Runs a copy of a module in eval mode on meta tensors and returns what it executed.

    Args:
        module: Any module; it is left as it is.
        inputs: Tensors with a batch dimension of 1; only their shapes are used.
        as_list: Whether the module takes its inputs as one list (every layer of ours) or as
            separate arguments.
    """
    recorder, run = _prepared(module, inputs, as_list=as_list)
    run()
    return tuple(recorder.ops)


def record(module: nn.Module, inputs: Sequence[Tensor], *, as_list: bool = False) -> Recording:
    """Records any module, also one that cannot run to its end on meta tensors.

    Args:
        module: Any module; it is left as it is.
        inputs: Tensors with a batch dimension of 1; only their shapes are used.
        as_list: Whether the module takes its inputs as one list or as separate arguments.
    """
    try:
        recorder, run = _prepared(module, inputs, as_list=as_list)
    except Exception as error:  # noqa: BLE001 - others' code raises anything
        return Recording(ops=(), are_read=(), uncounted={}, failed_at="", reason=_reason(error))
    failed_at, reason, outs = None, "", []
    try:
        outs = [leaf for leaf in tree_leaves(run()) if isinstance(leaf, Tensor)]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        failed_at, reason = recorder.path.innermost_left, _reason(error)
    return Recording(
        ops=tuple(recorder.ops),
        are_read=recorder.are_read({_storage(tensor) for tensor in outs}),
        reads=tuple(recorder.reads),
        outputs=tuple(recorder.writer(_storage(tensor)) for tensor in outs),
        uncounted=recorder.uncounted,
        failed_at=failed_at,
        reason=reason,
    )


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _prepared(
    module: nn.Module, inputs: Sequence[Tensor], *, as_list: bool
) -> tuple[_Recorder, Callable[[], Any]]:
    """Returns a recorder and the run that it records."""
    # The copy's parameters and buffers are shapes alone, so it costs no memory.
    shapes: dict[int, Any] = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
        for parameter in module.parameters()
    }
    shapes |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in module.buffers()}
    meta = copy.deepcopy(module, shapes).eval()
    arguments = [torch.empty_like(x, device="meta") for x in inputs]
    recorder = _Recorder(meta)

    def run() -> Any:  # noqa: ANN401 - whatever the module puts out
        # What a forward pass makes itself has no values either.
        with torch.no_grad(), torch.device("meta"), recorder.path.following(), recorder:
            return meta(arguments) if as_list else meta(*arguments)

    return recorder, run


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # as PyTorch declares it
    """Appends an ``Op`` for each call that touches memory."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops: list[Op] = []
        self.reads: list[tuple[int, ...]] = []
        self.uncounted: dict[str, int] = {}
        self._writers: dict[int, int] = {}
        self._flows: list[tuple[set[int], set[int]]] = []
        # Storages are told apart by their addresses, so none may be freed and its used again.
        self._held: list[Tensor] = []
        self.path = ModulePath(module)
        # A view of a parameter, such as gamma.view(1, -1, 1, 1), is that parameter.
        self._weights = {
            _storage(parameter): tuple(parameter.shape) for parameter in module.parameters()
        }
        self._buffers = {_storage(buffer) for buffer in module.buffers()}

    def are_read(self, outputs: set[int]) -> tuple[bool, ...]:
        """Tells of each operation whether anything that is put out depends on it.

        Args:
            outputs: The storages of what is put out; none if that is not known.
        """
        if not outputs:
            return (True,) * len(self.ops)
        needed = set(outputs)
        found = []
        for reads, writes in reversed(self._flows):
            is_needed = not needed.isdisjoint(writes)
            if is_needed:
                needed |= reads
            found.append(is_needed)
        return tuple(reversed(found))

    def writer(self, storage: int) -> int:
        """Returns the place of the operation that wrote to a storage last, -1 if none did."""
        return self._writers.get(storage, -1)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - PyTorch's signature
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Runs one operator and notes it."""
        result = _run(func, args, kwargs or {})
        if touches_memory(func):
            self._note(func, args, kwargs or {}, result)
        return result

    def _note(
        self,
        func: Any,  # noqa: ANN401 - an operator overload has no public type
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,  # noqa: ANN401
    ) -> None:
        name = str(func.overloadpacket)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        storages = [_storage(tensor) for tensor in tensors]
        weights = tuple(self._weights[key] for key in storages if key in self._weights)
        given = [
            (_without_batch(tensor), key)
            for tensor, key in zip(tensors, storages, strict=True)
            if key not in self._weights and key not in self._buffers
        ]
        outs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        address, module = self.path.innermost
        self._held += tensors + outs
        written = {_storage(out) for out in outs} | _written(func, args)
        self._flows.append((set(storages), written))
        self.reads.append(tuple(self.writer(key) for _, key in given))
        self._writers.update(dict.fromkeys(written, len(self.ops)))
        formula = flop_registry.get(func.overloadpacket)
        if formula is None and not _is_free_of_macs(func):
            kind = operator_kind(func, args)
            self.uncounted[kind] = self.uncounted.get(kind, 0) + 1
        is_leaf = type(module).__module__.startswith("torch.nn.modules")
        self.ops.append(
            Op(
                kind=operator_kind(func, args),
                ins=tuple(shape for shape, _ in given),
                out=_without_batch(outs[0]) if outs else (),
                weights=weights,
                window=_window(name, args),
                address=address,
                module=type(module).__name__ if is_leaf else "",
                recorded_macs=formula and formula(*args, **kwargs, out_val=result) // 2,
            )
        )


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """Runs one operator.

    PyTorch works the shapes of a batch norm out in some twenty steps of Python, which takes longer
    than all that surrounds it. One that does not train puts out what comes in, and no statistics.
    """
    is_training = 5
    if func is not torch.ops.aten.native_batch_norm.default or args[is_training]:
        return func(*args, **kwargs)
    image = args[0]
    return torch.empty_like(image), image.new_empty(0), image.new_empty(0)


def touches_memory(func: Any) -> bool:  # noqa: ANN401 - an operator overload has no public type
    """Tells whether an operator reads or writes numbers; others relabel or set aside memory.

    A view's result aliases an input unwritten.
    """
    returns = func._schema.returns  # noqa: SLF001 - the schema has no public accessor
    is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
    return not is_view and str(func.overloadpacket) not in _SILENT


def _written(func: Any, args: tuple[Any, ...]) -> set[int]:  # noqa: ANN401
    """Returns the storages of the arguments that an operator writes to."""
    declared = func._schema.arguments  # noqa: SLF001 - as above
    return {
        _storage(leaf)
        for argument, value in zip(declared, args, strict=False)
        if argument.alias_info and argument.alias_info.is_write
        for leaf in tree_leaves(value)
        if isinstance(leaf, Tensor)
    }


def _is_free_of_macs(func: Any) -> bool:  # noqa: ANN401
    name = str(func.overloadpacket).removeprefix("aten.").rstrip("_")
    return name in _FREE_OF_MACS or any(tag.name in _FREE_TAGS for tag in func.tags)


def operator_kind(func: Any, args: tuple[Any, ...]) -> str:  # noqa: ANN401
    """Returns what we call an operator of PyTorch's that is called with these arguments."""
    transposed_index = 6
    name = str(func.overloadpacket)
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
    return without_batch(tuple(tensor.shape))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - meta tensors have no address
