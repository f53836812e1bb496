"""``branchwork profile``: promised keys, exact numbers, parts that add up, clear mistakes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from networks import lite_hrnet_18, spec_id, spec_to_dict

TASKS = {"coco_keypoints": 17, "mpii_keypoints": 16, "cityscapes": 19, "camvid": 11}


def test_json_holds_what_is_promised(command):
    result = command("profile", "lite_hrnet_18", "hrnet_w32", "--input", "256x192", "--json")
    assert result.code == 0
    first, second = json.loads(result.out)
    assert first["network"] == "lite_hrnet_18"
    assert first["spec_id"] == spec_id(lite_hrnet_18())
    assert (first["task"], first["num_outputs"]) == ("coco_keypoints", 17)
    assert first["input"] == "256x192"
    assert (first["params"], first["macs"]) == (1_130_769, 198_626_688)
    assert first["conventions"]["paper"] == 215_202_112
    assert {"paper", "fvcore", "thop"} <= set(first["conventions"])
    assert all(type(value) is int for value in first["conventions"].values())
    assert (second["params"], second["macs"]) == (28_536_113, 7_645_003_776)


@pytest.mark.parametrize("task", TASKS)
def test_the_task_sets_the_outputs(command, task):
    data = json.loads(command("profile", "lite_hrnet_18", "--task", task, "--json").out)[0]
    assert (data["task"], data["num_outputs"]) == (task, TASKS[task])
    assert data["params"] == 1_130_769 + 41 * (TASKS[task] - 17)


@pytest.mark.parametrize("by", ["stage", "slot", "branch", "layer"])
def test_parts_add_up(command, by):
    data = json.loads(command("profile", "naive_lite_hrnet_18", "--by", by, "--json").out)[0]
    assert data["by"] == by
    assert len(data["parts"]) > 3
    for name in ("params", "macs"):
        assert sum(part[name] for part in data["parts"]) == data[name]
    assert sum(part["conventions"]["paper"] for part in data["parts"]) == 204_217_152


def test_the_table_shows_exact_numbers_and_their_rules(command):
    result = command("profile", "lite_hrnet_18", "--by", "slot")
    assert "198,626,688" in result.out
    assert "Multiply-accumulates of all convolutions" in result.out
    assert "fusion" in result.out


def test_a_spec_file_and_a_changed_network_are_the_same(command, tmp_path):
    changed = command("profile", "lite_hrnet_18", "--set", "block=naive_lite_hrnet", "--json")
    shown = command("show", "lite_hrnet_18", "--set", "block=conv1x1_shuffle", "--json")
    (tmp_path / "mine.json").write_text(shown.out)
    again = command("profile", "mine.json", "--json")
    first, second = json.loads(changed.out)[0], json.loads(again.out)[0]
    assert first["spec_id"] == second["spec_id"]
    assert first["macs"] == second["macs"]
    assert second["network"] == "mine.json"


def _spec_file(path, change):
    data = spec_to_dict(lite_hrnet_18())
    change(data)
    path.write_text(json.dumps(data))
    return path.name


def _odd(data):
    for stage in data["stages"]:
        stage["transition"]["widths"][0] = 41


def _foreign_field(data):
    data["head"]["reduce_ratio"] = 8


def _unknown_kind(data):
    data["stages"][0]["units"][0]["body"][0]["block"]["kind"] = "cww"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_odd, ["every branch needs an even number of channels, got 41", "use 40 or 42"]),
        (_foreign_field, ["head (heatmap)", "'reduce_ratio'"]),
        (_unknown_kind, ["stages.0.units.0.body.0.block", "did you mean 'ccw'?"]),
    ],
)
def test_a_wrong_spec_file_is_told_by_address(command, tmp_path, change, said):
    result = command("profile", _spec_file(tmp_path / "wrong.json", change))
    assert result.code == 2
    assert result.out == ""
    for text in said:
        assert text in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lite_hrnet_81"], "did you mean 'lite_hrnet_18'?"),
        ([""], "a network is a preset, a spec file (.json) or a spec_id"),
        (["missing.json"], "missing.json: a spec file is readable JSON"),
        (["lite_hrnet_18", "--input", "256"], "an image size is HEIGHTxWIDTH"),
        (["lite_hrnet_18", "--input", "250x192"], "pad the image to 256x192"),
        (["lite_hrnet_18", "--task", "cityscape"], "did you mean 'cityscapes'?"),
        (["lite_hrnet_18", "--by", "stages"], "did you mean 'stage'?"),
        (["lite_hrnet_18", "--set", "blok=ccw"], "--set blok: "),
        (
            ["lite_hrnet_18", "--set", "stages.0.units.0.body.0.block.num_conv1x1=1"],
            "the network has the place that is set",
        ),
        (["lite_hrnet_18", "--set", "block"], "a change is ADDRESS=VALUE"),
        (["lite_hrnet_18", "--set", "branches=1"], "the base's first stage"),
        (["lite_hrnet_18", "--blocks", "nowhere"], "block files are read from a folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(command, arguments, said, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    result = command("profile", *arguments)
    assert result.code == 2
    assert result.out == ""
    assert said in result.err
    assert result.err.startswith("error: ")
    assert len(result.err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_starts_without_the_heavy_libraries():
    code = "import sys, cli.main; print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    line = [sys.executable, "-c", code]
    assert subprocess.run(line, check=True, capture_output=True, text=True).stdout == "set()\n"
