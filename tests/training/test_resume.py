"""Runs that were stopped go on as if they had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from resumed_run import SCHEDULE, SCHEDULES
from tiny_network import TASK, tiny_network

from training import load_checkpoint, loop


def _settings(schedule):
    return {name: getattr(schedule, name) for name in schedule.__dataclass_fields__} | {"seed": 3}


SETTINGS = _settings(SCHEDULE)


class _Stop(BaseException):
    """As Ctrl-C, but nobody else's."""


def _learnt(run):
    return [(point.step, point.loss, point.score) for point in run.curve]


@pytest.mark.parametrize("stopped_at", [1, 3, 4, 5, 8])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    run_train, monkeypatch, tmp_path, stopped_at
):
    monkeypatch.setattr(loop, "_CHECKPOINT_EVERY_S", -1.0)

    def stop(report):
        if report.step == stopped_at + 1:
            raise _Stop

    expected = run_train(**SETTINGS, checkpoint_path=tmp_path / "whole.pt")
    with pytest.raises(_Stop):
        run_train(**SETTINGS, on_step=stop)
    torch.rand(7)
    resumed = run_train(**SETTINGS)
    assert resumed.resumed_from == stopped_at
    assert resumed.losses == expected.losses[stopped_at:]
    assert _learnt(resumed) == _learnt(expected)
    assert resumed.results.metrics["mean_oks"] == expected.results.metrics["mean_oks"]
    assert resumed.elapsed_s > 0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_killed_process_leaves_a_whole_checkpoint(  # noqa: PLR0917 - fixtures
    run_train, data_folder, root, tmp_path, checkpoint_path, schedule
):
    program = Path(__file__).with_name("resumed_run.py")
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(program), schedule, str(data_folder), str(checkpoint_path), "6"],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        assert process.stdout.readline() == "paused\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    left = checkpoint_path.with_name(f".{checkpoint_path.name}.{process.pid}.tmp")
    left.write_bytes(b"half a checkpoint")

    assert load_checkpoint(checkpoint_path).step == 5
    settings = _settings(SCHEDULES[schedule])
    expected = run_train(**settings, checkpoint_path=tmp_path / "whole.pt")
    resumed = run_train(**settings)
    assert resumed.resumed_from == 5
    assert resumed.losses == expected.losses[5:]
    assert _learnt(resumed) == _learnt(expected)
    assert not left.exists()
    # Every weight and moment, bit for bit, not the losses alone.
    ends = [load_checkpoint(path) for path in (checkpoint_path, tmp_path / "whole.pt")]
    for name in ("model", "learner"):
        resumed_weights, whole_weights = (getattr(end, name) or {} for end in ends)
        assert resumed_weights.keys() == whole_weights.keys()
        assert all(torch.equal(resumed_weights[key], whole_weights[key]) for key in whole_weights)
    assert (ends[0].learner is not None) == bool(SCHEDULES[schedule].ema)


def test_a_finished_run_is_scored_again_and_not_trained(run_train, checkpoint_path):
    first = run_train()
    content = checkpoint_path.read_bytes()
    again = run_train()
    assert again.losses == ()
    assert again.resumed_from == 4
    assert _learnt(again) == _learnt(first)
    assert again.results.metrics["mean_oks"] == first.results.metrics["mean_oks"]
    assert checkpoint_path.read_bytes() == content


def test_everything_that_training_changes_is_restored(run_train, checkpoint_path):
    run_train()
    kept = load_checkpoint(checkpoint_path)
    fresh = tiny_network().build().state_dict()
    assert fresh.keys() == kept.model.keys()
    counters = [value for name, value in kept.model.items() if name.endswith("num_batches_tracked")]
    assert counters
    # The released fusion updates its own twice a step.
    assert {int(counter) for counter in counters} == {4, 8}
    moments = kept.optimiser["state"]
    assert all({"exp_avg", "exp_avg_sq", "step"} <= state.keys() for state in moments.values())
    assert len(kept.curve) == 2
    assert kept.losses == []


def test_random_layers_of_a_network_go_on_too(run_train, monkeypatch, tmp_path):
    # A loss that draws from PyTorch's generator, as drop-out does.
    task_type = type(TASK)
    plain = task_type.loss
    monkeypatch.setattr(
        task_type, "loss", lambda self, outputs, batch: plain(self, outputs, batch) * torch.rand(())
    )
    monkeypatch.setattr(loop, "_CHECKPOINT_EVERY_S", -1.0)

    def stop(report):
        if report.step == 3:
            raise _Stop

    expected = run_train(checkpoint_path=tmp_path / "whole.pt")
    with pytest.raises(_Stop):
        run_train(on_step=stop)
    assert run_train().losses == expected.losses[2:]
