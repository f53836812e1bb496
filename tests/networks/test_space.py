"""Spaces of specs: free addresses, what stands for many, and which of two decides."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks import SLOTS, Slot, SpecError, StudyError
from networks import (
    NetworkSpec,
    SpecSpace,
    apply_choices,
    canonical_json,
    hrnet_w32,
    lite_hrnet_18,
    mobilenet_v2,
    naive_lite_hrnet_18,
    spec_from_dict,
    spec_id,
    spec_to_dict,
    wider_naive_lite_hrnet_18,
)

LITE = lite_hrnet_18()


def space(free: Mapping[str, object], base: NetworkSpec = LITE) -> SpecSpace:
    return SpecSpace.resolve(base, free)


def addresses(free: Mapping[str, object], base: NetworkSpec = LITE) -> list[str]:
    return [dimension.address for dimension in space(free, base).dimensions]


def pick(choices: Mapping[str, object], base: NetworkSpec = LITE) -> NetworkSpec:
    """The network with one choice at each address, through a space of single choices."""
    resolved = space({address: [choice] for address, choice in choices.items()}, base)
    return resolved.spec([0] * len(resolved.dimensions))


def block_kinds(spec: NetworkSpec) -> list[list[str]]:
    return [
        [SLOTS[Slot.BLOCK].entry_of(type(unit.body[0].block)).name for unit in stage.units]
        for stage in spec.stages
    ]


def num_units(spec: NetworkSpec) -> list[int]:
    return [len(stage.units) for stage in spec.stages]


def depths(spec: NetworkSpec) -> list[list[int]]:
    return [[unit.body[0].depth for unit in stage.units] for stage in spec.stages]


def widths(spec: NetworkSpec) -> list[list[int]]:
    return [[shape.channels for shape in shapes] for shapes in spec.stage_shapes]


def test_nothing_free_is_the_base():
    empty = space({})
    assert empty.size == 1
    assert list(empty.rows()) == [()]
    assert empty.spec(()) == LITE


def test_the_block_shorthand_with_the_alias_is_the_naive_network():
    assert pick({"block": "naive_lite_hrnet"}) == wider_naive_lite_hrnet_18()
    narrow = pick({"block": "naive_lite_hrnet", "widths": [30, 60, 120, 240]})
    assert narrow == naive_lite_hrnet_18()
    by_name = space({"block": ["conv1x1_shuffle", "ccw"]})
    by_alias = space({"block": ["ccw", "naive_lite_hrnet"]})
    assert by_name == by_alias
    # An alias and its kind are one choice.
    assert space({"block": ["conv1x1_shuffle", "naive_lite_hrnet"]}).size == 1


def test_depth_units_and_fusion_shorthands_set_every_stage():
    spec = pick({"depth": 3, "units": 1, "fusion": "sum"})
    assert depths(spec) == [[3], [3], [3]]
    assert num_units(spec) == [1, 1, 1]
    assert "released" not in canonical_json(spec)


def test_a_shorthand_of_one_stage_leaves_the_others():
    assert num_units(pick({"stages.1.units": 6})) == [2, 6, 2]
    assert depths(pick({"stages.1.depth": 1})) == [[2, 2], [1, 1, 1, 1], [2, 2]]
    kinds = block_kinds(pick({"stages.0.block": "basic"}))
    assert kinds == [["basic"] * 2, ["ccw"] * 4, ["ccw"] * 2]


def test_widths_are_taken_finest_first_by_every_stage():
    assert widths(pick({"widths": [8, 16, 32, 64]})) == [[8, 16], [8, 16, 32], [8, 16, 32, 64]]
    # More widths than branches: the coarsest are not needed.
    assert widths(pick({"widths": [8, 16, 32, 64], "branches": 3})) == [[8, 16], [8, 16, 32]]


def test_branches_drop_coarse_stages_or_add_some():
    assert widths(pick({"branches": 2})) == [[40, 80]]
    assert widths(pick({"branches": 3})) == [[40, 80], [40, 80, 160]]
    assert pick({"branches": 4}) == LITE
    grown = pick({"branches": 5})
    assert widths(grown)[3] == [40, 80, 160, 320, 640]
    assert num_units(grown) == [2, 4, 2, 2]
    assert grown.coarsest_stride == 64
    assert grown.stages[3].units[0].body[0].branches == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_last_unit_puts_out_what_it_did_whatever_the_number_of_branches(count):
    spec = pick({"branches": count}, hrnet_w32())
    outputs = [unit.fusion.outputs for stage in spec.stages[1:] for unit in stage.units]
    assert outputs[-1] == "finest"
    assert set(outputs[:-1]) <= {"all"}
    spec = pick({"units": 2, "branches": count}, hrnet_w32())
    assert [len(stage.units) for stage in spec.stages] == [1, *[2] * (count - 1)]
    assert spec.stages[-1].units[-1].fusion.outputs == "finest"


def test_wildcards_are_written_out():
    assert addresses({"stages.*.units.*.fusion": ["released", "sum"]}) == [
        f"stages.{stage}.units.{unit}.fusion"
        for stage, count in enumerate((2, 4, 2))
        for unit in range(count)
    ]
    assert addresses({"stages.*.units": [1, 2]}) == [f"stages.{i}.units" for i in range(3)]
    assert addresses({"stages.2.units.1.body.*.block": ["ccw", "basic"]}) == [
        "stages.2.units.1.body.0.block"
    ]


def test_the_more_special_address_decides():
    kinds = block_kinds(
        pick(
            {
                "stages.0.units.1.body.0.block": "basic",
                "block": "depthwise_separable",
                "stages.2.block": "bottleneck",
            }
        )
    )
    assert kinds == [
        ["depthwise_separable", "basic"],
        ["depthwise_separable"] * 4,
        ["bottleneck"] * 2,
    ]
    some = space({"stages.*.depth": [1, 2, 3], "stages.1.depth": [4, 5]})
    assert {d.address: d.choices for d in some.dimensions} == {
        "stages.0.depth": (1, 2, 3),
        "stages.1.depth": (4, 5),
        "stages.2.depth": (1, 2, 3),
    }


def test_the_order_in_which_a_study_names_things_does_not_matter():
    free = {
        "widths": [[30, 60, 120, 240], [40, 80, 160, 320]],
        "branches": [4, 3],
        "stages.*.units.*.body.*.block": ["ccw", "conv1x1_shuffle"],
        "stages.*.depth": [2, 1],
    }
    for order in itertools.permutations(free.items()):
        assert space(dict(order)) == space(free)


def test_all_stands_for_declared_choices():
    (dimension,) = space({"block": "all"}).dimensions
    assert dimension.choices == tuple(entry.name for entry in SLOTS[Slot.BLOCK])
    (dimension,) = space({"stages.0.units.0.body.0.block.reduce_ratio": "all"}).dimensions
    # Other kinds have a field of this name, too.
    assert set(dimension.choices) == {2, 4, 8, 16}
    (dimension,) = space({"stem.channels": "all"}).dimensions
    assert set(dimension.choices) >= {16, 24, 32, 48, 64}


def test_a_field_of_another_kind_is_left_out_where_the_kind_has_none():
    address = "stages.0.units.0.body.0.block"
    both = {address: "basic", f"{address}.reduce_ratio": 16}
    assert pick(both) == pick({address: "basic"})
    spec = pick({address: "ccw", f"{address}.reduce_ratio": 16})
    assert spec.stages[0].units[0].body[0].block.reduce_ratio == 16


def test_a_unit_that_was_dropped_is_left_out():
    assert (
        pick({"stages.1.units": 1, "stages.1.units.0.fusion": "sum"}).stages[1].units[0]
        == (LITE.stages[1].units[0])
    )


def test_a_kind_keeps_what_the_task_decides():
    assert pick({"stem": "hrnet"}).stem.channels == 64
    head = {"kind": "heatmap_deconv", "num_deconvs": 2}
    assert pick({"head": head}, lite_hrnet_18(16)).num_outputs == 16
    single = pick({"head": "heatmap"}, mobilenet_v2(16))
    assert single.num_outputs == 16
    assert widths(pick({"stages.0.transition": "dense"}))[0] == [40, 80]


def test_a_choice_can_be_a_kind_with_its_fields_or_a_whole_body():
    block = {"kind": "naive_lite_hrnet", "num_conv1x1": 0}
    assert pick({"block": block}).stages[0].units[0].body[0].block.num_conv1x1 == 0
    body = [
        {"branches": [0, 1], "block": "ccw", "depth": 2},
        {"branches": [2], "block": "basic"},
    ]
    unit = pick({"stages.1.units.3.body": body}).stages[1].units[3]
    assert [(group.branches, group.depth) for group in unit.body] == [((0, 1), 2), ((2,), 1)]
    # What is more special still goes into it.
    spec = pick({"stages.1.units.3.body": body, "stages.1.units.3.body.0.block": "basic"})
    assert {group.depth for group in spec.stages[1].units[3].body} == {1, 2}
    assert set(block_kinds(spec)[1]) == {"ccw", "basic"}


def test_choices_are_sorted_and_each_stands_once():
    (dimension,) = space({"depth": [3, 1, 2, 1]}).dimensions
    assert dimension.choices == (1, 2, 3)
    assert dimension.labels == ("1", "2", "3")
    (dimension,) = space({"widths": [[40, 80, 160, 320], [30, 60, 120, 240]]}).dimensions
    assert len(set(dimension.labels)) == 2
    assert [json.loads(label) for label in dimension.labels] == list(dimension.choices)


def test_size_counts_rows_and_rows_pick_every_combination():
    some = space({"depth": [1, 2], "branches": [2, 3, 4]})
    rows = list(some.rows())
    assert some.size == len(rows) == 6
    assert len({spec_id(some.spec(row)) for row in rows}) == 6


def test_the_base_is_left_as_it_is():
    data = spec_to_dict(LITE)
    before = json.dumps(data)
    choice = {"block": {"kind": "ccw", "reduce_ratio": 4}, "units": 9, "branches": 2}
    apply_choices(data, choice)
    assert json.dumps(data) == before
    assert choice["block"] == {"kind": "ccw", "reduce_ratio": 4}


def test_choices_that_do_not_fit_together_are_told_when_picked():
    some = space({"widths": [[40, 80]], "branches": [2, 4]})
    assert widths(some.spec((0, 0))) == [[40, 80]]
    with pytest.raises(SpecError, match="widths: there is a width for every branch"):
        some.spec((1, 0))
    with pytest.raises(SpecError, match="even number of channels"):
        pick({"widths": [41, 80, 160, 320]})


# What is free, and what the message must say.
MISTAKES = {
    "unknown shorthand": (
        {"width": [[1, 2]]},
        (
            "free.width: a free address is a place of the base network, or a shorthand, got "
            "'width'; did you mean 'widths'?"
        ),
    ),
    "unknown place": (
        {"stages.*.units.*.fusions": ["sum"]},
        "free.stages.*.units.*.fusions: a free address is",
    ),
    "no such stage": ({"stages.7.depth": [1]}, "free.stages.7.depth: a free address is"),
    "a list, not a place in it": ({"stages.0": [1]}, "free.stages.0: a free address is"),
    "all stages at once": ({"stages": [[]]}, "free.stages: a free address is"),
    "a kind by itself": ({"stem.kind": ["lite"]}, "free.stem.kind: a free address is"),
    "no list": ({"depth": 3}, "depth: a free address has a list of choices, or 'all', got 3"),
    "an empty list": ({"depth": []}, "depth: a free address has a list of choices, or 'all'"),
    "all of nothing": ({"depth": "all"}, "'all' stands for declared choices, and none are"),
    "unknown kind": (
        {"block": ["cww"]},
        "block: choices here are kinds of block, got 'cww'; did you mean 'ccw'?",
    ),
    "kind of another slot": ({"fusion": ["ccw"]}, "fusion: choices here are kinds of fusion"),
    "a kind's unknown field": (
        {"block": [{"kind": "ccw", "ratio": 1}]},
        "block: the block has the fields",
    ),
    "no depth": ({"depth": [0]}, "choices here are whole numbers from 1 to 1000, got 0"),
    "a huge depth": ({"stages.0.depth": [10**9]}, "whole numbers from 1 to 1000, got 1000000000"),
    "huge units": ({"units": [10**9]}, "whole numbers from 1 to 1000, got 1000000000"),
    "half a unit": ({"stages.*.units": [1.5]}, "whole numbers from 1 to 1000, got 1.5"),
    "too few branches": (
        {"branches": [1]},
        "branches: the base's first stage over several branches has 2, got 1; write 2 or more",
    ),
    "too many branches": ({"branches": [64]}, "whole numbers from 1 to 8, got 64"),
    "widths of a number": ({"widths": [40]}, "widths: choices here are lists of widths"),
    "widths of nothing": ({"widths": [[]]}, "widths: choices here are lists of widths"),
    "text for a ratio": (
        {"stages.*.units.*.body.*.block.reduce_ratio": ["8"]},
        "stages.0.units.0.body.0.block.reduce_ratio: choices here must be a whole number",
    ),
    "a date": (
        {"stages.0.units.0.body.0.branches": [dt.date(2021, 4, 29)]},
        "choices here are lists of branch numbers",
    ),
    "a body of nothing known": (
        {"stages.0.units.0.body": [[{"branches": [0, 1]}]]},
        "stages.0.units.0.body: the field 'block' must be written",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_says_where_rule_got_and_what_to_do(mistake):
    free, said = MISTAKES[mistake]
    with pytest.raises(StudyError) as caught:
        space(free)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value.problems[0])


def test_all_mistakes_are_told_at_once():
    with pytest.raises(StudyError) as caught:
        space({"depth": [0], "blocks": ["ccw"], "fusion": ["sums"], "units": [1]})
    assert len(caught.value.problems) == 3


def test_a_network_of_one_branch_has_no_shorthands():
    with pytest.raises(StudyError, match=r"free\.widths: a free address is a place"):
        space({"widths": [[32]]}, mobilenet_v2())
    (dimension,) = space({"stages.0.transition.width": [16, 24]}, mobilenet_v2()).dimensions
    assert dimension.choices == (16, 24)


_FREE = {
    "widths": [[8, 16, 24, 32], [40, 80, 160, 320], [7, 14, 28, 56], [8, 16]],
    "branches": [2, 3, 4, 5],
    "block": "all",
    "fusion": "all",
    "units": [1, 2, 3],
    "depth": [1, 2],
    "stages.*.transition": "all",
    "stages.1.units": [1, 5],
    "stages.*.units.*.body.*.block": "all",
    "stages.*.units.*.body.*.block.reduce_ratio": "all",
    "stages.0.units.0.body": [
        [],
        [{"branches": [1], "block": "ccw"}, {"branches": [0], "block": "basic"}],
    ],
    "stages.*.units.*.body.*.branches": [[0], [0, 1], [9]],
    "stages.*.units.*.fusion.paths": "all",
    "stem": "all",
    "stem.channels": "all",
    "aggregator": "all",
    "head": "all",
    "head.num_deconvs": [1, 2, 9],
}


@settings(max_examples=120)
@given(
    names=st.sets(st.sampled_from(sorted(_FREE)), min_size=1, max_size=5),
    base=st.sampled_from((LITE, hrnet_w32())),
    rng=st.randoms(use_true_random=False),
)
def test_every_row_is_a_network_or_refused_in_our_words(names, base, rng):
    some = space({name: _FREE[name] for name in names}, base)
    for _ in range(3):
        row = [rng.randrange(len(dimension.choices)) for dimension in some.dimensions]
        try:
            spec = some.spec(row)
        except SpecError:
            continue
        assert spec_from_dict(spec_to_dict(spec)) == spec
        assert some.spec(row) == spec
