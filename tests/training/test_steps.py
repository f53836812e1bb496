"""What a step is: its parts, its average, its format, its compiler."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from lightning_fabric import Fabric
from tiny_network import TASK, tiny_network
from torch import nn

from blocks import BranchworkError
from tasks import collate
from training import Schedule, evaluate, load_checkpoint
from training.averaging import WeightAverage
from training.learner import make_learner
from training.samples import load_batches, sample_keys

SCHEDULE = Schedule(
    steps=4, batch=12, lr=0.5, warmup_steps=0, num_evals=1, optimiser="sgd", momentum=0.9
)


def _plain_network():
    """A network without batch norm, which alone sees the parts of a batch for themselves."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.Conv2d(4, 17, 1))


def _weights_after(splits, schedule):
    fabric = Fabric(accelerator="cpu", devices=1)
    module = _plain_network()
    learner = make_learner(module, TASK, schedule, fabric)
    data = splits["train_data"]
    parts = load_batches(
        data,
        sample_keys(len(data), schedule, 0, 0),
        fabric,
        num_parts=schedule.accumulation,
        num_loaders=0,
    )
    losses = [float(learner.learn(step, parts)) for step in range(schedule.steps)]
    return losses, torch.cat([weight.detach().flatten() for weight in module.parameters()])


@pytest.mark.parametrize("parts", [2, 5])
def test_parts_of_a_batch_have_the_gradient_of_the_whole(splits, parts):
    start = torch.cat([weight.detach().flatten() for weight in _plain_network().parameters()])
    losses, whole = _weights_after(splits, SCHEDULE)
    in_parts, sum_of_parts = _weights_after(splits, replace(SCHEDULE, accumulation=parts))
    assert in_parts == pytest.approx(losses, rel=1e-5)
    # 1e-5 of what was learnt, not of the weights.
    assert (sum_of_parts - whole).norm() < 1e-5 * (whole - start).norm()


def test_every_optimiser_learns_its_own_way(splits):
    ends = {
        (name, weight_decay): _weights_after(
            splits,
            Schedule(
                steps=3, batch=8, lr=0.01, num_evals=1, optimiser=name, weight_decay=weight_decay
            ),
        )[1]
        for name in ("adam", "adamw", "sgd")
        for weight_decay in (0.0, 0.1)
    }
    assert torch.equal(ends["adam", 0.0], ends["adamw", 0.0])
    different = [end for key, end in ends.items() if key != ("adamw", 0.0)]
    assert all(
        not torch.equal(left, right)
        for index, left in enumerate(different)
        for right in different[:index]
    )


def test_sgd_is_the_textbook_one(splits):
    schedule = replace(SCHEDULE, steps=2, momentum=0.0, weight_decay=0.1, decay="poly", power=1.0)
    data = splits["train_data"]
    module = _plain_network()
    for step, keys in enumerate(sample_keys(len(data), schedule, 0, 0)):
        batch = collate([data.train_item(*key) for key in keys])
        module.zero_grad()
        TASK.loss(module(batch.image), batch).backward()
        with torch.no_grad():
            for weight in module.parameters():
                weight.sub_((0.5, 0.25)[step] * (weight.grad + 0.1 * weight))
    expected = torch.cat([weight.detach().flatten() for weight in module.parameters()])
    assert _weights_after(splits, schedule)[1] == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_an_average_follows_the_weights_and_counts_with_the_network():
    module = nn.BatchNorm1d(1)
    average = WeightAverage(module, decay=0.5)
    expected = 1.0
    for step, value in enumerate((2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0), start=1):
        nn.init.constant_(module.weight, value)
        module.running_mean.fill_(value)
        module.num_batches_tracked.fill_(step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert average.module.weight.item() == pytest.approx(expected)
        assert average.module.num_batches_tracked.item() == step
    assert module.weight.item() == 8.0
    # One that began with nothing to say, and has forgotten it.
    assert average.module.running_mean.item() == pytest.approx(8, rel=0.02)
    assert not average.module.weight.requires_grad


def test_the_averaged_network_is_what_is_scored_and_kept(run_train, splits, checkpoint_path):
    settings = {"steps": 6, "batch": 8, "lr": 1e-2}
    run = run_train(**settings, ema=0.8)
    kept = load_checkpoint(checkpoint_path)
    scores = {}
    for name in ("model", "learner"):
        module = _module(getattr(kept, name))
        scores[name] = evaluate(module, TASK, splits["val_data"], 8).metrics["mean_oks"]
    assert scores["model"] == run.results.metrics["mean_oks"]
    assert scores["learner"] != scores["model"]
    checkpoint_path.unlink()
    plain = run_train(**settings)
    # Averaging changes nothing in what is learnt.
    assert plain.losses == run.losses
    weights = load_checkpoint(checkpoint_path).model
    assert all(torch.equal(weights[key], value) for key, value in kept.learner.items())
    # And its decay is part of what a run is.
    with pytest.raises(BranchworkError, match=r"schedule\.ema None instead of 0\.8"):
        run_train(**settings, ema=0.8)


def _module(weights):
    module = tiny_network().build()
    module.load_state_dict(weights)
    return module


def test_channels_last_changes_no_more_than_rounding(run_train, checkpoint_path, tmp_path):
    last = run_train(memory_format="channels_last")
    first = run_train(checkpoint_path=tmp_path / "contiguous.pt")
    assert last.losses == pytest.approx(first.losses, rel=1e-3)
    kernels = [
        value
        for name, value in load_checkpoint(checkpoint_path).model.items()
        if value.ndim == 4 and min(value.shape[1:]) > 1
    ]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_a_compiled_step_learns_the_same_and_says_what_it_cost(run_train, monkeypatch, tmp_path):
    # The compiler's own code takes a minute to make; what is tested here is the way to it.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    reports = []
    compiled = run_train(compile=True, on_step=reports.append)
    plain = run_train(checkpoint_path=tmp_path / "plain.pt")
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-6)
    costs = [report.compile_s for report in reports if not report.message]
    assert costs[0] > 0
    assert costs[1:] == [0, 0, 0]
    assert reports[0].samples_per_s == 0
    resumed = run_train(compile=True)
    assert resumed.losses == ()


def test_a_compiler_that_fails_is_one_line(run_train, monkeypatch):
    def broken(graph, inputs):
        message = "no working compiler\nand many more lines"
        raise RuntimeError(message)

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=broken))
    with pytest.raises(
        BranchworkError, match=r"^schedule\.compile: torch\.compile needs"
    ) as caught:
        run_train(compile=True)
    assert "\n" not in str(caught.value)
    assert "no working compiler" in str(caught.value)


def test_a_long_run_holds_no_more_orders_than_one():
    schedule = Schedule(steps=10**9, batch=4, lr=1, num_evals=1)
    keys = sample_keys(6, schedule, seed=1, first_step=10**8)
    positions = [key for _ in range(9) for key in next(keys)]
    # Whole passes, each item once in each.
    begin = next(index for index in range(6) if positions[index][1] != positions[0][1])
    for start in range(begin, len(positions) - 6, 6):
        assert {index for index, _ in positions[start : start + 6]} == set(range(6))
        assert len({seed for _, seed in positions[start : start + 6]}) == 1
