"""The contract of layers, over everything that is registered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from layer_examples import Example, examples
from torch import Tensor, nn

from blocks import (
    SLOTS,
    BlockSpec,
    BranchBlock,
    BranchShape,
    CrossBranchBlock,
    Ins,
    LayerSpec,
    Shape,
    Slot,
    SpecError,
    Tape,
    choice,
    pointwise,
)
from blocks.testing import check_block, check_layer

LAYERS = examples()


@pytest.mark.parametrize("example", LAYERS, ids=lambda e: f"{e}-{e.layer}")
def test_keeps_the_contract(example: Example):
    if example.slot is Slot.BLOCK:
        check_block(example.layer)
    else:
        check_layer(SLOTS[example.slot], example.layer, example.ins)


@pytest.mark.parametrize("slot", list(Slot))
def test_every_registered_kind_has_an_example(slot):
    tried = {example.kind for example in LAYERS if example.slot is slot}
    assert {entry.name for entry in SLOTS[slot]} == tried, (
        f"add an example of every {slot.value} to tests/layer_examples.py"
    )


# What follows breaks the contract, one way each.


@dataclass(frozen=True, kw_only=True)
class _Good(BranchBlock):
    """A 1x1 convolution, kept by all the broken ones where they break nothing."""

    def build_branch(self, shape: BranchShape) -> nn.Module:
        return pointwise(shape.channels, shape.channels).build()

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        return pointwise(shape.channels, shape.channels).trace(tape, x)


class _WritingConv(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mul_(2))


@dataclass(frozen=True, kw_only=True)
class _WritesIntoItsInput(_Good):
    """Doubles its input in place."""

    def build_branch(self, shape: BranchShape) -> nn.Module:
        return _WritingConv(*super().build_branch(shape))


@dataclass(frozen=True, kw_only=True)
class _WrongOperations(_Good):
    """Says that it has no batch norm."""

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        return tape.at("conv").conv(x, shape.channels)


@dataclass(frozen=True, kw_only=True)
class _ForgetsAnOperation(_Good):
    """Says that it has an activation at the end."""

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        return tape.at("act").act(super().trace_branch(tape, shape, x))


class _SpareConv(nn.Module):
    def __init__(self, conv: nn.Module, spare: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.spare = spare

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@dataclass(frozen=True, kw_only=True)
class _UnusedParameter(_Good):
    """Holds a convolution that it does not use."""

    def build_branch(self, shape: BranchShape) -> nn.Module:
        return _SpareConv(super().build_branch(shape), nn.Conv2d(1, 1, 1))


@dataclass(frozen=True, kw_only=True)
class _WrongModuleShape(_Good):
    """Puts out one channel more than it says."""

    def build_branch(self, shape: BranchShape) -> nn.Module:
        return pointwise(shape.channels, shape.channels + 1).build()


@dataclass(frozen=True, kw_only=True)
class _ChangesBranches(CrossBranchBlock):
    """Drops all branches but the finest."""

    def out_shapes(self, ins: Ins) -> Ins:
        return (BranchShape(1, 4), *ins[1:])

    def build(self, ins: Ins) -> nn.Module:
        return nn.Identity()

    def trace(self, tape: Tape, ins: Ins, xs):
        return tuple(xs)


@dataclass(frozen=True, kw_only=True)
class _WrongTracedShape(_Good):
    """Its trace ends in another shape than the module."""

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        channels, height, width = super().trace_branch(tape, shape, x)
        return (channels + 1, height, width)


class _NotDecorated(_Good):
    """Its field was never made one."""

    ratio: int = choice(4, among=(2, 4))


class _NotFrozen(_Good):
    """A dataclass of its own whose values change."""

    __dataclass_params__ = type("Params", (), {"frozen": False})


@dataclass(frozen=True, kw_only=True)
class _TakesAnything(_Good):
    """Checks no field."""

    ratio: int = choice(4, among=(2, 4))

    def __post_init__(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class _Undocumented(_Good):
    pass


@dataclass(frozen=True, kw_only=True, eq=False)
class _NeverEqual(_Good):
    """Equal only to itself."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class _NaN(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).log()


@dataclass(frozen=True, kw_only=True)
class _GivesNaN(_Good):
    """Takes a logarithm of negative numbers."""

    def build_branch(self, shape: BranchShape) -> nn.Module:
        return _NaN(*super().build_branch(shape))


class _TwoScales(nn.Sequential):
    def __init__(self, channels: int, *parts: nn.Module) -> None:
        super().__init__(*parts)
        self.alpha = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.alpha.view(-1, 1, 1) * self.gamma.view(-1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class _CountsTooFewWeights(_Good):
    """Uses two parameters of its own alike, which operations cannot tell apart."""

    def build_branch(self, shape: BranchShape) -> nn.Module:
        return _TwoScales(shape.channels, *super().build_branch(shape))

    def trace_branch(self, tape: Tape, shape: BranchShape, x: Shape) -> Shape:
        conv, norm = tape.at("0"), tape.at("1")
        y = norm.norm(conv.conv(x, shape.channels))
        for _ in range(2):
            tape.write("mul", (y,), y, weights=((shape.channels,),))
        return y


_memory = iter(range(1000))


@dataclass(frozen=True, kw_only=True)
class _BuildsDifferently(_Good):
    """Remembers how often it was built."""

    def build_branch(self, shape: BranchShape) -> nn.Module:
        module = super().build_branch(shape)
        nn.init.constant_(module.conv.weight, next(_memory))
        return module


@dataclass(frozen=True, kw_only=True)
class _Objects(_Good):
    """Does not work on usual branches."""

    def problems(self, ins: Ins):
        from blocks import Problem

        return (Problem(rule="nothing fits", got="something", do="give up"),)


BROKEN = {
    _WritesIntoItsInput: "writes into its input",
    _WrongOperations: "operation 1: the closed form says .*, executed was .*batch_norm",
    _ForgetsAnOperation: "the closed form says .*relu.*, executed was",
    _UnusedParameter: "no gradient reaches .*spare.weight",
    _WrongModuleShape: r"out_shapes says .*the module gives",
    _ChangesBranches: "a block leaves its branches as they are",
    _WrongTracedShape: "out_shapes says .*, trace gives",
    _NotDecorated: "_NotDecorated needs its own @dataclass",
    _NotFrozen: "_NotFrozen must be frozen",
    _TakesAnything: "takes null for its field 'ratio'",
    _Undocumented: "_Undocumented needs a docstring",
    _NeverEqual: "comes back from JSON as",
    _GivesNaN: "gives NaN or infinity",
    _CountsTooFewWeights: "its operations use .* learnable values, its module holds",
    _BuildsDifferently: "differs between two builds",
    _Objects: "objects to .*nothing fits",
}


@contextmanager
def _registered(cls: type[BlockSpec]) -> Iterator[None]:
    registry = SLOTS[Slot.BLOCK]
    registry.register("under_test")(cls)
    try:
        yield
    finally:
        registry.remove("under_test")


def test_the_block_that_the_broken_ones_start_from_is_whole():
    with _registered(_Good):
        check_block(_Good())


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_catches(cls: type[LayerSpec]):
    with _registered(cls), pytest.raises(AssertionError, match=BROKEN[cls]):
        check_block(cls())


def test_an_unregistered_block_is_named():
    with pytest.raises(SpecError, match=r"_Good: a block must be registered"):
        check_block(_Good())


def test_a_mutable_dataclass_cannot_even_be_declared():
    with pytest.raises(TypeError, match="cannot inherit non-frozen"):

        @dataclass(kw_only=True)
        class _Mutable(_Good):
            pass
