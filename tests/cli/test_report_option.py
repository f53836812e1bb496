"""``branchwork profile --report``: files that say what the command prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.any_module import profile_module
from analysis.profiles import profile_network, profile_of_module
from blocks import BranchworkError, ImageSize
from cli.profile_report import check_reports, write_reports
from networks import hrnet_w32, lite_hrnet_18

SIZE = ImageSize(256, 192)


def profile_of(name, spec):
    return profile_network(name, spec, SIZE, "coco_keypoints")


def test_json_equals_what_the_command_prints_by_layer(command, tmp_path, capsys):
    printed = command("profile", "lite_hrnet_18", "hrnet_w32", "--by", "layer", "--json")
    profiles = [
        profile_of("lite_hrnet_18", lite_hrnet_18()),
        profile_of("hrnet_w32", hrnet_w32()),
    ]
    path = tmp_path / "two.json"
    write_reports(profiles, [path])
    assert capsys.readouterr().err == f"wrote {path}\n"
    for wanted, found in zip(json.loads(printed.out), json.loads(path.read_text()), strict=True):
        assert {key: found[key] for key in wanted} == wanted
        assert list(found)[: len(wanted)] == list(wanted)


def test_a_module_is_reported_as_the_command_prints_it(command, tmp_path):
    Path("mine.py").write_text(
        "from torch import nn\n"
        "def Net():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))\n"
    )
    arguments = ("profile", "mine:Net", "--input", "64x48", "--by", "layer", "--json")
    (printed,) = json.loads(command(*arguments).out)
    import mine

    profiled = profile_module(mine.Net(), ImageSize(64, 48), "mine:Net")
    write_reports([profile_of_module("mine:Net", profiled)], [tmp_path / "mine.json"])
    (found,) = json.loads((tmp_path / "mine.json").read_text())
    assert {key: found[key] for key in printed} == printed


def test_several_reports_at_once(tmp_path):
    paths = [tmp_path / f"out.{suffix}" for suffix in ("html", "md", "csv", "json", "tex")]
    write_reports([profile_of("lite_hrnet_18", lite_hrnet_18())], paths)
    for path in paths:
        assert path.stat().st_size > 1000


def test_all_unknown_suffixes_are_told_before_anything_is_counted():
    check_reports(None)
    check_reports([Path("a.html"), Path("a.tex")])
    with pytest.raises(BranchworkError) as caught:
        check_reports([Path("a.pdf"), Path("b.html"), Path("c")])
    assert [problem.where for problem in caught.value.problems] == [
        "--report a.pdf",
        "--report c",
    ]
