"""The contract that every block keeps, for this project's tests and for plugin authors.

>>> from blocks.basic import Basic
>>> check_block(Basic())
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ._codec import layer_from_dict, layer_to_dict
from ._errors import SpecError
from ._fields import fields_of
from ._layers import BlockSpec, Ins, LayerSpec
from ._ops import Op, Tape, num_weights
from ._recording import record_ops
from ._registry import Registry, Slot
from ._shapes import BranchShape, ImageSize
from ._slots import SLOTS

DEFAULT_INS: tuple[Ins, ...] = (
    (BranchShape(16, 4),),
    (BranchShape(16, 4), BranchShape(24, 8)),
    (BranchShape(8, 4), BranchShape(16, 8), BranchShape(20, 16), BranchShape(40, 32)),
)
"""Branches on which ``check_block`` tries a block."""

_SIZE = ImageSize(64, 96)


def check_block(block: BlockSpec, ins: Sequence[Ins] = DEFAULT_INS) -> None:
    """Checks that a block keeps the contract of blocks; raises an error that says what broke.

    The block must be registered, leave every branch's shape as it is, and keep what every layer
    keeps (see ``check_layer``).

    Args:
        block: The block to check; call again for other settings of its fields.
        ins: Branches to try it on.

    Raises:
        AssertionError: If the contract is broken.
        SpecError: If the block is not registered.
    """
    for branches in ins:
        assert block.out_shapes(branches) == branches, (
            f"{block}: a block leaves its branches as they are, but turns {branches} into "
            f"{block.out_shapes(branches)}"
        )
    check_layer(SLOTS[Slot.BLOCK], block, ins)


def check_layer(registry: Registry[LayerSpec], layer: LayerSpec, ins: Iterable[Ins]) -> None:
    """Checks that a layer of any slot keeps the contract of layers.

    * Equal data, equal spec: it survives the way through JSON, is hashable and frozen, and
      refuses values that its fields do not declare.
    * Its module puts out what ``out_shapes`` says, also in train mode, batch 2, finite values.
    * Inputs are left as they were, bit for bit.
    * Every parameter receives a gradient.
    * Building twice under one seed gives equal modules; building has no memory.
    * Its closed-form operations are those that its module executes, one by one, in order; they
      end in the shapes that ``out_shapes`` says, and name every parameter once.

    Args:
        registry: The registry of the slot.
        layer: The layer to check.
        ins: Branches to try it on.

    Raises:
        AssertionError: If the contract is broken.
    """
    _check_data(registry, layer)
    for branches in ins:
        problems = layer.problems(branches)
        assert not problems, f"{layer} objects to {branches}: {'; '.join(map(str, problems))}"
        _check_module(layer, branches)
        _check_ops(layer, branches)


def _check_data(registry: Registry[LayerSpec], layer: LayerSpec) -> None:
    name = type(layer).__name__
    params = vars(type(layer)).get("__dataclass_params__")
    assert params is not None, f"{name} needs its own @dataclass(frozen=True, kw_only=True)"
    assert params.frozen, f"{name} must be frozen"
    assert type(layer).__hash__ is not None, f"{name} must be hashable"
    data = layer_to_dict(registry, layer)
    again = layer_from_dict(registry, json.loads(json.dumps(data)), "check")
    assert again == layer, f"{layer} comes back from JSON as {again}"
    assert hash(again) == hash(layer), f"{layer} has another hash when it comes back from JSON"
    # A dataclass without a docstring gets its signature for one.
    doc = (type(layer).__doc__ or "").strip()
    assert doc, f"{name} needs a docstring"
    assert not doc.startswith(f"{name}("), f"{name} needs a docstring"
    for info in fields_of(type(layer)):
        assert _is_refused(registry, {**data, info.name: None}), (
            f"{name} takes null for its field {info.name!r}: call super().__post_init__()"
        )


def _is_refused(registry: Registry[LayerSpec], data: dict[str, object]) -> bool:
    try:
        layer_from_dict(registry, data, "check")
    except SpecError:
        return True
    return False


def _check_module(layer: LayerSpec, ins: Ins) -> None:
    torch.manual_seed(0)
    module = layer.build(ins)
    torch.manual_seed(0)
    twin = layer.build(ins)
    states = (module.state_dict(), twin.state_dict())
    assert list(states[0]) == list(states[1]), f"{layer} builds different modules each time"
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), f"{layer}: {name} differs between two builds"

    expected = [(2, *shape.at(_SIZE)) for shape in layer.out_shapes(ins)]
    for training in (True, False):
        module.train(training)
        inputs = _inputs(ins, batch=2)
        before = [x.detach().clone() for x in inputs]
        outs = module(inputs)
        shapes = [tuple(out.shape) for out in outs]
        assert shapes == expected, f"{layer}: out_shapes says {expected}, the module gives {shapes}"
        for x, kept in zip(inputs, before, strict=True):
            assert torch.equal(x, kept), f"{layer} writes into its input"
        assert all(bool(out.isfinite().all()) for out in outs), f"{layer} gives NaN or infinity"
    _check_gradients(layer, module.train(), ins)


def _check_gradients(layer: LayerSpec, module: nn.Module, ins: Ins) -> None:
    module.zero_grad()
    outs = module(_inputs(ins, batch=2))
    # A fixed random direction: a plain sum is blind to what batch norm takes away.
    generator = torch.Generator().manual_seed(1)
    totals = [(out * torch.randn(out.shape, generator=generator)).sum() for out in outs]
    # Branches that pass through untouched depend on no parameter.
    torch.autograd.backward([total for total in totals if total.requires_grad])
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, f"{layer}: no gradient reaches {name}"
        assert bool(parameter.grad.isfinite().all()), f"{layer}: {name} has a gradient of NaN"


def _check_ops(layer: LayerSpec, ins: Ins) -> None:
    closed = layer.ops(ins, _SIZE)
    module = layer.build(ins)
    executed = record_ops(module, _inputs(ins, batch=1), as_list=True)
    assert closed == executed, f"{layer} on {ins}: {first_difference(closed, executed)}"
    assert layer.ops(ins, _SIZE) == closed, f"{layer}: its operations differ from call to call"

    expected = tuple(shape.at(_SIZE) for shape in layer.out_shapes(ins))
    traced = layer.trace(Tape(), ins, [shape.at(_SIZE) for shape in ins])
    assert traced == expected, f"{layer}: out_shapes says {expected}, trace gives {traced}"

    counted = num_weights(closed)
    held = sum(parameter.numel() for parameter in module.parameters())
    assert counted == held, (
        f"{layer}: its operations use {counted} learnable values, its module holds {held}"
    )


def first_difference(closed: Sequence[Op], executed: Sequence[Op]) -> str:
    """Says where closed-form and executed operations part, for messages."""
    for index, (said, did) in enumerate(itertools.zip_longest(closed, executed)):
        if said != did:
            return f"operation {index}: the closed form says {said}, executed was {did}"
    return "the operations are equal"


def _inputs(ins: Ins, *, batch: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn((batch, *shape.at(_SIZE)), generator=generator) for shape in ins]
