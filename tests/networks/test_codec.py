"""Specs on disk: one text per network, one id per text, and every mistake told with its place."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from drawn_specs import specs
from hypothesis import given
from hypothesis import strategies as st

from blocks import SLOTS, Slot, SpecError
from networks import (
    PRESETS,
    GroupSpec,
    NetworkSpec,
    UnitSpec,
    canonical_json,
    lite_hrnet_18,
    read_spec,
    small_hrnet_w16,
    spec_from_dict,
    spec_id,
    spec_to_dict,
)


def refused(data: object) -> SpecError:
    with pytest.raises(SpecError) as caught:
        spec_from_dict(data)
    for problem in caught.value.problems:
        assert problem.rule
        assert problem.got
        assert problem.do
        assert "\n" not in str(problem)
    return caught.value


@pytest.fixture
def data() -> dict[str, Any]:
    return spec_to_dict(lite_hrnet_18())


@given(spec=specs())
def test_a_network_survives_the_way_through_json(spec: NetworkSpec):
    text = canonical_json(spec)
    again = spec_from_dict(json.loads(text))
    assert again == spec
    assert hash(again) == hash(spec)
    assert canonical_json(again) == text
    assert spec_id(again) == spec_id(spec)
    assert re.fullmatch("[0-9a-f]{12}", spec_id(spec))


@given(one=specs(), other=specs())
def test_equal_networks_and_only_they_have_equal_ids(one: NetworkSpec, other: NetworkSpec):
    assert (one == other) == (canonical_json(one) == canonical_json(other))
    assert (one == other) == (spec_id(one) == spec_id(other))


@given(spec=specs(), rng=st.randoms(use_true_random=False))
def test_neither_key_order_nor_group_order_matters(spec: NetworkSpec, rng):
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(part)) for key, part in value.items()]
            rng.shuffle(items)
            if "body" in value:
                items = [(k, rng.sample(v, len(v)) if k == "body" else v) for k, v in items]
            return dict(items)
        if isinstance(value, list):
            return [shuffled(part) for part in value]
        return value

    assert spec_from_dict(shuffled(spec_to_dict(spec))) == spec


def test_ids_of_the_presets_are_pinned():
    # A change here changes the ids of every record that users keep: raise no revision lightly.
    ids = {name: spec_id(preset.make(17)) for name, preset in PRESETS.items()}
    assert len(set(ids.values())) == len(PRESETS)
    assert ids == IDS


IDS = {
    "lite_hrnet_18": "8a811f213099",
    "lite_hrnet_30": "90596a15c12f",
    "naive_lite_hrnet_18": "1adc1948a2c4",
    "wider_naive_lite_hrnet_18": "73b72bddc347",
    "small_hrnet_w16": "76ed1bdd55f7",
    "hrnet_w32": "666ea96976b5",
    "hrnet_w48": "6c96f326881f",
    "mobilenet_v2": "b270befbe853",
    "shufflenet_v2": "03004831d862",
    "lite_hrnet_18_seg": "6ca0ec5d7f13",
    "lite_hrnet_30_seg": "d1c466186959",
    "naive_lite_hrnet_18_seg": "26e48f5c79c1",
    "wider_naive_lite_hrnet_18_seg": "03beb60bae23",
    "small_hrnet_w16_seg": "8273c9ade201",
    "hrnet_w32_seg": "c26a49068490",
    "hrnet_w48_seg": "e1350356ea8a",
}


def test_a_preset_spec_is_read_from_a_file(tmp_path):
    path = tmp_path / "network.json"
    path.write_text(canonical_json(lite_hrnet_18(16)), encoding="utf-8")
    assert read_spec(path) == lite_hrnet_18(16)


def test_canonical_json_is_sorted_and_without_spaces(data):
    text = canonical_json(lite_hrnet_18())
    assert " " not in text
    assert text == json.dumps(data, sort_keys=True, separators=(",", ":"))


def test_a_kinds_name_alone_means_its_defaults(data):
    data["stem"] = "lite"
    data["stages"][1]["units"][0]["fusion"] = {"kind": "released"}
    assert spec_from_dict(data) == lite_hrnet_18()


def test_an_alias_is_the_kind(data):
    for stage in data["stages"]:
        for unit in stage["units"]:
            unit["body"][0]["block"] = "naive_lite_hrnet"
    spec = spec_from_dict(data)
    assert spec == PRESETS["wider_naive_lite_hrnet_18"].make(17)
    assert "naive_lite_hrnet" not in canonical_json(spec)


def test_groups_of_one_block_are_written_as_one(data):
    block = {"kind": "conv1x1_shuffle"}
    apart = copy.deepcopy(data)
    for network, groups in ((data, [[0, 1]]), (apart, [[1], [0]])):
        for stage in network["stages"][:1]:
            for unit in stage["units"]:
                unit["body"] = [
                    {"branches": branches, "block": block, "depth": 2} for branches in groups
                ]
    assert canonical_json(spec_from_dict(apart)) == canonical_json(spec_from_dict(data))


def test_groups_of_a_block_that_sees_all_branches_stay_apart(data):
    together = spec_from_dict(data)
    for unit in data["stages"][0]["units"]:
        unit["body"] = [{"branches": [b], "block": "ccw", "depth": 2} for b in (0, 1)]
    apart = spec_from_dict(data)
    assert len(apart.stages[0].units[0].body) == 2
    assert spec_id(apart) != spec_id(together)


def test_a_switched_off_weighting_has_no_ratio(data):
    blocks = [
        {"kind": "ccw", "cross_resolution": False, "reduce_ratio": ratio} for ratio in (4, 16)
    ]
    ids = set()
    for block in blocks:
        data["stages"][0]["units"][0]["body"][0]["block"] = block
        ids.add(spec_id(spec_from_dict(data)))
    assert len(ids) == 1


def test_another_revision_is_another_id(monkeypatch):
    spec, other = lite_hrnet_18(), small_hrnet_w16()
    before = spec_id(spec), spec_id(other)
    registry = SLOTS[Slot.BLOCK]
    entry = registry.get("ccw")
    raised = type(entry)(
        name=entry.name, cls=entry.cls, revision=entry.revision + 1, aliases=entry.aliases
    )
    monkeypatch.setitem(registry._entries, "ccw", raised)
    assert spec_id(spec) != before[0]
    assert spec_id(other) == before[1]
    # What is written to disk stays the same.
    assert "revision" not in canonical_json(spec)


# Mistakes: what to change, and the message's address, rule and advice.
MISTAKES = {
    "unknown field": (
        lambda d: d["stages"][1]["units"][0]["body"][0]["block"].update(reduce_ration=4),
        (
            "stages.1.units.0.body.0.block (ccw): the block has the fields cross_resolution, "
            "spatial, reduce_ratio, spatial_reduce_ratio, got 'reduce_ration'; did you mean "
            "'reduce_ratio'?"
        ),
    ),
    "field of another kind": (
        lambda d: d["stages"][0]["units"][1].update(fusion={"kind": "released", "outputs": "all"}),
        (
            "stages.0.units.1.fusion (released): the fusion has the fields paths, got 'outputs'; "
            "choose one of paths"
        ),
    ),
    "field of a kind that has none": (
        lambda d: d.update(aggregator={"kind": "iterative", "ratio": 2}),
        (
            "aggregator (iterative): the aggregator has the fields kind alone, got 'ratio'; "
            "leave it out"
        ),
    ),
    "unknown kind": (
        lambda d: d["stages"][2]["units"][0]["body"][0].update(block="cww"),
        (
            "stages.2.units.0.body.0.block: a block must be of a registered kind, got 'cww'; "
            "did you mean 'ccw'?"
        ),
    ),
    "kind of another slot": (
        lambda d: d.update(stem="released"),
        (
            "stem: a stem must be of a registered kind, got 'released'; choose one of hrnet, lite, "
            "mobilenet_v2, shufflenet_v2"
        ),
    ),
    "odd channels": (
        lambda d: d["stages"][2]["transition"].update(widths=[40, 80, 41, 320]),
        (
            "stages.2.units.0.body.0.block (ccw) and 1 more: every branch needs an even number of "
            "channels, got 41 on branch 2 (stride 16); use 40 or 42"
        ),
    ),
    "text for a number": (
        lambda d: d["stem"].update(channels="32"),
        (
            "stem (lite): field 'channels' must be a whole number from 1 to 1000000, got '32'; "
            "the usual values are 16, 24, 32, 48"
        ),
    ),
    "no width": (
        lambda d: d["stages"][0]["transition"].update(widths=[40, 0]),
        (
            "stages.0.transition (separable): field 'widths' must be a list of whole numbers "
            "from 1 to 1000000, got (40, 0); write the width of every branch, finest first"
        ),
    ),
    "a field left out": (
        lambda d: d["stages"][0]["transition"].pop("widths"),
        (
            "stages.0.transition (separable): the field 'widths' must be written, got nothing; "
            "write the width of every branch, finest first"
        ),
    ),
    "a part left out": (
        lambda d: d.pop("head"),
        "network: the field 'head' must be written, got nothing; add it",
    ),
    "a part too many": (
        lambda d: d.update(heads={}),
        (
            "network: it has the fields stem, stages, aggregator, head, got 'heads'; "
            "did you mean 'head'?"
        ),
    ),
    "no object": (
        lambda d: d["stages"][1]["units"].append(7),
        "stages.1.units.4: an object stands here, got 7; write an object with body, fusion",
    ),
    "a branch twice": (
        lambda d: d["stages"][0]["units"][0]["body"][0].update(branches=[0, 0, 1]),
        (
            "stages.0.units.0.body.0.branches: a group names at least one branch, each once, got "
            "[0, 0, 1]; write branch numbers such as [0, 1]"
        ),
    ),
    "a branch in no group": (
        lambda d: d["stages"][0]["units"][0]["body"][0].update(branches=[0]),
        (
            "stages.0.units.0.body: every branch from 0 to 1 must be in exactly one group, got "
            "groups over [[0]]; name each branch in one group's 'branches'"
        ),
    ),
    "no depth": (
        lambda d: d["stages"][0]["units"][0]["body"][0].update(depth=0),
        (
            "stages.0.units.0.body.0.depth: a depth is a whole number from 1 to 1000, got 0; "
            "write 2, for example"
        ),
    ),
    "fewer branches than before": (
        lambda d: d["stages"][1]["transition"].update(widths=[40]),
        (
            "stages.1.transition (separable): a transition keeps every branch or adds some, got 1 "
            "widths for 2 branches; write at least 2 widths"
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_says_where_rule_got_and_what_to_do(data, mistake):
    change, message = MISTAKES[mistake]
    change(data)
    assert str(refused(data).problems[0]) == message


def test_all_mistakes_are_told_at_once(data):
    data["stem"] = "light"
    data["stages"][0]["units"][0]["body"][0]["block"] = {"kind": "ccw", "ratio": 1}
    data["stages"][1]["units"][2]["fusion"]["paths"] = "thick"
    data["stages"][2]["units"][0]["body"][0]["depth"] = "2"
    data["head"] = None
    where = [problem.where for problem in refused(data).problems]
    assert where == [
        "stem",
        "stages.0.units.0.body.0.block (ccw)",
        "stages.1.units.2.fusion (released)",
        "stages.2.units.0.body.0.depth",
        "head",
    ]


def test_one_cause_in_many_units_is_told_once(data):
    data["stages"][1]["transition"]["widths"] = [40, 81, 160]
    data["stages"][2]["transition"]["widths"] = [40, 81, 163, 320]
    problems = refused(data).problems
    assert [(problem.got, problem.branch) for problem in problems] == [("81", 1), ("163", 2)]


def test_something_else_than_a_network_is_one_problem():
    for junk in (None, 3, "lite_hrnet_18", [], True):
        assert len(refused(junk).problems) == 1


def test_python_specs_are_checked_as_files_are():
    unit = lite_hrnet_18().stages[0].units[0]
    with pytest.raises(SpecError, match="a depth is"):
        GroupSpec(branches=(0,), block=unit.body[0].block, depth=0)
    with pytest.raises(SpecError, match="each once"):
        GroupSpec(branches=(), block=unit.body[0].block)
    group = GroupSpec(branches=(1, 0), block=unit.body[0].block, depth=2)
    assert UnitSpec(body=(group,), fusion=unit.fusion) == unit
