"""Follows the storages that a forward pass makes, from being made to being let go.

The pass runs in eval mode, without gradients, over tensors that have shapes and no values but
otherwise take the ways of a CPU. Python's own references decide when a storage is let go, so what
a variable holds on to counts for as long as it does.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from blocks import ImageSize, ModulePath, operator_kind


@dataclass(frozen=True, kw_only=True)
class Step:
    """An operation that makes storages or writes into one; those that make views are none.

    Attributes:
        address: Path of the module that executes it, "" is the outermost.
        kind: What it computes, as in ``Op``.
        reads: The storages that it reads, as places in ``Execution.storage_bytes``.
        writes: Those that it overwrites, wholly or in part.
        makes: Those that come into being.
    """

    address: str
    kind: str
    reads: frozenset[int]
    writes: frozenset[int]
    makes: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What a forward pass made and held, as far as it ran.

    Attributes:
        steps: Its operations, in order.
        storage_bytes: The size of every storage; 0 for parameters, buffers and whatever else the
            module holds before and after.
        live_bytes: For each operation, the bytes of all storages that lived while it ran: with
            what it read, and with what it made.
        image: The storage of the image.
        outputs: The storages of what was put out; none if the pass broke off.
        dtype: The image's number format, in PyTorch's words.
        failed_at: Address of the module that broke the pass off, None if nothing did.
        reason: What was raised there, on one line.
    """

    steps: tuple[Step, ...]
    storage_bytes: tuple[int, ...]
    live_bytes: tuple[int, ...]
    image: int
    outputs: frozenset[int]
    dtype: str
    failed_at: str | None = None
    reason: str = ""

    @property
    def kept(self) -> frozenset[int]:
        """The storages that the caller holds to the end: the image, and what is put out."""
        return self.outputs | {self.image}


def follow_storages(module: nn.Module, size: ImageSize, batch: int = 1) -> Execution:
    """Runs a copy of a module on one image of three channels and follows its storages.

    Args:
        module: Any module; it is left as it is, and its weights' values are not needed.
        size: The image's size.
        batch: How many images go in at once.
    """
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    floats = (each.dtype for each in module.parameters() if each.is_floating_point())
    dtype = next(floats, torch.float32)
    with fake:
        shapes = _shapes(module)
        image = torch.empty(batch, 3, size.height, size.width, dtype=dtype)
    copied = copy.deepcopy(module, shapes).eval()
    path = ModulePath(copied)
    follower = _Follower(copied, path)
    (place,) = follower.places(image)
    failed_at, reason, outputs = None, "", frozenset[int]()
    try:
        with torch.no_grad(), fake, path.following(), _silent(), follower:
            outputs = follower.places(copied(image))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code raises anything
        failed_at = path.innermost_left
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return Execution(
        steps=tuple(follower.steps),
        storage_bytes=tuple(follower.storage_bytes),
        live_bytes=tuple(follower.live_bytes),
        image=place,
        outputs=outputs,
        dtype=str(dtype).removeprefix("torch."),
        failed_at=failed_at,
        reason=reason,
    )


def _shapes(module: nn.Module) -> dict[int, Any]:
    """Returns parameters and buffers without values in place of a module's own, by identity."""
    shapes: dict[int, Any] = {}
    for parameter in module.parameters():
        # What a lazy module has not made yet has no shape; the pass will break off there.
        if not isinstance(parameter, nn.UninitializedParameter):
            shapes[id(parameter)] = nn.Parameter(_shape(parameter), requires_grad=False)
    return shapes | {id(buffer): _shape(buffer) for buffer in module.buffers()}


def _shape(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps standard output free of what others' code prints, and PyTorch from logging errors.

    What an operator raised is told of in our own words.
    """
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logger.disabled = was_disabled


class _Follower(TorchDispatchMode):  # type: ignore[no-untyped-call] # as PyTorch declares it
    """Numbers the storages that come by and notices when they are gone."""

    def __init__(self, module: nn.Module, path: ModulePath) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self.storage_bytes: list[int] = []
        self.live_bytes: list[int] = []
        self._path = path
        self._live = 0
        # A weak reference keeps an address from being used again, so it tells storages apart.
        self._followed: dict[int, tuple[StorageWeakRef, int]] = {}
        self._weights: dict[int, int] = {}
        for weight in (*module.parameters(), *module.buffers()):
            if not isinstance(weight, nn.UninitializedParameter):
                self._weights[_key(weight)] = len(self.storage_bytes)
                self.storage_bytes.append(0)

    def places(self, values: Any, *, are_new: bool = True) -> frozenset[int]:  # noqa: ANN401
        """Returns the numbers of all storages in a nest of values.

        Args:
            values: The values.
            are_new: Whether a storage that was not seen before is one that was just made; else
                the module held it, as it holds its weights.
        """
        return frozenset(
            self._place(leaf, is_new=are_new)
            for leaf in tree_leaves(values)
            if isinstance(leaf, Tensor) and leaf.device.type == "cpu"
        )

    def _place(self, tensor: Tensor, *, is_new: bool) -> int:
        key = _key(tensor)
        if key in self._weights:
            return self._weights[key]
        if key not in self._followed:
            storage = tensor.untyped_storage()
            size = storage.nbytes() if is_new else 0
            reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call] # as PyTorch's
            self._followed[key] = reference, len(self.storage_bytes)
            self.storage_bytes.append(size)
            self._live += size
        return self._followed[key][1]

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - PyTorch's signature
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Runs one operator and notes what it did to storages."""
        named = kwargs or {}
        self._let_go()
        reads = self.places((args, named), are_new=False)
        num_before = len(self.storage_bytes)
        result = func(*args, **named)
        makes = frozenset(place for place in self.places(result) if place >= num_before)
        writes = self.places(_written(func, args, named))
        if makes or writes:
            self.steps.append(
                Step(
                    address=self._path.innermost[0],
                    kind=operator_kind(func, args),
                    reads=reads,
                    writes=writes,
                    makes=makes,
                )
            )
            self.live_bytes.append(self._live)
        return result

    def _let_go(self) -> None:
        gone = [
            key
            for key, (storage, _) in self._followed.items()
            if storage.expired()  # type: ignore[no-untyped-call] # as PyTorch's
        ]
        for key in gone:
            _, place = self._followed.pop(key)
            self._live -= self.storage_bytes[place]


def _written(func: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> list[Any]:  # noqa: ANN401
    """Returns the arguments that an operator writes into."""
    declared = func._schema.arguments  # noqa: SLF001 - the schema has no public accessor
    given = dict(zip((argument.name for argument in declared), args, strict=False)) | dict(named)
    return [
        given[argument.name]
        for argument in declared
        if argument.name in given and argument.alias_info and argument.alias_info.is_write
    ]


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - these have no data pointer
