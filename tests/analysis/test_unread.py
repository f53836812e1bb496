"""What layers say of their data flow is what an execution shows."""

from __future__ import annotations

import itertools

import pytest
import torch
from drawn_specs import specs
from hypothesis import given, settings
from layer_examples import examples

from analysis.unread import Read, recorded_flow, unread_operations
from blocks import SLOTS, BranchShape, ImageSize, Ins, LayerSpec, Slot, record
from networks import PRESETS, NetworkSpec, SpecSpace


def partial_reads(layer: LayerSpec, ins: Ins) -> list[Read]:
    """All sets of branches that may be read of what a layer puts out, but the whole."""
    count = len(layer.out_shapes(ins))
    sizes = range(1, count) if count > 1 else (1,)
    return [frozenset(r) for n in sizes for r in itertools.combinations(range(count), n)]


@pytest.mark.parametrize("example", examples(), ids=str)
def test_said_flows_are_those_of_an_execution(example):
    for ins in example.ins:
        size = ImageSize(max(b.stride for b in ins) * 2, max(b.stride for b in ins) * 2)
        size = ImageSize(size.height * 4, size.width * 4)
        ops = example.layer.ops(ins, size)
        for read in partial_reads(example.layer, ins):
            said = example.layer.flow(ins, ops, read)
            if said is not None and (len(ins) > 1 or example.slot is not Slot.HEAD):
                assert said == recorded_flow(example.layer, ins, read), (ins, read)


def whole_network(spec: NetworkSpec) -> frozenset[int]:
    """The operations that an execution of the whole network shows to be unread."""
    size = ImageSize(spec.coarsest_stride, spec.coarsest_stride)
    with torch.device("meta"):
        recording = record(spec.build(), [torch.empty(1, 3, size.height, size.width)])
    return frozenset(i for i, is_read in enumerate(recording.are_read) if not is_read)


@settings(max_examples=60)
@given(spec=specs())
def test_unread_operations_are_those_of_an_execution(spec):
    assert unread_operations(spec) == whole_network(spec)


@pytest.mark.parametrize("fusion", [entry.name for entry in SLOTS[Slot.FUSION]])
@pytest.mark.parametrize("block", ["ccw", "conv1x1_shuffle"])
def test_what_is_unread_may_reach_far_back(fusion, block):
    free = {"aggregator": ["none"], "fusion": [fusion], "block": [block], "units": [2]}
    space = SpecSpace.resolve(PRESETS["lite_hrnet_18"].make(17), free)
    spec = space.spec((0,) * len(space.dimensions))
    unread = unread_operations(spec)
    assert unread == whole_network(spec)
    assert unread


class Reader(LayerSpec):
    """A layer of somebody else's, which says nothing of its flow."""

    def out_shapes(self, ins):
        return ins[::-1]

    def build(self, ins):
        return Reversed()

    def trace(self, tape, ins, xs):
        for x in xs:
            tape.act(x)
        return tuple(xs)[::-1]


class Reversed(torch.nn.Module):
    def forward(self, xs):
        return [torch.relu(x) for x in xs][::-1]


def test_a_layer_that_says_nothing_is_recorded():
    ins = (BranchShape(4, 4), BranchShape(6, 8))
    flow = recorded_flow(Reader(), ins, frozenset({0}))
    assert (flow.unread, flow.reads) == ((0,), frozenset({1}))
