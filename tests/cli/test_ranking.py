"""``branchwork rank-study`` from the command line, on a very small set."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = str(ROOT / "configs" / "networks" / "small_lite_hrnet.json")
SPACE = """
[study]
name = "space"
base = "{base}"
task = "synthetic_keypoints"
[free]
branches = [2, 3]
widths = [[8, 16, 32, 64], [16, 32, 64, 128]]
"""
TASK = (
    *("--task", "synthetic_keypoints", "--input", "64x64"),
    *("--option", "num_train=16", "--option", "num_val=8"),
)
SCHEDULES = ("--short", "smoke,steps=1,num_evals=1", "--long", "smoke,steps=2,num_evals=2")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("BRANCHWORK_CACHE", str(folder))


def test_a_study_is_trained_printed_kept_and_not_trained_again(command, tmp_path):
    (tmp_path / "space.toml").write_text(SPACE.format(base=SMALL))
    line = (
        *("rank-study", "--random", "2", "--space", "space.toml", *TASK, *SCHEDULES),
        *("--metric", "mean_oks", "--metric", "AP", "--report", "out.md", "--json"),
    )
    first = command(*line)
    assert first.code == 0, first.err
    data = json.loads(first.out)
    assert [network["name"] for network in data["networks"]] == ["random-0", "random-1"]
    assert {*data["metrics"]} == {"mean_oks", "AP"}
    found = data["metrics"]["mean_oks"]
    assert found["num_networks"] == 2
    assert [each["step"] for each in found["stability"]] == [1, 2]
    assert found["strata"] == []
    assert data["report"] == ["out.md", "out.svg"]
    assert "branchwork rank-study --random 2" in (tmp_path / "out.md").read_text()
    records = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("records/*.json")}
    assert len(records) == 4

    again = command(*line)
    assert json.loads(again.out) == data
    assert {path: path.read_bytes() for path in records} == records
    table = command(*line[:-1])
    assert table.code == 0, table.err
    assert "Agreement of the two orders" in table.out
    assert "one seed" in table.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "an order needs two networks"),
        ((SMALL, "--random", "3"), "--space configs/studies/lsp.toml"),
        ((SMALL, SMALL), "the same network"),
        ((SMALL, "naive_lite_hrnet_18", "--max-macs", "1e6"), "an order needs two networks"),
        ((SMALL, "naive_lite_hrnet_18", "--short", "tinny"), "--short"),
        ((SMALL, "naive_lite_hrnet_18", "--long", "smoke,steps=1,num_evals=1"), "--long"),
        ((SMALL, "naive_lite_hrnet_18", "--report", "out.html"), "--report"),
        ((SMALL, "no_such_preset"), "NETWORK"),
        ((SMALL, "naive_lite_hrnet_18", "--option", "num_trian=4"), "num_trian"),
    ],
)
def test_mistakes_are_one_clear_line_each(command, tmp_path, arguments, expected):
    result = command("rank-study", *TASK, *SCHEDULES, *arguments)
    assert result.code == 2
    assert expected in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert not list(tmp_path.rglob("records/*.json"))
