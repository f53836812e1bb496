"""Checkpoints of other runs, other files, and files that cannot be written."""

from __future__ import annotations

import os

import pytest
import torch
from tiny_network import tiny_network

from blocks import CheckpointError
from training import load_checkpoint
from training.checkpoint import save_checkpoint

FOREIGN = {
    "text": b"not a checkpoint",
    "nothing": b"",
    "zip": b"PK\x03\x04" + b"\0" * 40,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_refused_and_kept(run_train, checkpoint_path, content):
    checkpoint_path.parent.mkdir()
    checkpoint_path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        run_train()
    line = str(caught.value)
    assert line.startswith(f"{checkpoint_path}: a checkpoint is a file that a training run")
    assert "delete the file" in line
    assert "\n" not in line
    assert checkpoint_path.read_bytes() == content


def test_a_folder_is_no_checkpoint(run_train, checkpoint_path):
    checkpoint_path.mkdir(parents=True)
    with pytest.raises(CheckpointError):
        run_train()


@pytest.mark.parametrize(
    "data",
    [{"state_dict": {}}, {}, [1], {"identity": {"seed": 0}}, torch.zeros(3)],
    ids=["released", "empty", "list", "half", "tensor"],
)
def test_a_file_of_other_tensors_is_refused(tmp_path, data):
    path = tmp_path / "other.pt"
    torch.save(data, path)
    with pytest.raises(CheckpointError, match="a checkpoint is a file that a training run"):
        load_checkpoint(path)


def test_code_in_a_file_is_never_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "evil.pt"
    torch.save({"identity": Evil()}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_cut_off_file_is_refused(run_train, checkpoint_path, part):
    run_train(steps=1, num_evals=1)
    content = checkpoint_path.read_bytes()
    checkpoint_path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(CheckpointError):
        run_train(steps=1, num_evals=1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed 0 instead of 1"),
        ({"spec": tiny_network(12)}, "spec_id"),
        ({"lr": 2e-3}, "schedule.lr 0.001 instead of 0.002"),
        ({"steps": 8}, "schedule.steps 4 instead of 8"),
        ({"task_name": "coco_keypoints"}, "task 'synthetic_keypoints' instead of 'coco_keypoints'"),
    ],
)
def test_another_runs_checkpoint_is_refused_and_kept(run_train, checkpoint_path, changes, named):
    run_train()
    content = checkpoint_path.read_bytes()
    with pytest.raises(CheckpointError) as caught:
        run_train(**changes)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.problems[0].do == "choose another --out, or delete the checkpoint"
    assert checkpoint_path.read_bytes() == content


def test_weights_that_do_not_fit_are_refused(run_train, checkpoint_path):
    run_train()
    data = torch.load(checkpoint_path, weights_only=True)
    name = next(iter(data["model"]))
    data["model"][name] = torch.zeros(1)
    torch.save(data, checkpoint_path)
    with pytest.raises(CheckpointError) as caught:
        run_train()
    assert "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_the_old_checkpoint(run_train, checkpoint_path, monkeypatch):
    run_train()
    old = load_checkpoint(checkpoint_path)

    def full(data, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="got No space left on device; free some space"):
        save_checkpoint(checkpoint_path, old)
    assert load_checkpoint(checkpoint_path).step == 4
    assert [path.name for path in checkpoint_path.parent.iterdir()] == [checkpoint_path.name]


def test_a_checkpoint_where_a_file_stands_is_one_line(run_train, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="a run keeps its state in a checkpoint"):
        run_train(checkpoint_path=tmp_path / "file" / "checkpoint.pt")


def test_a_checkpoint_of_an_older_layout_is_refused_in_words(run_train, checkpoint_path):
    run_train()
    saved = torch.load(checkpoint_path, weights_only=True)
    saved["curve"] = [[2.0, 1.0, 0.0, 0.5]]
    torch.save(saved, checkpoint_path)
    with pytest.raises(CheckpointError, match=str(checkpoint_path.name)):
        run_train()
