"""A training step of Lite-HRNet-18 against the published execution, and against its data."""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from benchmarks.published_execution import PublishedLiteHRNet
from benchmarks.tables import Table, load_remark
from blocks import ImageSize
from networks import load_released
from tasks import CocoKeypoints, TaskData

_NETWORK = "lite_hrnet_18"
_SIZE = ImageSize(256, 192)
_BATCH = 32
_ROUNDS = 20
_WARM = 2
_STRIDE = 4
_NUM_OUTPUTS = 17
_NUM_RESAMPLES = 10_000
_PUBLISHED = "published execution"
_OURS = f"{_NETWORK}, channels_last"

_SHARED = Path(__file__).parents[1] / os.environ.get("BRANCHWORK_SHARED", "../shared")
_DATA = {
    "coco_mini": CocoKeypoints(),
    "lspet_coco": CocoKeypoints(train_split="train", val_split="val"),
}
_PASSES = 5
_NUM_ITEMS = 300


def run() -> Table:
    """Compares training steps."""
    remark = load_remark()
    num_threads = os.cpu_count() or 1
    steps_s = time_steps(_SIZE, _BATCH, _ROUNDS, num_threads)
    return Table(
        title="A training step against the published execution",
        method=f"Lite-HRNet-18 at {_SIZE}, batch {_BATCH}, eager PyTorch, float32, {num_threads} "
        f"threads: forward pass, mean squared error, backward pass, fused Adam. Equal weights, "
        f"data and outputs; {_ROUNDS} rounds in one process, in which the networks take turns "
        f"after {_WARM} rounds of warm-up. The ratio of samples/s is the median over rounds, with "
        f"its 95 % bootstrap interval over rounds ({_NUM_RESAMPLES:,} resamples, seed 0). The "
        f"published execution is benchmarks/published_execution.py.{remark}",
        head=("execution", "median, s/step", "samples/s", "ratio to the first", "95 % interval"),
        rows=[_step_row(name, steps_s) for name in steps_s],
    )


def run_data() -> Table:
    """Compares what the pipeline gives with what a step takes."""
    remark = load_remark()
    num_threads = os.cpu_count() or 1
    steps_s = time_steps(_SIZE, _BATCH, _WARM + 1, num_threads)
    taken = _BATCH / median(steps_s[_OURS])
    rows = []
    for name, task in _DATA.items():
        folder = _SHARED / "data" / name
        if not folder.is_dir():
            continue
        for label, items_per_s in time_items(task.open(folder, "train", _SIZE)).items():
            share = taken / items_per_s
            rows.append((name, label, f"{items_per_s:.0f}", f"{taken:.1f}", f"{share:.3f}"))
    missing = "" if rows else f" No data in {os.environ.get('BRANCHWORK_SHARED', '../shared')}."
    return Table(
        title="Training data against a training step",
        method=f"Augmented items of coco_keypoints at {_SIZE}, one of each image, {_NUM_ITEMS} at "
        f"most; processor time of one core, median over {_PASSES} passes. Against them the "
        f"samples/s that a step of {_OURS}, takes ({num_threads} threads, batch {_BATCH})."
        f"{missing}{remark}",
        head=("data", "images are", "items/s of a core", "samples/s of a step", "cores to keep up"),
        rows=rows,
    )


def time_steps(
    size: ImageSize, batch: int, rounds: int, num_threads: int
) -> dict[str, tuple[float, ...]]:
    """Times training steps of the published execution and of ours, taking turns.

    Args:
        size: The input size.
        batch: Images a step.
        rounds: Steps of each network, after those of the warm-up.
        num_threads: PyTorch's threads.

    Returns:
        Seconds of every step by what was executed, the published execution first.
    """
    torch.set_num_threads(num_threads)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 3, size.height, size.width, generator=generator)
    shape = (batch, _NUM_OUTPUTS, size.height // _STRIDE, size.width // _STRIDE)
    target = torch.rand(shape, generator=generator)
    steps = {
        name: _training_step(module, image, target) for name, module in equal_modules().items()
    }
    times_s: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + _WARM):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if number >= _WARM:
                times_s[name].append(time.perf_counter() - started)
    return {name: tuple(values) for name, values in times_s.items()}


def equal_modules() -> dict[str, nn.Module]:
    """Returns the published execution and ours, in both memory formats, with equal weights."""
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        published = PublishedLiteHRNet(_NUM_OUTPUTS)
        path = Path(folder) / "published.pth"
        torch.save(published.state_dict(), path)
        last = load_released(path, _NETWORK)
        last.to(memory_format=torch.channels_last)
        return {
            _PUBLISHED: published,
            f"{_NETWORK}, contiguous": load_released(path, _NETWORK),
            _OURS: last,
        }


def _training_step(module: nn.Module, image: Tensor, target: Tensor) -> Callable[[], None]:
    """Returns a step; the first convolution brings the image into its own memory format."""
    module.train()
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3, fused=True)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.mse_loss(module(image), target).backward()
        optimiser.step()

    return step


def _step_row(name: str, steps_s: dict[str, tuple[float, ...]]) -> tuple[str, ...]:
    base, ours = np.array(steps_s[_PUBLISHED]), np.array(steps_s[name])
    speed = f"{np.median(ours):.2f}", f"{_BATCH / np.median(ours):.1f}"
    if name == _PUBLISHED:
        return name, *speed, "1", ""
    value, low, high = ratio_with_interval(base / ours)
    return name, *speed, f"{value:.2f}", f"{low:.2f} to {high:.2f}"


def ratio_with_interval(ratios: np.ndarray) -> tuple[float, float, float]:
    """Returns the median over rounds and the ends of its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(ratios), size=(_NUM_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)


def time_items(data: TaskData) -> dict[str, float]:
    """Returns how many training items a second one core makes of a split.

    Args:
        data: The split.

    Returns:
        Items a second while every image is decoded, and with the decoded images in memory.
    """
    chosen = [*islice(_one_of_each_image(data), _NUM_ITEMS)]
    speeds: dict[str, list[float]] = {"decoded each time": [], "kept in memory": []}
    for number in range(_PASSES):
        # A copy begins with no image in memory: its first pass decodes, its second does not.
        fresh = copy.deepcopy(data)
        for values in speeds.values():
            started = time.process_time()
            for index in chosen:
                fresh.train_item(index, number)
            values.append(len(chosen) / (time.process_time() - started))
    return {label: median(values) for label, values in speeds.items()}


def _one_of_each_image(data: TaskData) -> Iterator[int]:
    seen = set()
    for index in range(len(data)):
        image_id = data.eval_item(index).origin.image_id
        if image_id not in seen:
            seen.add(image_id)
            yield index
