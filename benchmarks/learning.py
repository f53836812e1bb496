"""Whether the embedded data can be learnt in two minutes: three seeds, before and after."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from analysis.statistics import bootstrap
from benchmarks.tables import Table, load_remark
from blocks import ImageSize
from networks import initialise, lite_hrnet_18
from tasks import SyntheticKeypoints
from training import SCHEDULES, evaluate, train

_SIZE = ImageSize(128, 96)
_SEEDS = (0, 1, 2)
_SCHEDULE = "tiny"


def run() -> Table:
    """Trains Lite-HRNet-18 with three seeds and scores it before and after."""
    remark = load_remark()
    task = SyntheticKeypoints()
    train_data, val_data = (task.open(None, split, _SIZE) for split in ("train", "val"))
    schedule = SCHEDULES[_SCHEDULE]
    rows = []
    for seed in _SEEDS:
        untrained = lite_hrnet_18().build()
        initialise(untrained, schedule.init, seed)
        before = bootstrap(evaluate(untrained, task, val_data, schedule.batch), seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            trained = train(
                lite_hrnet_18(),
                task,
                task_name="synthetic_keypoints",
                train_data=train_data,
                val_data=val_data,
                size=_SIZE,
                schedule=schedule,
                seed=seed,
                checkpoint_path=Path(folder) / "last.ckpt",
            )
            elapsed_s = time.monotonic() - started
        after = bootstrap(trained.results, seed=seed)
        rows.append(
            (
                str(seed),
                f"{before.value:.3f} ({before.low:.3f} to {before.high:.3f})",
                f"{after.value:.3f} ({after.low:.3f} to {after.high:.3f})",
                f"{elapsed_s:.0f}",
            )
        )
    return Table(
        title="Learning the embedded data",
        method=f"Lite-HRNet-18 on synthetic_keypoints at {_SIZE}, schedule {_SCHEDULE} "
        f"({schedule.steps} steps of {schedule.batch}), {torch.get_num_threads()} threads; AP with "
        f"95 % bootstrap intervals over {val_data.num_images} images.{remark}",
        head=("seed", "AP untrained", "AP trained", "training and evaluation, s"),
        rows=rows,
    )
