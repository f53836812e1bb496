"""A network, a task and a schedule that train in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_network import SIZE, TASK, tiny_network

from networks import NetworkSpec
from tasks import TaskData
from training import Schedule, TrainedRun, train


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(scope="session")
def splits(data_folder) -> dict[str, TaskData]:
    return {
        "train_data": TASK.open(data_folder, "train", SIZE),
        "val_data": TASK.open(data_folder, "val", SIZE),
    }


@pytest.fixture
def checkpoint_path(tmp_path) -> Path:
    return tmp_path / "run" / "checkpoint.pt"


@pytest.fixture
def run_train(splits, checkpoint_path) -> Callable[..., TrainedRun]:
    """Trains the tiny network; settings of the schedule and of ``train`` can be changed."""

    def run(spec: NetworkSpec | None = None, **changes: Any) -> TrainedRun:
        names = set(Schedule.__dataclass_fields__)
        schedule = replace(
            Schedule(steps=4, batch=4, lr=1e-3, warmup_steps=1, num_evals=2),
            **{name: value for name, value in changes.items() if name in names},
        )
        settings = {
            "task_name": "synthetic_keypoints",
            "size": SIZE,
            "schedule": schedule,
            "seed": 0,
            "checkpoint_path": checkpoint_path,
            **splits,
            **{name: value for name, value in changes.items() if name not in names},
        }
        return train(spec or tiny_network(), TASK, **settings)

    return run
