"""One trial: from a spec to a record, and the part of it that trains."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.cost import measure_cost
from analysis.environment import current_environment
from analysis.latency import Latency
from analysis.records import CurvePoint, Protocol, Record, Score, Status
from analysis.statistics import bootstrap
from blocks import ImageSize
from networks import NetworkSpec, spec_from_dict, spec_id, spec_to_dict
from tasks import ImageResults, Task, TaskData
from training import Hardware, Schedule, StepReport, train
from training.loop import Pace

_NUM_KEPT_SETS = 4


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, as data that travels between processes.

    Attributes:
        spec: The network as plain data.
        task_name: The task's registered name.
        task: The task with its options.
        data: The data folder, None for a task that brings its own.
        input: The input size.
        schedule: How it is trained.
        seed: The seed of everything random.
        checkpoint: Where its state is kept.
        hardware: Where it runs.
    """

    spec: dict[str, Any]
    task_name: str
    task: Task
    data: Path | None
    input: ImageSize
    schedule: Schedule
    seed: int
    checkpoint: Path
    hardware: Hardware


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What training gave.

    Attributes:
        score: The score with its interval.
        results: The per-image results behind it.
        curve: The learning curve.
        elapsed_s: Seconds of training and evaluation.
        num_skipped_images: Unreadable images that were left out.
        resumed_from: Step at which it went on from a checkpoint, 0 if it began.
    """

    score: Score
    results: ImageResults
    curve: tuple[CurvePoint, ...]
    elapsed_s: float
    num_skipped_images: int
    resumed_from: int


@lru_cache(maxsize=_NUM_KEPT_SETS)
def open_split(task: Task, data: Path | None, split: str, size: ImageSize) -> TaskData:
    """Opens a split once a process: trials of one study share it."""
    return task.open(data, "train" if split == "train" else "val", size)


def protocol_of(
    task_name: str, task: Task, schedule: Schedule, train_data: TaskData, val_data: TaskData
) -> Protocol:
    """Returns everything that must be equal for two scores to be comparable."""
    return Protocol(
        task=task_name,
        data={"train": train_data.fingerprint, "val": val_data.fingerprint},
        schedule=schedule.resolved(len(train_data)).protocol(),
        evaluation=task.evaluation(),
    )


def run_job(
    job: Job,
    *,
    on_step: Callable[[StepReport], None] = lambda _: None,
    pace: Pace = nullcontext,
) -> Outcome:
    """Trains and scores one network.

    Raises:
        BranchworkError: If the data or the checkpoint cannot be used.
        DivergedError: If the loss becomes NaN or infinite.
    """
    spec = spec_from_dict(job.spec)
    train_data = open_split(job.task, job.data, "train", job.input)
    val_data = open_split(job.task, job.data, "val", job.input)
    protocol = protocol_of(job.task_name, job.task, job.schedule, train_data, val_data)
    trained = train(
        spec,
        job.task,
        task_name=job.task_name,
        train_data=train_data,
        val_data=val_data,
        size=job.input,
        schedule=job.schedule,
        seed=job.seed,
        checkpoint_path=job.checkpoint,
        hardware=job.hardware,
        on_step=on_step,
        pace=pace,
    )
    interval = bootstrap(trained.results, seed=job.seed)
    score = Score(
        metric=trained.results.headline,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        num_resamples=interval.num_resamples,
        num_images=trained.results.num_images,
        metrics=trained.results.metrics,
        protocol=protocol,
        protocol_id=protocol.protocol_id,
        seed=job.seed,
    )
    return Outcome(
        score=score,
        results=trained.results,
        curve=tuple(CurvePoint(**asdict(point)) for point in trained.curve),
        elapsed_s=trained.elapsed_s,
        num_skipped_images=len(train_data.skipped) + len(val_data.skipped),
        resumed_from=trained.resumed_from,
    )


def make_record(  # noqa: PLR0913 - a record holds all of these
    *,
    record_id: str,
    study: str,
    status: Status,
    network: str,
    spec: NetworkSpec,
    task_name: str,
    size: ImageSize,
    outcome: Outcome | None = None,
    latencies: tuple[Latency, ...] = (),
    trial: int | None = None,
    choices: dict[str, Any] | None = None,
    reason: str = "",
    reused_from: str = "",
) -> Record:
    """Makes the record of a network on this machine, its cost included."""
    return Record(
        record_id=record_id,
        study=study,
        status=status,
        network=network,
        spec=spec_to_dict(spec),
        spec_id=spec_id(spec),
        task=task_name,
        num_outputs=spec.num_outputs,
        input=size,
        cost=measure_cost(spec, size),
        environment=current_environment(),
        latencies=latencies,
        score=outcome.score if outcome else None,
        curve=outcome.curve if outcome else (),
        trial=trial,
        choices=choices or {},
        reason=reason,
        reused_from=reused_from,
        train_s=outcome.elapsed_s if outcome and not reused_from else 0.0,
        num_skipped_images=outcome.num_skipped_images if outcome else 0,
    )
