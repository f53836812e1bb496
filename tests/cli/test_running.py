"""``train``, ``search`` and ``report`` from the command line, on a very small set."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SMALL = str(ROOT / "configs" / "networks" / "small_lite_hrnet.json")
TINY_SET = ("--option", "num_train=24", "--option", "num_val=8")
TRAIN = (
    *("train", SMALL, "--task", "synthetic_keypoints", "--input", "64x64", *TINY_SET),
    *("--set", "branches=2", "--set", "widths=[8,16]"),
)
STUDY = """
[study]
name = "small"
base = "{base}"
task = "synthetic_keypoints"
input = "64x64"
schedule = {{base = "smoke", steps = {steps}, num_evals = 1}}
trials = {trials}
workers = 1
[task]
num_train = 24
num_val = 8
[limits]
macs = 3.5e6
[free]
branches = [2, 3]
widths = [[8, 16, 32, 64], [16, 32, 64, 128]]
block = ["ccw", "naive_lite_hrnet"]
"""


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("BRANCHWORK_CACHE", str(folder))


def _write_study(folder: Path, *, trials: int = 3, steps: int = 2) -> str:
    text = STUDY.format(base=SMALL, trials=trials, steps=steps)
    (folder / "small.toml").write_text(text, encoding="utf-8")
    return "small.toml"


def test_train_leaves_checkpoint_and_record_and_goes_on_from_them(command, tmp_path):
    result = command(*TRAIN, "--schedule", "smoke", "--seed", "3", "--out", "out", "--json")
    assert result.code == 0, result.err
    data = json.loads(result.out)
    assert data == {
        **json.loads((tmp_path / "out" / "record.json").read_text()),
        "checkpoint": "out/last.ckpt",
        "resumed_from": 0,
    }
    assert data["status"] == "trained"
    assert data["score"]["seed"] == 3
    assert data["score"]["low"] <= data["score"]["value"] <= data["score"]["high"]
    assert data["cost"]["macs"] > 0
    assert data["latencies"][0]["runtime"] == "eager"
    assert torch.load(tmp_path / "out" / "last.ckpt", weights_only=True)["step"] == 4

    other = command(*TRAIN, "--schedule", "smoke", "--seed", "3", "--out", "b", "--json")
    written = json.loads((tmp_path / "b" / "record.json").read_text())
    assert {key: json.loads(other.out)[key] for key in written} == written
    assert written["score"] == data["score"]
    assert len(list((tmp_path / "runs" / "train" / "records").glob("*.json"))) == 1

    again = command(*TRAIN, "--schedule", "smoke", "--seed", "3", "--out", "out", "--json")
    assert json.loads(again.out)["resumed_from"] == 4
    assert json.loads(again.out)["score"] == data["score"]


def test_ctrl_c_stops_a_training_that_goes_on_with_the_same_losses(command, tmp_path):
    line = (*TRAIN, "--schedule", "smoke,steps=40,num_evals=1", "--json", "--out")
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *line, "stopped"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while "step 1 of 40" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    assert not (tmp_path / "stopped" / "record.json").exists()

    again, whole = command(*line, "stopped"), command(*line, "whole", "--runs", "others")
    assert (again.code, whole.code) == (0, 0)
    resumed, straight = json.loads(again.out), json.loads(whole.out)
    assert 0 < resumed["resumed_from"] < 40
    assert resumed["score"] == straight["score"]
    assert resumed["curve"][0]["loss"] == straight["curve"][0]["loss"]


def test_train_overwrites_no_other_run(command, tmp_path):
    command(*TRAIN, "--schedule", "smoke", "--out", "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    result = command(*TRAIN, "--schedule", "smoke", "--seed", "1", "--out", "out")
    assert result.code == 2
    assert "a run goes on from its own checkpoint only" in result.err
    assert "Traceback" not in result.err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "cityscape"), "did you mean 'cityscapes'?"),
        (("--schedule", "tony"), "did you mean 'tiny'?"),
        (("--schedule", "tiny,stps=3"), "did you mean 'steps'?"),
        (("--schedule", "tiny,steps=many"), "the setting is of the kind of 200"),
        (("--option", "num_tran=3"), "did you mean 'num_train'?"),
        (("--option", "num_train=few"), "the option is of the kind of 2400"),
        (("--schedule", "smoke,lr=1e30"), "the loss became"),
    ],
)
def test_train_tells_a_mistake_in_one_line(command, arguments, said, tmp_path):
    result = command(*TRAIN, "--out", "out", *arguments)
    assert result.code == 2
    assert result.out == ""
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in result.err
    assert not (tmp_path / "out" / "record.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "give one with --data"), (("--data", "nowhere"), "nowhere: the data folder must exist")],
)
def test_train_needs_a_data_folder(command, arguments, said, tmp_path):
    result = command("train", SMALL, "--task", "coco_keypoints", "--out", "out", *arguments)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_a_file_is_told_before_the_work(command, tmp_path):
    (tmp_path / "out").write_text("mine")
    result = command(*TRAIN, "--schedule", "smoke", "--out", "out")
    assert result.code == 2
    assert "--out: checkpoint and record go into a folder, got 'out', which is a file" in result.err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_store_that_cannot_be_one_is_one_line(command, tmp_path):
    study = _write_study(tmp_path)
    (tmp_path / "file").write_text("mine")
    result = command("search", "start", study, "--runs", "file")
    assert result.code == 2
    assert "files and folders that are named must be usable, got Not a directory" in result.err
    assert "Traceback" not in result.err


def test_a_search_from_start_to_report(command, tmp_path):
    result = command("search", "start", _write_study(tmp_path))
    assert result.code == 0, result.err
    status = json.loads(command("search", "status", "small", "--json").out)
    assert (status["name"], status["state"]) == ("small", "finished")
    assert status["num_trained"] == 3
    assert status["front"]
    records = sorted((tmp_path / "runs" / "small" / "records").glob("*.json"))
    assert len(records) == status["num_records"]

    again = command("search", "start", "small.toml")
    assert again.code == 2
    assert "branchwork search resume small" in again.err
    assert command("search", "resume", "small").code == 0
    assert sorted((tmp_path / "runs" / "small" / "records").glob("*.json")) == records

    identity = status["front"][0]["spec_id"]
    profiled = json.loads(command("profile", identity, "--json").out)[0]
    assert (profiled["spec_id"], profiled["task"]) == (identity, "synthetic_keypoints")

    assert command("report", "small", "--out", "pages/small.html").code == 0
    page = (tmp_path / "pages" / "small.html").read_text(encoding="utf-8")
    assert "95 % bootstrap interval" in page
    assert not re.findall(r'(?:src|href)="(?!#)', page), "the page must open offline"
    assert page.count("<svg") >= 3


def test_a_killed_search_loses_no_record_and_goes_on(command, tmp_path):
    study = _write_study(tmp_path, trials=4, steps=6)
    line = [sys.executable, "-m", "cli", "search", "start", study]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        line, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    folder = tmp_path / "runs" / "small" / "records"

    def trained() -> set[str]:
        return {
            path.name
            for path in folder.glob("*.json")
            if json.loads(path.read_text())["status"] == "trained"
        }

    deadline = time.monotonic() + 120
    while not trained() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    assert trained()

    assert command("search", "resume", "small").code == 0
    after = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    assert {name: after[name] for name in before} == before
    status = json.loads(command("search", "status", "small", "--json").out)
    assert status["state"] == "finished"
    assert status["num_trained"] + status["num_failed"] == 4
    assert status["broken_files"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("trials = 3", "trails = 3"), "did you mean 'trials'?"),
        (("[limits]", "[limit]"), "did you mean 'limits'?"),
        (('"ccw"', '"cww"'), "did you mean 'ccw'?"),
        (("branches = [2, 3]", "branches = [1]"), "the base's first stage"),
        (("[study]", "[study"), "a study file is readable TOML"),
    ],
)
def test_a_wrong_study_file_is_one_line(command, tmp_path, change, said):
    path = tmp_path / _write_study(tmp_path)
    path.write_text(path.read_text().replace(*change))
    result = command("search", "start", "small.toml")
    assert result.code == 2
    assert said in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_study_that_is_not_there(command):
    result = command("search", "status", "nothing")
    assert result.code == 2
    assert "the study must be in the run store" in result.err


def test_a_block_of_one_s_own_in_a_new_study(command, tmp_path):
    page = (ROOT / "docs" / "adding_a_block.md").read_text(encoding="utf-8")
    source = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    folder = tmp_path / "my_blocks"
    folder.mkdir()
    (folder / "own.py").write_text(source, encoding="utf-8")
    path = tmp_path / _write_study(tmp_path, trials=1)
    path.write_text(
        path.read_text().replace('["ccw", "naive_lite_hrnet"]', '["residual_depthwise"]')
    )

    refused = command("search", "start", "small.toml")
    assert refused.code == 2
    assert "'residual_depthwise'" in refused.err

    result = command("search", "start", "small.toml", "--blocks", "my_blocks")
    assert result.code == 0, result.err
    status = json.loads(command("search", "status", "small", "--json").out)
    assert status["num_trained"] == 1
    record = next(
        data
        for data in map(json.loads, (p.read_text() for p in (tmp_path / "runs").rglob("0*.json")))
        if data["status"] == "trained"
    )
    kinds = {
        group["block"]["kind"]
        for stage in record["spec"]["stages"]
        for unit in stage["units"]
        for group in unit["body"]
    }
    assert kinds == {"residual_depthwise"}
