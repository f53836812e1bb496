"""The training loop: readable from top to bottom, exact in what it repeats."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from blocks import ImageSize, Problem, StudyError
from networks import NetworkSpec, initialise, spec_id, spec_to_dict
from tasks import Batch, ImageResults, Item, Task, TaskData, collate
from training.checkpoint import (
    Checkpoint,
    RunIdentity,
    check_identity,
    load_checkpoint,
    save_checkpoint,
)
from training.schedule import Schedule

_CHECKPOINT_EVERY_S = 30.0


class DivergedError(RuntimeError):
    """The loss of a run became NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a run takes place.

    Attributes:
        accelerator: ``auto``, ``cpu`` or ``cuda``.
        devices: Number of devices; the batch is divided over them.
        num_loaders: Processes that prepare batches; 0 prepares them in the run's own process.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_loaders: int = 0


@dataclass(frozen=True, kw_only=True)
class EvalPoint:
    """One evaluation during training.

    Attributes:
        step: Steps done.
        loss: Mean training loss since the last evaluation.
        score: The task's headline metric on the validation data.
        elapsed_s: Seconds of training so far.
    """

    step: int
    loss: float
    score: float
    elapsed_s: float


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """How far a run is.

    Attributes:
        step: Steps done.
        num_steps: Steps in all.
        loss: Loss of the last step.
        samples_per_s: Training samples a second since the run (or its resumption) began.
        message: What is happening beside the steps, "" usually.
    """

    step: int
    num_steps: int
    loss: float
    samples_per_s: float
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """What training gave.

    Attributes:
        results: Per-image results on the validation data.
        curve: The learning curve.
        losses: Loss of every step that this process did.
        elapsed_s: Seconds of training and evaluation, earlier processes included.
        resumed_from: Step at which this process took over, 0 if it began.
    """

    results: ImageResults
    curve: tuple[EvalPoint, ...]
    losses: tuple[float, ...]
    elapsed_s: float
    resumed_from: int


Pace = Callable[[], AbstractContextManager[object]]


def train(  # noqa: PLR0913 - a run is defined by all of these
    spec: NetworkSpec,
    task: Task,
    *,
    task_name: str,
    train_data: TaskData,
    val_data: TaskData,
    size: ImageSize,
    schedule: Schedule,
    seed: int,
    checkpoint_path: Path,
    hardware: Hardware | None = None,
    on_step: Callable[[StepReport], None] = lambda _: None,
    pace: Pace = nullcontext,
) -> TrainedRun:
    """Trains a network on a schedule, going on from its checkpoint if there is one.

    Initialisation, order and augmentation come from the seed alone, and a run that was killed
    gives on the CPU, bit for bit, the losses that it would have given.

    Args:
        spec: The network; its number of outputs must be the task's.
        task: What it is trained for.
        task_name: The task's registered name.
        train_data: What it learns from.
        val_data: What it is scored on.
        size: The input size.
        schedule: How it is trained.
        seed: The seed of everything random.
        checkpoint_path: Where its state is kept.
        hardware: Where it runs.
        on_step: Is told about every step.
        pace: Gives a context in which each step and each evaluated batch is done, so that a
            caller can hold the run between steps.

    Raises:
        StudyError: If the network does not suit the task.
        CheckpointError: If the checkpoint belongs to another run.
        DivergedError: If the loss becomes NaN or infinite.
    """
    _check_fit(spec, task, train_data, schedule)
    hardware = hardware or Hardware()
    fabric = Fabric(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        precision=cast("Any", schedule.precision),
    )
    if hardware.devices > 1:
        fabric.launch()
    torch.manual_seed(seed)
    module = spec.build()
    initialise(module, schedule.init, seed)
    optimiser = torch.optim.AdamW(
        module.parameters(),
        lr=schedule.lr,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    identity = RunIdentity(
        spec_id=spec_id(spec),
        task=task_name,
        input=str(size),
        schedule=dataclasses.asdict(schedule),
        data={"train": train_data.fingerprint, "val": val_data.fingerprint},
        seed=seed,
    )
    run = _Run(spec, identity, checkpoint_path, module, optimiser, fabric)
    run.restore()
    model, wrapped_optimiser = fabric.setup(module, optimiser)
    batches = iter(_loader(train_data, schedule, seed, run.step, fabric, hardware))
    resumed_from, all_losses = run.step, []
    started, started_s = time.monotonic(), run.elapsed_s
    results: ImageResults | None = None

    model.train()
    for step in range(run.step, schedule.steps):
        with pace():
            batch = next(batches).to(fabric.device)
            for group in optimiser.param_groups:
                group["lr"] = schedule.lr_at(step)
            wrapped_optimiser.zero_grad(set_to_none=True)
            loss = task.loss(model(batch.image), batch)
            fabric.backward(loss)
            wrapped_optimiser.step()
        value = _mean_over_devices(fabric, loss)
        if not math.isfinite(value):
            message = f"the loss became {value} at step {step + 1} of {schedule.steps}"
            raise DivergedError(message)
        all_losses.append(value)
        run.losses.append(value)
        run.step = step + 1
        run.elapsed_s = started_s + time.monotonic() - started
        rate = (run.step - resumed_from) * schedule.batch / (time.monotonic() - started)
        report = StepReport(step=run.step, num_steps=schedule.steps, loss=value, samples_per_s=rate)
        on_step(report)
        if run.step in schedule.eval_steps:
            on_step(dataclasses.replace(report, message="evaluating"))
            results = evaluate(model, task, val_data, schedule.batch, fabric=fabric, pace=pace)
            run.elapsed_s = started_s + time.monotonic() - started
            run.add_point(results.metrics[results.headline])
            model.train()
            run.save()
        elif run.seconds_since_save > _CHECKPOINT_EVERY_S:
            run.save()
    if results is None:
        # The run had ended before; its checkpoint is the trained network.
        results = evaluate(model, task, val_data, schedule.batch, fabric=fabric, pace=pace)
    return TrainedRun(
        results=results,
        curve=run.points,
        losses=tuple(all_losses),
        elapsed_s=run.elapsed_s,
        resumed_from=resumed_from,
    )


def evaluate(  # noqa: PLR0913
    module: nn.Module,
    task: Task,
    data: TaskData,
    batch_size: int,
    *,
    fabric: Fabric | None = None,
    pace: Pace = nullcontext,
) -> ImageResults:
    """Scores a network on a split; the devices share the work.

    Args:
        module: The network; left in eval mode.
        task: Its task.
        data: The split.
        batch_size: Images a forward pass.
        fabric: Where the network lives; None for the CPU.
        pace: As in ``train``.
    """
    module.eval()
    rank, world = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    device = fabric.device if fabric else torch.device("cpu")
    indices = range(rank, len(data), world)
    predictions: list[dict[str, Any]] = []
    for start in range(0, len(indices), batch_size):
        with pace():
            chunk = indices[start : start + batch_size]
            batch = collate([data.eval_item(index) for index in chunk])
            predictions.extend(task.predict(module, batch.to(device)))
    return task.score(data, _gathered(predictions, world))


class _Run:
    """What changes during a run, and its way to disk."""

    def __init__(  # noqa: PLR0913
        self,
        spec: NetworkSpec,
        identity: RunIdentity,
        path: Path,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        fabric: Fabric,
    ) -> None:
        self._spec = spec
        self._identity = identity
        self._path = path
        self._module = module
        self._optimiser = optimiser
        self._fabric = fabric
        self._saved_at = time.monotonic()
        self.step = 0
        self.curve: list[list[float]] = []
        self.losses: list[float] = []
        self.elapsed_s = 0.0

    @property
    def seconds_since_save(self) -> float:
        return time.monotonic() - self._saved_at

    @property
    def points(self) -> tuple[EvalPoint, ...]:
        return tuple(
            EvalPoint(step=int(step), loss=loss, score=score, elapsed_s=elapsed_s)
            for step, loss, score, elapsed_s in self.curve
        )

    def add_point(self, score: float) -> None:
        mean_loss = sum(self.losses) / len(self.losses)
        self.curve.append([float(self.step), mean_loss, score, self.elapsed_s])
        self.losses.clear()

    def restore(self) -> None:
        if not self._path.is_file():
            return
        checkpoint = load_checkpoint(self._path)
        check_identity(self._path, checkpoint, self._identity)
        self._module.load_state_dict(checkpoint.model)
        self._optimiser.load_state_dict(checkpoint.optimiser)
        torch.set_rng_state(checkpoint.rng)
        self.step = checkpoint.step
        self.curve = checkpoint.curve
        self.losses = checkpoint.losses
        self.elapsed_s = checkpoint.elapsed_s

    def save(self) -> None:
        self._saved_at = time.monotonic()
        if not self._fabric.is_global_zero:
            return
        save_checkpoint(
            self._path,
            Checkpoint(
                identity=self._identity,
                spec=spec_to_dict(self._spec),
                step=self.step,
                model=self._module.state_dict(),
                optimiser=self._optimiser.state_dict(),
                rng=torch.get_rng_state(),
                curve=self.curve,
                losses=self.losses,
                elapsed_s=self.elapsed_s,
            ),
        )


class _Samples(Dataset[Item]):
    """Items by (index, seed of the augmentation)."""

    def __init__(self, data: TaskData) -> None:
        self._data = data

    def __getitem__(self, key: tuple[int, int]) -> Item:
        return self._data.train_item(*key)


def _loader(  # noqa: PLR0913
    data: TaskData,
    schedule: Schedule,
    seed: int,
    first_step: int,
    fabric: Fabric,
    hardware: Hardware,
) -> DataLoader[Any]:
    keys = list(_sample_keys(len(data), schedule, seed, first_step))
    mine = [batch[fabric.global_rank :: fabric.world_size] for batch in keys]
    return DataLoader(
        _Samples(data),
        batch_sampler=cast("Any", mine),
        collate_fn=cast("Callable[[Sequence[Item]], Batch]", collate),
        num_workers=hardware.num_loaders,
        persistent_workers=False,
        pin_memory=fabric.device.type == "cuda",
    )


def _sample_keys(
    num_items: int, schedule: Schedule, seed: int, first_step: int
) -> Iterator[list[tuple[int, int]]]:
    """Yields every step's samples: passes over the data in orders drawn from the seed.

    What a step sees depends on its number and the seed alone, so a resumed run sees the same.
    """
    order: dict[int, list[int]] = {}

    def key(position: int) -> tuple[int, int]:
        epoch, offset = divmod(position, num_items)
        if epoch not in order:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            order[epoch] = torch.randperm(num_items, generator=generator).tolist()
        return order[epoch][offset], seed * 1_000_003 + epoch

    for step in range(first_step, schedule.steps):
        start = step * schedule.batch
        yield [key(position) for position in range(start, start + schedule.batch)]


def _mean_over_devices(fabric: Fabric, loss: Tensor) -> float:
    if fabric.world_size == 1:
        return float(loss.detach())
    return float(cast("Tensor", fabric.all_reduce(loss.detach(), reduce_op="mean")))


def _gathered(predictions: list[dict[str, Any]], world: int) -> list[dict[str, Any]]:
    if world == 1:
        return predictions
    parts: list[list[dict[str, Any]]] = [[] for _ in range(world)]
    torch.distributed.all_gather_object(parts, predictions)
    return [prediction for part in parts for prediction in part]


def _check_fit(spec: NetworkSpec, task: Task, data: TaskData, schedule: Schedule) -> None:
    if spec.num_outputs != task.num_outputs:
        raise StudyError(
            Problem(
                where="head.num_outputs",
                rule=f"the task needs {task.num_outputs} outputs",
                got=str(spec.num_outputs),
                do="use spec.with_outputs(task.num_outputs)",
            )
        )
    if spec.output_stride != task.stride:
        raise StudyError(
            Problem(
                where="head",
                rule=f"the task's targets have stride {task.stride}",
                got=f"a network with output stride {spec.output_stride}",
                do="choose a stem or head that gives that stride",
            )
        )
    if len(data) < schedule.batch:
        raise StudyError(
            Problem(
                where="schedule.batch",
                rule="a batch is no larger than the training data",
                got=f"{schedule.batch} for {len(data)} samples",
                do=f"write {max(2, len(data))} or less, or use more data",
            )
        )
