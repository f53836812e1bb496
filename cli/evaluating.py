"""Runs a trained network over a split, for ``branchwork evaluate``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from analysis.store import RunStore
from blocks import BranchworkError, ImageSize, Problem, check_image_size
from cli.checkpoints import TrainedNetwork, load_trained
from cli.networks import find_networks, input_of
from cli.output import say
from cli.progress import progress
from networks import spec_id
from tasks import Diagnosis, ImageResults, Role, Task, TaskData, collate
from training import ACCELERATORS

_NUM_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class NetworkRun:
    """What is to be run on what.

    Attributes:
        task_name: The task's registered name.
        task: The task with its options.
        checkpoint: The trained weights.
        network: What they are of, None if the checkpoint says it.
        data: The data folder.
        split: The split, None for the task's own.
        input: The input size as the user wrote it, None for the checkpoint's or the task's.
        batch: Images at once.
        accelerator: ``auto``, ``cpu`` or ``cuda``.
    """

    task_name: str
    task: Task
    checkpoint: Path
    network: str | None
    data: Path | None
    split: str | None
    input: str | None
    batch: int
    accelerator: str


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a run gave.

    Attributes:
        about: What was run and how, as plain data.
        results: Its score; None where predictions went to a server's form instead.
        errors: Where its errors lie, if that was asked for.
    """

    about: dict[str, Any]
    results: ImageResults | None
    errors: Diagnosis | None = None


def run_network(
    run: NetworkRun,
    store: RunStore,
    *,
    save_predictions: Path | None,
    submission: Path | None,
    with_errors: bool = False,
) -> Evaluated:
    """Runs a network over a split, keeps its predictions where asked to, and scores them.

    Args:
        run: What is to be run on what.
        store: Where spec_ids are looked up.
        save_predictions: Where predictions are kept, if they are.
        submission: Where they are written for a server, instead of being scored.
        with_errors: Whether errors are told apart.

    Raises:
        BranchworkError: If the checkpoint, the data or an option cannot be used.
    """
    if save_predictions is not None:
        _check_name(save_predictions, run.task)
    if submission is not None and run.task.prediction_suffixes:
        _check_name(submission, run.task)
    if submission is not None and type(run.task).write_submission is Task.write_submission:
        # Before the network has run over everything.
        raise BranchworkError(
            Problem(
                where="--submission",
                rule="predictions are submitted where the labels of a split are secret",
                got=f"{run.task_name}, for which no server's form is known",
                do="keep the predictions with --save-predictions",
            )
        )
    device = device_of(run.accelerator)
    named = None
    if run.network is not None:
        named = find_networks([run.network], task=run.task_name, changes=None, store=store)[0]
    trained = load_trained(run.checkpoint, named, run.task.num_outputs)
    size = trained.input if run.input is None else None
    size = size or input_of(run.input, run.task_name)
    check_fit(trained, run.task, size)
    task, role = _on_split(run.task, run.split)
    data = task.open(run.data, role, size)
    if data.skipped:
        shown = "; ".join(data.skipped[:_NUM_NAMED])
        say(f"skipped {len(data.skipped)} unreadable images of {data.name}: {shown}")
    say(f"running {trained.name} on {data.name} at {size}: {len(data):,} items")
    predictions = _predict(trained.module.to(device), task, data, run.batch, device)
    about = {
        "task": run.task_name,
        "network": trained.name,
        "spec_id": spec_id(trained.spec),
        "checkpoint": str(run.checkpoint),
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "input": str(size),
        "evaluation": task.evaluation(),
        "num_predictions": len(predictions),
        "num_skipped_images": len(data.skipped),
    }
    if save_predictions is not None:
        task.write_predictions(data, predictions, save_predictions)
        say(f"predictions in {save_predictions}")
    if submission is not None:
        written = task.write_submission(data, predictions, submission)
        return Evaluated(about={**about, "submission": str(written)}, results=None)
    results = task.score(data, predictions)
    errors = task.diagnose(data, predictions, results) if with_errors else None
    return Evaluated(about=about, results=results, errors=errors)


def _predict(
    module: torch.nn.Module, task: Task, data: TaskData, batch: int, device: torch.device
) -> list[dict[str, Any]]:
    predictions: list[dict[str, Any]] = []
    with progress(len(data), "item") as reporter:
        for start in range(0, len(data), batch):
            indices = range(start, min(start + batch, len(data)))
            items = collate([data.eval_item(index) for index in indices])
            predictions.extend(task.predict(module, items.to(device)))
            reporter.update(indices.stop, "")
    return predictions


def _on_split(task: Task, split: str | None) -> tuple[Task, Role]:
    """Returns the task and the role under which it opens a split for scoring.

    Raises:
        BranchworkError: If a task that brings its own data has no such split.
    """
    if split is None:
        return task, "val"
    if any(field.name == "val_split" for field in dataclasses.fields(task)):
        # What a split is called is known to the task's own options alone.
        return dataclasses.replace(task, **cast("Any", {"val_split": split})), "val"
    if split not in {"train", "val"}:
        raise BranchworkError(
            Problem(
                where="--split",
                rule="the task has the splits train and val",
                got=repr(split),
                do="choose one of them",
            )
        )
    return task, "train" if split == "train" else "val"


def check_fit(trained: TrainedNetwork, task: Task, size: ImageSize) -> None:
    """Checks that a network suits a task and an input size.

    Raises:
        BranchworkError: If not.
    """
    check_image_size("--input", size, trained.spec.coarsest_stride)
    if task.stride not in {None, trained.spec.output_stride}:
        raise BranchworkError(
            Problem(
                where="--checkpoint",
                rule=f"the task's outputs have stride {task.stride}",
                got=f"a network with output stride {trained.spec.output_stride}",
                do="name a checkpoint that was trained for the task",
            )
        )


def _check_name(path: Path, task: Task) -> None:
    """Checks before the work begins that its predictions can have their name."""
    suffixes = task.prediction_suffixes
    if suffixes and path.suffix not in suffixes:
        raise BranchworkError(
            Problem(
                where=str(path),
                rule=f"predictions of the task are a file that ends in {' or '.join(suffixes)}",
                got=repr(path.name),
                do=f"write {path.with_suffix(suffixes[0]).name}",
            )
        )
    if not suffixes and path.is_file():
        raise BranchworkError(
            Problem(
                where=str(path),
                rule="predictions of the task are a folder",
                got="a file",
                do="name a folder",
            )
        )


def device_of(accelerator: str) -> torch.device:
    """Returns the device that an option stands for.

    Raises:
        BranchworkError: If there is no such option, or no GPU where one is asked for.
    """
    if accelerator not in ACCELERATORS:
        raise BranchworkError(
            Problem(
                where="--accelerator",
                rule=f"the accelerator is one of {', '.join(ACCELERATORS)}",
                got=repr(accelerator),
                do="write auto",
            )
        )
    there = torch.cuda.is_available()
    if accelerator == "cuda" and not there:
        raise BranchworkError(
            Problem(
                where="--accelerator",
                rule="cuda needs a GPU that PyTorch sees",
                got="none",
                do="write auto or cpu",
            )
        )
    return torch.device("cuda" if accelerator != "cpu" and there else "cpu")
