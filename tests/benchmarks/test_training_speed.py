"""The training benchmark compares equals: its baseline computes what ours does, as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from analysis import conventions
from benchmarks.published_execution import PublishedLiteHRNet
from benchmarks.training_speed import equal_modules, ratio_with_interval, time_steps
from blocks import ImageSize, record_ops
from networks import lite_hrnet_18
from networks.released import _rename

PUBLISHED = "published execution"
OURS = ("lite_hrnet_18, contiguous", "lite_hrnet_18, channels_last")
LAST_BRANCH = 3
TOLERANCE = 1e-10


def wave(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def renamed(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {name: _rename(name, LAST_BRANCH) for name in theirs}
    assert None not in names.values()
    return {str(names[name]): value for name, value in theirs.items()}


def furthest(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest difference, measured by the largest value of any tensor of that name.

    Not of the tensor itself: the gradient of a bias that the next batch norm takes away again is
    rounding errors alone.
    """
    assert ours.keys() == theirs.keys()
    differences: dict[str, float] = {}
    scales: dict[str, float] = {}
    for name, value in theirs.items():
        leaf = name.rpartition(".")[2]
        scales[leaf] = max(scales.get(leaf, 0.0), value.abs().max().item())
        difference = (ours[name] - value).abs().max().item()
        differences[leaf] = max(differences.get(leaf, 0.0), difference)
    return max(differences[leaf] / (scales[leaf] or 1.0) for leaf in scales)


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.grad for name, value in module.named_parameters()}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("training", [False, True])
def test_outputs_gradients_and_statistics_are_those_of_the_published_execution(name, training):
    modules = equal_modules()
    theirs, ours = (modules[key].double().train(training) for key in (PUBLISHED, name))
    outs = [module(wave((2, 3, 64, 96), 0)) for module in (theirs, ours)]
    assert (outs[1] - outs[0]).abs().max() <= TOLERANCE * outs[0].abs().max()
    direction = wave((2, 17, 16, 24), 1)
    for out in outs:
        (out * direction).sum().backward()
    assert furthest(gradients(ours), renamed(gradients(theirs))) <= TOLERANCE
    buffers = [
        {key: value.double() for key, value in module.named_buffers()} for module in (theirs, ours)
    ]
    assert furthest(buffers[1], renamed(buffers[0])) <= TOLERANCE


def test_the_baseline_executes_what_the_published_code_does():
    image = torch.empty(1, 3, 256, 192)
    executed = record_ops(PublishedLiteHRNet().double(), [image.double()], as_list=False)
    ops = lite_hrnet_18().operations(ImageSize(256, 192))
    assert conventions.macs(executed) == conventions.published_execution(ops) == 242_345_088
    assert conventions.macs(ops) == 198_626_688
    # Its halves are joined, then copied in the shuffled order: in every block, and in the stem.
    kinds = [op.kind for op in executed]
    num_shuffles = 2 * (2 * 2 + 4 * 3 + 2 * 4) + 1
    assert kinds.count("clone") == num_shuffles
    assert "stack" not in kinds


def test_no_convolution_of_a_network_in_channels_last_is_given_another_order():
    module = equal_modules()[OURS[1]].train()
    others, seen = [], 0

    def check(name: str, x: Tensor) -> None:
        nonlocal seen
        seen += 1
        if not x.is_contiguous(memory_format=torch.channels_last):
            others.append(name)

    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d) and name != "stem.conv.0.conv":
            part.register_forward_hook(lambda _, inputs, __, name=name: check(name, inputs[0]))
    module(torch.randn(2, 3, 64, 96))
    assert seen > 100
    # The stem's convolutions read halves of channels, which are slices.
    assert others == ["stem.short.0.conv", "stem.long.0.conv"]


def test_rounds_are_timed_after_the_warm_up():
    times_s = time_steps(ImageSize(32, 32), batch=2, rounds=2, num_threads=1)
    assert tuple(times_s) == (PUBLISHED, *OURS)
    assert all(len(values) == 2 and min(values) > 0 for values in times_s.values())


def test_the_interval_of_a_ratio():
    assert ratio_with_interval(np.full(20, 1.5)) == (1.5, 1.5, 1.5)
    value, low, high = ratio_with_interval(np.linspace(1.0, 2.0, 21))
    assert value == pytest.approx(1.5)
    assert 1.0 < low < 1.5 < high < 2.0
    assert ratio_with_interval(np.linspace(1.0, 2.0, 21)) == (value, low, high)
