"""Help, the catalogue, published costs, latency, the shipped configs and the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from analysis.store import RunStore
from cli.main import app
from networks import read_spec
from search import read_study

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
VERBS = {command.callback.__name__.replace("_", "-") for command in app.registered_commands} | {
    "search"
}


@pytest.mark.parametrize("verb", sorted(VERBS - {"search"}))
def test_help_has_an_example(command, verb):
    result = command(verb, "--help")
    assert result.code == 0
    assert f"branchwork {verb}" in result.out


@pytest.mark.parametrize("verb", ["start", "resume", "status"])
def test_search_help_has_an_example(command, verb):
    result = command("search", verb, "--help")
    assert result.code == 0
    assert f"branchwork search {verb}" in result.out
    assert "--runs" in result.out
    assert "--blocks" in result.out


def test_the_catalogue_knows_aliases_fields_and_presets(command):
    data = json.loads(command("catalogue", "--json").out)
    blocks = {entry["kind"]: entry for entry in data["slots"]["block"]}
    assert {"ccw", "conv1x1_shuffle", "basic", "bottleneck"} <= set(blocks)
    assert {"inverted_residual", "depthwise_separable"} <= set(blocks)
    assert blocks["conv1x1_shuffle"]["aliases"] == ["naive_lite_hrnet"]
    ratio = next(field for field in blocks["ccw"]["fields"] if field["name"] == "reduce_ratio")
    assert (ratio["default"], ratio["choices"]) == (8, [4, 8, 16])
    assert "lite_hrnet_18" in {preset["name"] for preset in data["presets"]}
    assert "naive_lite_hrnet" in command("catalogue", "--slot", "block").out


def test_an_unknown_slot(command):
    result = command("catalogue", "--slot", "blocks")
    assert result.code == 2
    assert "did you mean 'block'?" in result.err


def test_published_costs_name_rule_and_unit(command):
    rows = json.loads(command("published", "--json").out)
    row = next(r for r in rows if (r["network"], r["input"]) == ("lite_hrnet_18", "256x192"))
    assert (row["printed_flops"], row["recounted_flops"]) == ("205.2 M", "205.2 M")
    assert (row["convention"], row["unit"]) == ("paper", 2**20)
    assert "2^20" in command("published").out


def test_latency_names_its_conditions(command, tmp_path):
    arguments = ("latency", "lite_hrnet_18", "--input", "32x32", "--set", "branches=2", "--json")
    row = json.loads(command(*arguments).out)[0]
    assert (row["runtime"], row["threads"], row["batch"]) == ("eager", 1, 1)
    assert (row["dtype"], row["input"]) == ("float32", "32x32")
    assert 0 < row["min_ms"] <= row["p50_ms"] <= row["p90_ms"]
    assert row["num_runs"] >= 20
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda p: p.name)
def test_every_shipped_study_loads(path, tmp_path):
    study = read_study(path, store=RunStore(tmp_path), data=tmp_path)
    assert study.name == path.stem
    assert study.space.size > study.trials


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.json")), ids=lambda p: p.name)
def test_every_shipped_network_loads(path):
    assert read_spec(path).num_branches > 1


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_name_only_verbs_that_exist_and_files_that_are_there(page):
    text = page.read_text(encoding="utf-8")
    for verb in re.findall(r"(?m)(?:^|`|/)branchwork ([a-z-]+)", text):
        assert verb in VERBS, f"{page.name} speaks of branchwork {verb}"
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_catalogue_s_example_of_a_block_works(command, tmp_path):
    page = (ROOT / "docs" / "adding_a_block.md").read_text(encoding="utf-8")
    source = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    folder = tmp_path / "my_blocks"
    folder.mkdir()
    (folder / "residual_depthwise.py").write_text(source, encoding="utf-8")
    arguments = ("--blocks", "my_blocks")
    change = ("--set", "block=residual_depthwise")

    profiled = command("profile", "lite_hrnet_18", *arguments, *change, "--by", "slot", "--json")
    assert profiled.code == 0, profiled.err
    block = next(p for p in json.loads(profiled.out)[0]["parts"] if p["name"] == "block")
    # Two blocks a unit: 9 C + C² at every position of every branch.
    widths = {4: 40, 8: 80, 16: 160, 32: 320}
    units = {4: 8, 8: 8, 16: 6, 32: 2}
    positions = {stride: (256 // stride) * (192 // stride) for stride in widths}
    expected = sum(
        2 * units[stride] * positions[stride] * (9 * width + width**2)
        for stride, width in widths.items()
    )
    assert block["macs"] == expected
    assert "residual_depthwise" in command("catalogue", *arguments).out
    assert "residual_depthwise" in command("show", "lite_hrnet_18", *arguments, *change).out

    from blocks import SLOTS, Slot
    from blocks.testing import check_block

    check_block(SLOTS[Slot.BLOCK].get("residual_depthwise").cls())


def test_an_atlas_of_a_small_study(command, tmp_path):
    text = (ROOT / "configs" / "studies" / "demo.toml").read_text(encoding="utf-8")
    base = str(ROOT / "configs" / "networks" / "small_lite_hrnet.json")
    (tmp_path / "demo.toml").write_text(text.replace("../networks/small_lite_hrnet.json", base))
    result = command("atlas", "demo.toml", "--json")
    assert result.code == 0, result.err
    data = json.loads(result.out)
    assert (data["num_rows"], data["space_size"], data["is_whole"]) == (18, 18, True)
    assert (tmp_path / data["file"]).name == "demo_atlas.parquet"
    best = data["front"][-1]
    changes = [part for pair in best["choices"].items() for part in ("--set", _set(*pair))]
    arguments = ("--task", "synthetic_keypoints", "--input", data["input"], "--json")
    profiled = json.loads(command("profile", base, *changes, *arguments).out)[0]
    assert (profiled["spec_id"], profiled["macs"]) == (best["spec_id"], best["macs"])
    assert "cost front" in command("atlas", "demo.toml").out


def _set(address: str, value: object) -> str:
    return f"{address}={value if isinstance(value, str) else json.dumps(value)}"


def test_an_atlas_of_nothing(command):
    result = command("atlas", "nowhere.toml")
    assert result.code == 2
    assert "nowhere.toml" in result.err
