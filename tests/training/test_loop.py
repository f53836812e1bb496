"""The loop: what it learns, how it fails, where it runs."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from multiprocessing import Pipe

import numpy as np
import pytest
import torch
from tiny_network import TASK, tiny_network

from blocks import BranchworkError, DataError, ImageSize, Problem, StudyError
from networks import StageSpec, initialise
from networks.aggregators import NoAggregator
from tasks import TaskData
from training import (
    DivergedError,
    Hardware,
    OutOfMemoryError,
    RunFailedError,
    Schedule,
    StepReport,
    evaluate,
    loop,
    processes,
    samples,
)


def test_the_loss_falls_and_people_are_found_better(run_train, splits):
    untrained = tiny_network().build()
    initialise(untrained, "kaiming", 0)
    before = evaluate(untrained, TASK, splits["val_data"], 8).metrics["mean_oks"]
    reports = []
    run = run_train(steps=60, batch=8, lr=1e-2, num_evals=3, on_step=reports.append)
    assert np.mean(run.losses[-10:]) < 0.9 * run.losses[0]
    assert run.results.metrics["mean_oks"] > before + 0.1
    assert [point.step for point in run.curve] == [20, 40, 60]
    assert run.curve[0].loss == pytest.approx(np.mean(run.losses[:20]))
    assert run.results.num_images == 15
    assert run.curve[-1].score == run.results.metrics["AP"]
    steps = [report for report in reports if not report.message]
    assert [report.step for report in steps] == list(range(1, 61))
    assert tuple(report.loss for report in steps) == run.losses
    assert all(0 < report.samples_per_s < 1e5 for report in steps)
    assert [r.step for r in reports if r.message == "evaluating"] == [20, 40, 60]


def test_equal_seeds_give_equal_runs_and_others_do_not(run_train, tmp_path):
    runs = [
        run_train(seed=seed, checkpoint_path=tmp_path / name)
        for name, seed in (("a.pt", 1), ("b.pt", 1), ("c.pt", 2))
    ]
    assert runs[0].losses == runs[1].losses
    assert runs[0].results.metrics["mean_oks"] == runs[1].results.metrics["mean_oks"]
    assert runs[0].losses != runs[2].losses


def test_the_callers_random_numbers_are_left_alone(run_train):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run_train(steps=1, num_evals=1)
    assert torch.equal(torch.rand(3), expected)


def test_loaders_in_other_processes_give_the_same_losses(run_train, tmp_path):
    here = run_train(steps=2, num_evals=1)
    there = run_train(
        steps=2, num_evals=1, checkpoint_path=tmp_path / "b.pt", hardware=Hardware(num_loaders=1)
    )
    assert here.losses == there.losses


def test_bf16_trains_and_differs_from_float32(run_train, tmp_path):
    half = run_train(precision="bf16-mixed")
    full = run_train(checkpoint_path=tmp_path / "full.pt")
    assert all(map(math.isfinite, half.losses))
    assert half.losses != full.losses
    assert half.losses == pytest.approx(full.losses, rel=0.02)


def test_the_published_initialisation_starts_near_zero_outputs(run_train):
    run = run_train(init="published", steps=1, num_evals=1)
    published = run.losses[0]
    assert published < 0.01


def test_a_run_that_diverges_says_where(run_train, checkpoint_path):
    with pytest.raises(DivergedError, match=r"the loss became (nan|inf) at step \d of 4") as caught:
        run_train(lr=1e30)
    assert isinstance(caught.value, RunFailedError)
    assert "\n" not in str(caught.value)
    assert not any(path.suffix == ".tmp" for path in checkpoint_path.parent.glob(".*"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    ],
)
def test_every_way_to_run_out_of_memory_has_one_name(run_train, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(type(TASK), "loss", fail)
    with pytest.raises(OutOfMemoryError, match=r"^out of memory with batch 4 at 64x64$"):
        run_train()


def test_real_exhaustion_is_recognised(run_train, monkeypatch):
    monkeypatch.setattr(type(TASK), "loss", lambda *_: torch.empty(2**60))
    with pytest.raises(OutOfMemoryError):
        run_train()


def test_other_runtime_errors_pass_unchanged(run_train, monkeypatch):
    def fail(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(type(TASK), "loss", fail)
    with pytest.raises(RuntimeError, match=r"^a defect$"):
        run_train()


def test_an_image_that_vanishes_during_training_is_one_line(run_train, splits, monkeypatch):
    problem = Problem(where="x.jpg", rule="an image must be readable", got="nothing", do="restore")

    def vanished(self, index, seed):
        raise DataError(problem)

    monkeypatch.setattr(type(splits["train_data"]), "train_item", vanished)
    with pytest.raises(DataError, match=r"^x\.jpg: an image must be readable"):
        run_train()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"spec": tiny_network(num_outputs=3)}, "head.num_outputs"),
        ({"batch": 33}, "schedule.batch"),
        ({"batch": 3, "hardware": Hardware(devices=2, accelerator="cpu")}, "schedule.batch"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
    ],
)
def test_what_does_not_fit_is_said_before_training(run_train, checkpoint_path, changes, where):
    with pytest.raises(StudyError) as caught:
        run_train(**changes)
    assert [problem.where for problem in caught.value.problems] == [where]
    assert not checkpoint_path.exists()


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"accelerator": "gpu3"}, "hardware.accelerator"),
        ({"devices": 0}, "hardware.devices"),
        ({"nodes": 0}, "hardware.nodes"),
        ({"num_loaders": -1}, "hardware.num_loaders"),
    ],
)
def test_hardware_is_checked(settings, where):
    with pytest.raises(BranchworkError) as caught:
        Hardware(**settings)
    assert [problem.where for problem in caught.value.problems] == [where]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_devices_that_are_not_there_are_one_line(run_train):
    with pytest.raises(BranchworkError, match=r"^hardware: a run needs the devices") as caught:
        run_train(hardware=Hardware(accelerator="cuda"))
    assert "\n" not in str(caught.value)


def test_each_step_and_evaluated_batch_is_paced(run_train):
    entered = []

    @contextmanager
    def pace():
        entered.append(True)
        yield

    run_train(pace=pace)
    num_eval_batches = 2 * math.ceil(15 / 4)
    assert len(entered) == 4 + num_eval_batches


def test_evaluating_changes_nothing_but_the_mode(splits):
    module = tiny_network().build().train()
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(1)
    random = torch.get_rng_state()
    first = evaluate(module, TASK, splits["val_data"], 4)
    second = evaluate(module, TASK, splits["val_data"], 15)
    assert not module.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert first.mean_oks == pytest.approx(second.mean_oks, abs=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_network_that_puts_out_no_numbers_scores_nothing(splits, value):
    class Broken(torch.nn.Module):
        def forward(self, image):
            return torch.full((len(image), 17, 16, 16), value)

    metrics = evaluate(Broken(), TASK, splits["val_data"], 8).metrics
    assert metrics["AP"] == 0
    assert 0 <= metrics["mean_oks"] < 0.1


def test_every_pass_shows_every_sample_once_and_goes_on_where_it_was():
    schedule = Schedule(steps=6, batch=4, lr=1e-3, num_evals=1)
    steps = list(samples.sample_keys(8, schedule, 7, 0))
    for epoch in range(3):
        keys = steps[2 * epoch] + steps[2 * epoch + 1]
        assert sorted(index for index, _ in keys) == list(range(8))
        assert len({seed for _, seed in keys}) == 1
    assert len({tuple(index for index, _ in steps[2 * epoch]) for epoch in range(3)}) > 1
    assert list(samples.sample_keys(8, schedule, 7, 4)) == steps[4:]


def test_predictions_of_several_devices_come_in_the_order_of_the_items(monkeypatch):
    parts = [[{"item": index} for index in range(rank, 7, 3)] for rank in range(3)]

    def gather(into, mine):
        into[:] = parts

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    ordered = loop._gathered(parts[1], 7, 3)
    assert [prediction["item"] for prediction in ordered] == list(range(7))


def test_two_devices_score_every_image(run_train, splits, tmp_path):
    # Shares of 3 and 2 samples, 8 and 7 images to score, and a branch that no head reads.
    spec = tiny_network()
    stage = StageSpec(transition=spec.stages[0].transition, units=spec.stages[0].units)
    spec = type(spec)(stem=spec.stem, stages=(stage,), aggregator=NoAggregator(), head=spec.head)
    reports = []
    path = tmp_path / "two.pt"
    settings = {
        "spec": spec,
        "batch": 5,
        "hardware": Hardware(devices=2, accelerator="cpu"),
        "checkpoint_path": path,
        "on_step": reports.append,
    }
    run = run_train(**settings)
    assert run.results.num_images == 15
    assert len(run.losses) == 4
    assert [report.step for report in reports if not report.message] == [1, 2, 3, 4]
    # The checkpoint holds the network that was scored.
    module = spec.build()
    module.load_state_dict(torch.load(path, weights_only=True)["model"])
    alone = evaluate(module, TASK, splits["val_data"], 5)
    assert alone.metrics["mean_oks"] == pytest.approx(run.results.metrics["mean_oks"], abs=1e-9)


def test_a_process_that_dies_ends_the_run():
    reader, writer = Pipe(duplex=False)
    report = StepReport(step=1, num_steps=2, loss=0.5, samples_per_s=9.0)
    writer.send(report)
    writer.close()
    heard = []
    with pytest.raises(RunFailedError, match="the process of device 0 died"):
        processes._listen([reader], heard.append)
    assert heard == [report]


class _Vanished(TaskData):
    """Data of which the second device cannot read a sample; stands in for a broken disk."""

    name = "vanished"
    fingerprint = "0" * 12
    num_images = 8
    skipped = ()

    def __len__(self):
        return 8

    def train_item(self, index, seed):
        raise DataError(Problem(where="x.jpg", rule="readable", got="nothing", do="restore"))

    def eval_item(self, index):
        raise NotImplementedError


def test_what_fails_on_one_of_two_devices_is_raised_here(run_train):
    with pytest.raises(DataError, match=r"^x\.jpg: readable"):
        run_train(batch=4, train_data=_Vanished(), hardware=Hardware(devices=2, accelerator="cpu"))


def test_a_last_step_that_goes_wrong_is_no_score(run_train):
    # Its loss is still finite: only the weights that it leaves are not.
    with pytest.raises(DivergedError, match="no longer finite after step 1"):
        run_train(steps=1, lr=1e38, warmup_steps=0, num_evals=1)


def test_an_input_that_a_stride_does_not_divide_is_one_line(run_train):
    with pytest.raises(BranchworkError, match=r"^input: .*pad the image to 64x64$"):
        run_train(size=ImageSize(64, 60))


def test_epochs_and_parts_are_resolved_and_checked_with_the_devices(run_train):
    run = run_train(steps=0, epochs=1, batch=10, num_evals=1, accumulation=5)
    assert len(run.losses) == 4
    with pytest.raises(StudyError, match=r"got 10 for 2 devices and 5 parts; write 20 or more"):
        run_train(batch=10, accumulation=5, hardware=Hardware(devices=2, accelerator="cpu"))
