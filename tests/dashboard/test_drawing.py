"""The drawing of a network, read as HTML."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from drawn_specs import specs
from hypothesis import given

from analysis.drawing import STYLE, network_drawing, read_network
from analysis.figures import SLOT_COLOURS
from networks import (
    PRESETS,
    hrnet_w32,
    lite_hrnet_18,
    mobilenet_v2,
    spec_to_dict,
    wider_naive_lite_hrnet_18,
)

CELL = re.compile(r'class="bw-cell bw-(\w+)"[^>]*grid-row:(\d+) / span (\d+)"><span>(.*?)</span>')


def cells_of(drawing: str) -> list[tuple[str, int, int, str]]:
    """Slot, first row, rows, first line."""
    return [(m[1], int(m[2]) - 1, int(m[3]), m[4]) for m in CELL.finditer(drawing)]


class _Balanced(HTMLParser):
    """Fails on a tag that closes another than the one that is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_well_formed(html: str) -> None:
    parser = _Balanced()
    parser.feed(html)
    parser.close()
    assert parser.open == []


def test_lite_hrnet_18_is_drawn_with_its_branches_and_repeated_units():
    drawing = network_drawing(spec_to_dict(lite_hrnet_18()))
    cells = cells_of(drawing)
    widths = [(row, text) for slot, row, _, text in cells if slot == "transition"][-4:]
    assert widths == [(i, f"{40 * 2**i} channels") for i in range(4)]
    blocks = [cell for cell in cells if cell[0] == "block"]
    assert blocks == [("block", 0, rows, "ccw \N{MULTIPLICATION SIGN} 2") for rows in (2, 3, 4)]
    assert [drawing.count(f"{count} units, each") for count in (2, 4)] == [2, 1]
    assert ("aggregator", 0, 4, "iterative") in cells
    assert ("head", 0, 1, "17 maps") in cells


def test_a_block_for_one_branch_has_a_cell_a_branch():
    blocks = [c for c in cells_of(network_drawing(spec_to_dict(hrnet_w32()))) if c[0] == "block"]
    assert [cell[1:3] for cell in blocks[-4:]] == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_units_that_differ_are_drawn_apart_and_say_in_what():
    drawing = network_drawing(spec_to_dict(hrnet_w32()))
    assert "<small>outputs finest</small>" in drawing
    assert drawing.count("2 units, each") == 1


def test_a_single_branch_network_says_what_its_stages_change():
    drawing = network_drawing(spec_to_dict(mobilenet_v2()))
    assert "<small>stride 2, expand_ratio 1</small>" in drawing
    assert "<small>stride 32, expand_ratio 6</small>" in drawing


def test_a_group_of_branches_that_do_not_touch_is_said_to_work_together():
    spec = spec_to_dict(lite_hrnet_18())
    unit = spec["stages"][1]["units"][0]
    group = unit["body"][0]
    unit["body"] = [{**group, "branches": [0, 2]}, {**group, "branches": [1]}]
    drawing = network_drawing(spec)
    assert drawing.count("<small>branches 0, 2 together</small>") == 2


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_drawn_well_formed_with_all_its_kinds(name):
    spec = spec_to_dict(PRESETS[name].make(17))
    drawing = network_drawing(spec)
    check_well_formed(drawing)
    for kind in re.findall(r'"kind": "(\w+)"', json.dumps(spec)):
        assert f"<b>{kind}</b>" in drawing


@given(specs())
def test_any_network_is_drawn_within_its_branches(network):
    drawing = network_drawing(spec_to_dict(network))
    check_well_formed(drawing)
    assert all(row + rows <= network.num_branches for _, row, rows, _ in cells_of(drawing))


def test_unregistered_kinds_are_drawn_from_the_data_alone():
    spec = spec_to_dict(wider_naive_lite_hrnet_18())
    spec["head"] = {"kind": "<b>mine</b>", "rate": 3}
    assert read_network(spec) is None
    drawing = network_drawing(spec)
    check_well_formed(drawing)
    assert "<b>mine</b>" not in drawing
    assert "&lt;b&gt;mine&lt;/b&gt;" in drawing
    assert "A kind not registered here. [rate 3]" in drawing
    assert ("transition", 0, 4, "separable") in cells_of(drawing)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"stages": 5},
        {"stem": [1], "head": {"kind": 3}},
        {"stages": [{"units": [{"body": [{"branches": [0, "x", 10**9], "block": 7}]}]}]},
        {"stages": [[], {"units": {}, "transition": None}], "aggregator": {"kind": None}},
    ],
)
def test_data_that_is_no_network_is_drawn_without_an_error(spec):
    check_well_formed(network_drawing(spec))


def test_the_drawing_needs_nothing_from_elsewhere():
    page = STYLE + network_drawing(spec_to_dict(lite_hrnet_18()))
    assert not re.search(r"https?:|<script|url\(|@import", page)
    assert all(f".bw-{slot}{{--slot:{colour}}}" in STYLE for slot, colour in SLOT_COLOURS.items())
