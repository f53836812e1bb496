"""A run in a process of its own, for a test to kill: SCHEDULE DATA CHECKPOINT PAUSE_AT_STEP."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from tiny_network import SIZE, TASK, tiny_network

from training import Schedule, loop, train

SCHEDULE = Schedule(steps=9, batch=4, lr=5e-3, warmup_steps=2, num_evals=2)
SCHEDULES = {
    "plain": SCHEDULE,
    "rich": Schedule(
        epochs=2,
        batch=7,
        lr=5e-3,
        warmup_steps=2,
        warmup_start=0.01,
        num_evals=2,
        optimiser="sgd",
        momentum=0.9,
        weight_decay=1e-4,
        decay="steps",
        milestones=(1,),
        reference_batch=14,
        ema=0.9,
        accumulation=3,
        memory_format="channels_last",
    ),
}


def main(schedule: str, data: Path, checkpoint: Path, pause_at: int) -> None:
    torch.set_num_threads(1)
    # Every step is worth a checkpoint, so that the kill falls between two evaluations.
    loop._CHECKPOINT_EVERY_S = -1.0

    def pause(report) -> None:
        if report.step == pause_at and not report.message:
            sys.stdout.write("paused\n")
            sys.stdout.flush()
            time.sleep(600)

    train(
        tiny_network(),
        TASK,
        task_name="synthetic_keypoints",
        train_data=TASK.open(data, "train", SIZE),
        val_data=TASK.open(data, "val", SIZE),
        size=SIZE,
        schedule=SCHEDULES[schedule],
        seed=3,
        checkpoint_path=checkpoint,
        on_step=pause,
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
