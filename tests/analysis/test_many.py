"""Tables give every network the cost that its own closed form gives, to the last unit."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_spaces import spaces
from hypothesis import given
from hypothesis import strategies as st

from analysis import CONVENTIONS, RunStore, cost_many, many, measure_cost
from analysis.conventions import fvcore
from analysis.many import every_choice, sample_choices
from analysis.part_tables import INVALID
from blocks import BranchworkError, ImageSize
from networks import PRESETS, NetworkSpec, SpecSpace, hrnet_w32, lite_hrnet_18
from search import read_study


def expected(space: SpecSpace, row: list[int], size: ImageSize) -> dict[str, int]:
    try:
        return measure_cost(space.spec(row), size).conventions
    except BranchworkError:
        return dict.fromkeys(CONVENTIONS, INVALID)


@given(space=spaces(), side=st.sampled_from([32, 64, 96]), seed=st.integers(0, 9))
def test_drawn_spaces(space: SpecSpace, side: int, seed: int):
    size = ImageSize(side, 64)
    rows = sample_choices(space, 12, seed)
    found = cost_many(space, rows, size=size)
    for index, row in enumerate(rows.tolist()):
        assert {name: int(found[name][index]) for name in found} == expected(space, row, size)


@pytest.mark.parametrize("name", PRESETS)
def test_a_space_of_one_network_is_that_network(name):
    space = SpecSpace(base=PRESETS[name].make(17), dimensions=())
    found = cost_many(space, every_choice(space), names=("macs", "params", "paper"))
    cost = measure_cost(space.base, ImageSize(256, 192))
    assert {key: value.tolist() for key, value in found.items()} == {
        key: [cost.conventions[key]] for key in ("macs", "params", "paper")
    }


def test_the_shipped_atlas(root, tmp_path):
    study = read_study(root / "configs" / "studies" / "atlas.toml", store=RunStore(tmp_path))
    assert study.space.size == 10_616_832
    rows = sample_choices(study.space, 200_000, 3)
    found = cost_many(study.space, rows, size=study.input)
    for index in range(0, 200_000, 20_000):
        one = expected(study.space, rows[index].tolist(), study.input)
        assert {name: int(found[name][index]) for name in found} == one


def test_a_last_stage_that_puts_out_less_hands_that_on():
    free = {"branches": [2, 3, 4], "stages.3.fusion": ["sum", "released"], "units": [1, 2]}
    space = SpecSpace.resolve(hrnet_w32(), free)
    rows = every_choice(space)
    found = cost_many(space, rows, size=ImageSize(64, 64), names=("macs",))["macs"]
    assert found.tolist() == [
        expected(space, row, ImageSize(64, 64))["macs"] for row in rows.tolist()
    ]


def test_stages_that_are_added_copy_the_last():
    free = {"branches": [4, 5], "stages.2.block": ["ccw", "basic"], "stages.2.units": [1, 2]}
    space = SpecSpace.resolve(lite_hrnet_18(), free)
    rows = every_choice(space)
    found = cost_many(space, rows, size=ImageSize(128, 64), names=("params",))["params"]
    assert len(set(found.tolist())) == len(rows)
    assert found.tolist() == [
        expected(space, row, ImageSize(128, 64))["params"] for row in rows.tolist()
    ]


def test_what_nobody_reads_is_left_out_where_the_tool_leaves_it_out():
    free = {
        "aggregator": ["none", "iterative"],
        "branches": [2, 3, 4],
        "stages.2.fusion": ["none", "sum", "adjacent_only", "pooled"],
        "stages.1.fusion": ["none", "released"],
        "stages.*.block": ["ccw", "conv1x1_shuffle"],
    }
    space = SpecSpace.resolve(lite_hrnet_18(), free)
    size = ImageSize(64, 64)
    rows = sample_choices(space, 150, 0)
    found = cost_many(space, rows, size=size)
    num_dropped = 0
    for index, row in enumerate(rows.tolist()):
        assert {name: int(found[name][index]) for name in found} == expected(space, row, size)
        num_dropped += fvcore(space.spec(row).operations(size)) > found["fvcore"][index]
    assert num_dropped > 50


def test_what_does_not_fit_is_marked():
    space = SpecSpace.resolve(lite_hrnet_18(), {"widths": [[40, 80, 160, 320], [41, 80, 160, 320]]})
    assert (cost_many(space, every_choice(space))["macs"] > 0).tolist() == [True, False]
    odd = cost_many(space, every_choice(space), size=ImageSize(250, 192))
    assert all((value == INVALID).all() for value in odd.values())


def test_every_choice_is_every_row_once():
    free = {"branches": [2, 3], "depth": [1, 2, 3]}
    space = SpecSpace.resolve(lite_hrnet_18(), free)
    assert every_choice(space).tolist() == [list(row) for row in space.rows()]
    drawn = sample_choices(space, 500, 1)
    assert drawn.min() == 0
    assert np.unique(drawn, axis=0).tolist() == every_choice(space).tolist()


def test_a_space_too_large_for_tables_is_counted_all_the_same(monkeypatch):
    space = SpecSpace.resolve(lite_hrnet_18(), {"branches": [2, 3], "depth": [1, 2]})
    rows = every_choice(space)
    size = ImageSize(64, 64)
    by_tables = cost_many(space, rows, size=size)
    monkeypatch.setattr("analysis.many._MAX_ENTRIES", 1)
    many._built.cache_clear()
    one_by_one = cost_many(space, rows, size=size)
    many._built.cache_clear()
    assert {k: v.tolist() for k, v in one_by_one.items()} == {
        k: v.tolist() for k, v in by_tables.items()
    }


def test_an_empty_list_of_rows():
    space = SpecSpace.resolve(lite_hrnet_18(), {"branches": [2, 3]})
    assert cost_many(space, np.zeros((0, 1), dtype=int))["macs"].shape == (0,)


def test_networks_with_no_free_place(tmp_path):
    base: NetworkSpec = lite_hrnet_18()
    assert (
        cost_many(SpecSpace(base=base, dimensions=()), np.zeros((3, 0), dtype=int))["macs"].tolist()
        == [198_626_688] * 3
    )
