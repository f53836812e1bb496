"""Several processes that ``torchrun`` starts, and what is said where they do not fit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tiny_network import TASK, tiny_network

from blocks import BranchworkError
from networks import spec_to_dict
from training import Hardware, evaluate, load_checkpoint
from training.hardware import check_launch, current_launch

PROGRAM = "from cli.main import main\n\nif __name__ == '__main__':\n    main()\n"


def test_two_processes_of_torchrun_learn_what_two_started_ones_do(
    run_train, splits, root, tmp_path
):
    (tmp_path / "branchwork.py").write_text(PROGRAM)
    (tmp_path / "network.json").write_text(json.dumps(spec_to_dict(tiny_network())))
    command = (
        *("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
        *("branchwork.py", "train", "network.json", "--json", "--out", "out"),
        *("--task", "synthetic_keypoints", "--option", "num_train=32", "--option", "num_val=15"),
        *("--input", "64x64", "--accelerator", "cpu"),
        *("--schedule", "smoke,batch=9,ema=0.8,accumulation=2"),
    )
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    # One of the two speaks: the output is one JSON value.
    record = json.loads(ran.stdout)
    assert ran.stderr.count("steps of 9") == ran.stderr.count("learning rate") == 1
    started = run_train(
        batch=9, ema=0.8, accumulation=2, hardware=Hardware(devices=2, accelerator="cpu")
    )
    curve = [(point["step"], point["loss"], point["score"]) for point in record["curve"]]
    assert curve == [(point.step, point.loss, point.score) for point in started.curve]
    mean_oks = started.results.metrics["mean_oks"]
    assert record["score"]["metrics"]["mean_oks"] == mean_oks
    # The checkpoint holds the averaged network, which is the same one on both.
    module = tiny_network().build()
    module.load_state_dict(load_checkpoint(tmp_path / "out" / "last.ckpt").model)
    alone = evaluate(module, TASK, splits["val_data"], 4)
    assert alone.metrics["mean_oks"] == pytest.approx(mean_oks, abs=1e-9)


@pytest.fixture
def launched(monkeypatch):
    for name, value in {
        "TORCHELASTIC_RUN_ID": "run",
        "LOCAL_WORLD_SIZE": "2",
        "WORLD_SIZE": "4",
        "RANK": "3",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("launched")
def test_what_torchrun_started_is_read_and_must_fit():
    launch = current_launch()
    assert (launch.devices, launch.nodes, launch.rank) == (2, 2, 3)
    check_launch(Hardware(devices=2, nodes=2))
    with pytest.raises(BranchworkError, match="2 on each of 2 nodes for 4 devices on each of 1"):
        check_launch(Hardware(devices=4))


def test_several_nodes_need_torchrun(run_train):
    assert current_launch() is None
    with pytest.raises(BranchworkError, match=r"^hardware\.nodes: .* run torchrun --nnodes 2 "):
        run_train(hardware=Hardware(nodes=2, accelerator="cpu"))
