"""Training speed on the embedded data: forward, backward and optimiser step, batches included."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.tables import Table, load_remark
from blocks import ImageSize
from networks import PRESETS
from tasks import SyntheticKeypoints
from training import Schedule, StepReport, train

_NAMES = ("lite_hrnet_18", "naive_lite_hrnet_18", "small_hrnet_w16")
_SIZES = ("96x64", "128x96")
_STEPS = 12
_WARM = 3
_BATCH = 16


def run() -> Table:
    """Measures samples a second, one thread."""
    remark = load_remark()
    torch.set_num_threads(1)
    rows = []
    for text in _SIZES:
        size = ImageSize.parse(text)
        task = SyntheticKeypoints(num_train=256, num_val=16)
        splits = {name: task.open(None, name, size) for name in ("train", "val")}
        for name in _NAMES:
            stamps: list[float] = []

            def note(_: StepReport, stamps: list[float] = stamps) -> None:
                stamps.append(time.perf_counter())

            with tempfile.TemporaryDirectory() as folder:
                train(
                    PRESETS[name].make(17),
                    task,
                    task_name="synthetic_keypoints",
                    train_data=splits["train"],
                    val_data=splits["val"],
                    size=size,
                    schedule=Schedule(steps=_STEPS, batch=_BATCH, lr=1e-3, num_evals=1),
                    seed=0,
                    checkpoint_path=Path(folder) / "last.ckpt",
                    on_step=note,
                )
            steps_s = [
                after - before
                for before, after in zip(
                    stamps[_WARM:_STEPS], stamps[_WARM + 1 : _STEPS], strict=False
                )
            ]
            rows.append((name, text, f"{_BATCH / statistics.median(steps_s):.1f}"))
    return Table(
        title="Training speed",
        method=f"Eager PyTorch, float32, 1 thread, batch {_BATCH}, synthetic_keypoints with "
        f"augmentation; median over {_STEPS - _WARM - 1} steps.{remark}",
        head=("network", "input", "samples/s"),
        rows=rows,
    )
