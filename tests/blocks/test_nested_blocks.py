"""A block in a field of a block: on disk, in addresses, in searches, in messages."""

from __future__ import annotations

import json

import pytest

from blocks import (
    SLOTS,
    BlockSpec,
    BranchShape,
    Entry,
    Slot,
    SpecError,
    StudyError,
    fields_of,
    layer_from_dict,
    layer_to_dict,
    plain_value,
)
from blocks.basic import Basic
from blocks.bottleneck import Bottleneck
from blocks.ccw import ConditionalChannelWeighting
from blocks.conv1x1_shuffle import Conv1x1Shuffle
from blocks.split import Split
from networks import PRESETS, SpecSpace, apply_choices, spec_from_dict, spec_id, spec_to_dict

BLOCKS = SLOTS[Slot.BLOCK]
BASE = PRESETS["lite_hrnet_18"].make(17)
BLOCK = "stages.0.units.0.body.0.block"


def read(data: object) -> BlockSpec:
    layer = layer_from_dict(BLOCKS, data, "block")
    assert isinstance(layer, BlockSpec)
    return layer


def messages(data: object) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(data)
    return [str(problem) for problem in caught.value.problems]


def nested(depth: int) -> object:
    data: object = "basic"
    for _ in range(depth):
        data = {"kind": "split", "block": data}
    return data


def test_the_way_through_json():
    block = Split(block=ConditionalChannelWeighting(reduce_ratio=4), divisor=4)
    data = layer_to_dict(BLOCKS, block)
    assert data["block"] == {
        "kind": "ccw",
        "cross_resolution": True,
        "spatial": True,
        "reduce_ratio": 4,
        "spatial_reduce_ratio": 4,
    }
    assert read(json.loads(json.dumps(data))) == block
    assert read({"kind": "split", "block": "basic"}) == Split(block=Basic())
    assert read("split").block == fields_of(Split)[0].default
    assert plain_value(block) == data


def test_the_id_knows_the_inner_block_and_its_revision(monkeypatch):
    def with_inner(inner: object) -> str:
        block = {"kind": "split", "block": inner}
        return spec_id(spec_from_dict(apply_choices(spec_to_dict(BASE), {"block": block})))

    first = with_inner({"kind": "bottleneck"})
    assert (
        first == with_inner("bottleneck") == with_inner({"kind": "bottleneck", "reduce_ratio": 4})
    )
    assert first != with_inner({"kind": "bottleneck", "reduce_ratio": 2})
    entry = BLOCKS.get("bottleneck")
    raised = Entry(name=entry.name, cls=entry.cls, revision=9, aliases=())
    monkeypatch.setitem(BLOCKS._entries, "bottleneck", raised)
    assert with_inner({"kind": "bottleneck"}) != first


def test_everything_that_is_wrong_is_said_with_its_address():
    data = {
        "kind": "split",
        "divisor": 0,
        "colour": 1,
        "block": {"kind": "bottleneck", "reduce_ratoi": 2},
    }
    assert messages(data) == [
        (
            "block (split): the block has the fields block, divisor, shuffle, got 'colour'; "
            "choose one of block, divisor, shuffle"
        ),
        (
            "block (split).block (bottleneck): the block has the fields reduce_ratio, "
            "got 'reduce_ratoi'; did you mean 'reduce_ratio'?"
        ),
    ]
    assert messages({"kind": "split", "block": {"kind": "bottleneck", "reduce_ratio": 0}}) == [
        (
            "block (split).block (bottleneck): field 'reduce_ratio' must be a whole number "
            "from 1 to 1000000, got 0; the usual values are 2, 4, 8"
        )
    ]
    assert messages({"kind": "split", "block": "basik"}) == [
        (
            "block (split).block: a block must be of a registered kind, got 'basik'; "
            "did you mean 'basic'?"
        )
    ]
    assert messages({"kind": "split", "block": 3})[0].startswith(
        "block (split).block: every block is an object with a 'kind', got 3"
    )
    assert messages({"kind": "split", "divisor": 3}) == [
        "block (split): field 'divisor' must be 2 or 4, got 3; leave it out for the default, 2"
    ]


def test_blocks_do_not_nest_without_end():
    assert read(nested(4)) == Split(block=Split(block=Split(block=Split(block=Basic()))))
    assert "at most 4 deep" in messages(nested(5))[0]
    assert "at most 4 deep" in messages(nested(5000))[0]


def test_a_field_that_is_a_block_takes_nothing_else():
    with pytest.raises(SpecError, match="field 'block' must be a BlockSpec, got 'basic'"):
        Split(block="basic")


def test_what_does_not_fit_names_the_block_and_the_branch():
    ins = (BranchShape(8, 4), BranchShape(10, 8))
    assert [str(problem) for problem in Split(divisor=4).problems(ins)] == [
        "every branch needs a multiple of 4 channels, got 10 on branch 1 (stride 8); use 8 or 12"
    ]
    assert [str(problem) for problem in Split(block=Conv1x1Shuffle()).problems(ins)] == [
        (
            "block (conv1x1_shuffle): every branch needs an even number of channels, got 5 "
            "on branch 1 (stride 8); use 4 or 6"
        )
    ]
    data = apply_choices(spec_to_dict(BASE), {"widths": [12, 24, 42, 96]})
    data = apply_choices(data, {"block": {"kind": "split", "block": "ccw"}})
    with pytest.raises(SpecError) as caught:
        spec_from_dict(data)
    assert str(caught.value.problems[0]).startswith(
        "stages.1.units.0.body.0.block (split).block (ccw)"
    )


@pytest.mark.parametrize("inner", [ConditionalChannelWeighting(), Basic()])
def test_branches_are_independent_where_the_inner_blocks_are(inner: BlockSpec):
    assert Split(block=inner).independent_branches == inner.independent_branches


def test_modules_stand_at_their_addresses():
    spec = spec_from_dict(apply_choices(spec_to_dict(BASE), {"block": "split"}))
    names = spec.build().state_dict()
    assert f"{BLOCK}.0.block.0.0.conv.weight" in names


def test_addresses_below_a_block_are_search_dimensions():
    free = {
        "stages.*.block": ["ccw", {"kind": "split", "block": "naive_lite_hrnet"}],
        f"{BLOCK}.block": ["ccw", "bottleneck"],
        f"{BLOCK}.block.reduce_ratio": "all",
        f"{BLOCK}.divisor": [2, 4],
    }
    space = SpecSpace.resolve(BASE, free)
    choices = {dimension.address: dimension.choices for dimension in space.dimensions}
    assert choices[f"{BLOCK}.block.reduce_ratio"] == (2, 4, 8, 16)
    assert {"kind": "split", "block": {"kind": "conv1x1_shuffle"}} in choices["stages.0.block"]

    def pick(**wanted: object) -> BlockSpec:
        values = {**{address: options[0] for address, options in choices.items()}}
        values.update({address.replace("__", "."): value for address, value in wanted.items()})
        row = [choices[d.address].index(values[d.address]) for d in space.dimensions]
        return space.spec(row).stages[0].units[0].body[0].block

    split = {"kind": "split", "block": {"kind": "conv1x1_shuffle"}}
    inner = {
        f"{BLOCK}.block": "bottleneck",
        f"{BLOCK}.block.reduce_ratio": 8,
        f"{BLOCK}.divisor": 4,
    }
    assert pick(**{"stages.0.block": split, **inner}) == Split(
        block=Bottleneck(reduce_ratio=8), divisor=4
    )
    # Without a split, what stands below it means nothing.
    assert pick(**{"stages.0.block": "ccw", **inner}) == ConditionalChannelWeighting()


def test_a_choice_below_a_block_that_no_kind_has_is_refused():
    with pytest.raises(StudyError, match="choices here are kinds of block"):
        SpecSpace.resolve(BASE, {f"{BLOCK}.block": ["basik"]})
    with pytest.raises(StudyError, match="a free address is a place of the base network"):
        SpecSpace.resolve(BASE, {f"{BLOCK}.block.colour": [1]})
