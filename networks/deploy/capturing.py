"""Captures what a module computes as a graph of PyTorch's own operators, for one image size."""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from blocks import BranchworkError, ImageSize, ModulePath, Problem

ADDRESS = "address"
"""Key of a node's ``meta``: the path of the module that executed it."""
SHAPE = "shape"
"""Key of a node's ``meta``: the sides of the tensor that it makes; several for several tensors."""

DTYPE = "dtype"
"""Key of the image's ``meta``: the type of its numbers."""
TYPES = "types"
"""Key of the image's ``meta``: the types of all constants that are no whole numbers."""


class CaptureError(BranchworkError):
    """A module does not compute the same operations for every image of one size."""


def capture(module: nn.Module, size: ImageSize, *, batch: int = 1) -> fx.GraphModule:
    """Returns what a module computes from a batch of images, as a graph of ATen operators.

    The module runs once, in eval mode, on a copy. Whatever does not depend on the image (shapes,
    merged weights, positions) is computed then and held as a constant; writes in place become
    operators that make new tensors. Every node carries, in ``meta``, the address of the module
    that executed it and the shape of what it makes.

    Args:
        module: A module from images (N, 3, H, W) to a tensor, or to a list or tuple of tensors;
            it is left as it is.
        size: The images' size.
        batch: How many images go in at once.

    Returns:
        A module that computes the same, with parameters and buffers under their old names.

    Raises:
        CaptureError: If what it computes depends on the image's values.
    """
    copied = copy.deepcopy(module).eval()
    floats = (each.dtype for each in copied.parameters() if each.is_floating_point())
    path = ModulePath(copied)
    recorder = _Recorder(copied, path)
    image = torch.zeros(batch, 3, size.height, size.width, dtype=next(floats, torch.float32))
    recorder.place_image(image)
    pure = torch.func.functionalize(copied, remove="mutations_and_views")
    # A forward pass of a model's own size on real weights is quick, and needs no stand-ins.
    with torch.no_grad(), path.following(), recorder:
        outputs = pure(image)
    return recorder.finish(outputs)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call] # as PyTorch declares it
    """Writes every operator that depends on the image into a graph."""

    def __init__(self, module: nn.Module, path: ModulePath) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = fx.Graph()
        self._path = path
        self._nodes: dict[int, fx.Node] = {}
        # Tensors are told apart by their addresses, so none may be freed and its used again.
        self._held: list[Tensor] = []
        self._names = {
            id(each): name for name, each in (*module.named_parameters(), *module.named_buffers())
        }
        self._constants: dict[str, Tensor] = {}

    def place_image(self, image: Tensor) -> None:
        """Makes the image the graph's input."""
        placed = self._graph.placeholder("image")
        placed.meta[DTYPE] = image.dtype
        self._remember(placed, image)

    def finish(self, outputs: Any) -> fx.GraphModule:  # noqa: ANN401 - whatever is put out
        """Returns the graph, which puts out what the module did."""
        self._graph.output(tree_map(self._as_node, outputs))
        self._graph.eliminate_dead_code()
        floats = (each for each in self._constants.values() if each.is_floating_point())
        (image,) = (node for node in self._graph.nodes if node.op == "placeholder")
        image.meta[TYPES] = frozenset(each.dtype for each in floats)
        return fx.GraphModule(self._constants, self._graph)

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - PyTorch's signature
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Runs one operator and notes it if it depends on the image."""
        named = kwargs or {}
        depends = any(map(self._is_computed, tree_leaves((args, named))))
        if depends and func is torch.ops.aten._local_scalar_dense.default:  # noqa: SLF001
            raise CaptureError(
                Problem(
                    where=self._path.innermost[0],
                    rule="a network that is rewritten or exported computes the same for each image",
                    got="a branch on a value that was computed from the image",
                    do="replace the branch by tensor operations",
                )
            )
        if depends and func._schema.name.startswith("aten::as_strided"):  # noqa: SLF001
            raise CaptureError(
                Problem(
                    where=self._path.innermost[0],
                    rule="a network that is rewritten or exported reads tensors by their sides",
                    got="as_strided, which reads them by their places in memory",
                    do="use views, slices and transposes",
                )
            )
        result = func(*args, **named)
        if depends:
            self._note(func, args, named, result)
        return result

    def _is_computed(self, value: object) -> bool:
        """Tells whether a value depends on the image; constants have nodes as well."""
        node = self._nodes.get(id(value))
        return node is not None and node.op != "get_attr"

    def _note(
        self,
        func: Any,  # noqa: ANN401 - an operator overload has no public type
        args: tuple[Any, ...],
        named: dict[str, Any],
        result: Any,  # noqa: ANN401
    ) -> None:
        made = self._graph.call_function(
            _as_view(func), tree_map(self._as_node, args), tree_map(self._as_node, named)
        )
        made.meta[ADDRESS] = self._path.innermost[0]
        if isinstance(result, Tensor):
            self._remember(made, result)
            return
        assert isinstance(result, Sequence)
        made.meta[SHAPE] = tuple(tuple(each.shape) for each in result)
        for index, each in enumerate(result):
            item = self._graph.call_function(operator.getitem, (made, index))
            item.meta[ADDRESS] = made.meta[ADDRESS]
            self._remember(item, each)

    def _remember(self, node: fx.Node, tensor: Tensor) -> None:
        node.meta.setdefault(ADDRESS, "")
        node.meta[SHAPE] = tuple(tensor.shape)
        self._nodes[id(tensor)] = node
        self._held.append(tensor)

    def _as_node(self, value: Any) -> Any:  # noqa: ANN401 - any argument
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:
            name = self._names.get(id(value), f"constants.{len(self._constants)}")
            self._constants[name] = value.detach()
            self._remember(self._graph.get_attr(name), value)
        return self._nodes[id(value)]


def _as_view(func: Any) -> Any:  # noqa: ANN401 - an operator overload has no public type
    """Returns the operator that makes a view where this one copies, as functions without views do.

    Nothing in a captured graph writes into a tensor, so a view serves as well.
    """
    name = func._schema.name.removeprefix("aten::")  # noqa: SLF001 - no public accessor
    is_plain = func._overloadname in {"", "default"}  # noqa: SLF001 - as above
    if name in {"view", "view_copy", "_unsafe_view"} and is_plain:
        return torch.ops.aten.reshape.default
    if not name.endswith("_copy"):
        return func
    viewing = getattr(torch.ops.aten, name.removesuffix("_copy"), None)
    return getattr(viewing, func._overloadname, func) if viewing is not None else func  # noqa: SLF001
