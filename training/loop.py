"""The training loop: readable from top to bottom, exact in what it repeats."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from blocks import ImageSize, Problem, StudyError, check_image_size
from networks import NetworkSpec, initialise, spec_from_dict, spec_id, spec_to_dict
from tasks import ImageResults, Task, TaskData, collate
from training.checkpoint import RunIdentity
from training.hardware import Hardware, check_launch, current_launch, make_fabric
from training.learner import Learner, make_learner
from training.processes import run_in_processes
from training.reports import DivergedError, OutOfMemoryError, StepReport, TrainedRun
from training.samples import MAX_SEED, load_batches, sample_keys
from training.schedule import Schedule
from training.state import RunState

_CHECKPOINT_EVERY_S = 30.0
_LEAST_SHARE = 2

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
    gives on the CPU, bit for bit, the losses that it would have given. What the caller drew from
    PyTorch's generator before is not disturbed. In a process that ``torchrun`` started, this is
    one of the run's processes; each of them returns what the run gave.

    Args:
        spec: The network; its number of outputs must be the task's.
        task: What it is trained for.
        task_name: The task's registered name.
        train_data: What it learns from.
        val_data: What it is scored on.
        size: The input size.
        schedule: How it is trained; epochs are resolved by the size of the data.
        seed: The seed of everything random.
        checkpoint_path: Where its state is kept; all nodes must see it.
        hardware: Where it runs.
        on_step: Is told about every step; on one device it may raise KeyboardInterrupt to stop
            the run between two steps, and the run is saved.
        pace: Gives a context in which each step and each evaluated batch is done, so that a
            caller can hold the run between steps; not asked for on several devices.

    Raises:
        StudyError: If the network, the data or the hardware do not suit the task or the schedule.
        DataError: If an image can no longer be read; once it is restored, the run goes on.
        CheckpointError: If the checkpoint belongs to another run, or cannot be written.
        BranchworkError: If the devices are not there, or the network cannot be compiled.
        DivergedError: If the loss becomes NaN or infinite.
        OutOfMemoryError: If there is not enough memory.
    """
    hardware = hardware or Hardware()
    check_launch(hardware)
    check_image_size("input", size, spec.coarsest_stride)
    schedule = schedule.resolved(len(train_data))
    _check_fit(spec, task, schedule, hardware, seed)
    work = _Work(
        spec=spec_to_dict(spec),
        task=task,
        task_name=task_name,
        train_data=train_data,
        val_data=val_data,
        size=size,
        schedule=schedule,
        seed=seed,
        checkpoint_path=checkpoint_path,
        hardware=hardware,
    )
    if hardware.num_processes == 1:
        return _run(work, on_step, pace)
    if current_launch():
        try:
            return _run(work, on_step)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
    return run_in_processes(partial(_run, work), hardware.devices, hardware.block_folders, on_step)


@torch.no_grad()
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
        module: The network, on its device; left in eval mode, otherwise as it was.
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
        with pace(), fabric.autocast() if fabric else nullcontext():
            chunk = indices[start : start + batch_size]
            batch = collate([data.eval_item(index) for index in chunk])
            predictions.extend(task.predict(module, batch.to(device)))
    return task.score(data, _gathered(predictions, len(data), world))


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Everything that defines a run, as data that travels between processes."""

    spec: dict[str, Any]
    task: Task
    task_name: str
    train_data: TaskData
    val_data: TaskData
    size: ImageSize
    schedule: Schedule
    seed: int
    checkpoint_path: Path
    hardware: Hardware


def _run(
    work: _Work, on_step: Callable[[StepReport], None], pace: Pace = nullcontext
) -> TrainedRun:
    fabric = make_fabric(work.hardware, work.schedule.precision)
    fabric.launch()
    with torch.random.fork_rng(devices=[]), _memory_errors(work):
        torch.manual_seed(work.seed)
        state, learner = _begin(work, fabric)
        return _steps(work, fabric, state, learner, on_step, pace)


def _begin(work: _Work, fabric: Fabric) -> tuple[RunState, Learner]:
    schedule = work.schedule
    spec = spec_from_dict(work.spec)
    module = spec.build()
    initialise(module, schedule.init, work.seed)
    learner = make_learner(module, work.task, schedule, fabric)
    state = RunState(
        spec=spec,
        identity=RunIdentity(
            spec_id=spec_id(spec),
            task=work.task_name,
            input=str(work.size),
            schedule=schedule.settings(),
            data={"train": work.train_data.fingerprint, "val": work.val_data.fingerprint},
            seed=work.seed,
        ),
        path=work.checkpoint_path,
        module=module,
        # What Fabric wraps: the state of the other holds no more.
        optimiser=learner.optimiser,
        average=learner.average,
        writes=fabric.is_global_zero,
    )
    # After the set-up: the optimiser's state then goes to the device that its weights are on.
    state.restore()
    _check_step(state, fabric)
    return state, learner


def _steps(  # noqa: PLR0913, PLR0917 - the loop stands on all of these
    work: _Work,
    fabric: Fabric,
    state: RunState,
    learner: Learner,
    on_step: Callable[[StepReport], None],
    pace: Pace,
) -> TrainedRun:
    schedule = work.schedule
    keys = sample_keys(len(work.train_data), schedule, work.seed, state.step)
    parts = load_batches(
        work.train_data,
        keys,
        fabric,
        num_parts=schedule.accumulation,
        num_loaders=work.hardware.num_loaders,
    )
    resumed_from = state.step
    all_losses: list[float] = []
    started, started_s = time.monotonic(), state.elapsed_s
    # Steps, and seconds, that say nothing about the speed of training.
    num_others, others_s = 0, 0.0
    results: ImageResults | None = None

    learner.model.train()
    for step in range(resumed_from, schedule.steps):
        with pace():
            loss = learner.learn(step, parts)
        value = _mean_over_devices(fabric, loss)
        if not math.isfinite(value):
            message = f"the loss became {value} at step {step + 1} of {schedule.steps}"
            raise DivergedError(message)
        all_losses.append(value)
        state.losses.append(value)
        state.step = step + 1
        elapsed_s = time.monotonic() - started
        state.elapsed_s = started_s + elapsed_s
        if learner.compile_s:
            num_others, others_s = num_others + 1, others_s + learner.compile_s
        num_samples = (len(all_losses) - num_others) * schedule.batch
        report = StepReport(
            step=state.step,
            num_steps=schedule.steps,
            loss=value,
            samples_per_s=num_samples / (elapsed_s - others_s),
            compile_s=learner.compile_s,
        )
        try:
            on_step(report)
        except KeyboardInterrupt:
            # An evaluation that is due must not be skipped when the run goes on.
            if state.step not in schedule.eval_steps:
                state.save()
            raise
        if state.step in schedule.eval_steps:
            on_step(dataclasses.replace(report, message="evaluating"))
            results = _evaluate_run(state, work, fabric, pace)
            others_s += time.monotonic() - started - elapsed_s
            state.elapsed_s = started_s + time.monotonic() - started
            state.add_point(results)
            learner.model.train()
            state.save()
        elif state.seconds_since_save > _CHECKPOINT_EVERY_S:
            state.save()
    if results is None:
        # The run had ended before; its checkpoint is the trained network.
        results = _evaluate_run(state, work, fabric, pace)
    return TrainedRun(
        results=results,
        curve=state.points,
        losses=tuple(all_losses),
        elapsed_s=state.elapsed_s,
        resumed_from=resumed_from,
    )


def _evaluate_run(state: RunState, work: _Work, fabric: Fabric, pace: Pace) -> ImageResults:
    # The last step's update has no loss of its own that would show that it went wrong.
    for name, value in state.scored.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            message = f"{name} is no longer finite after step {state.step}"
            raise DivergedError(message)
    # The bare module: a module wrapped for several devices talks to the others at each forward
    # pass, and the devices may have different numbers of batches to evaluate.
    if fabric.world_size > 1:
        for buffer in state.scored.buffers():
            torch.distributed.broadcast(buffer, src=0)
    # What fits the memory in training does so here.
    batch_size = -(-work.schedule.batch // work.schedule.accumulation)
    return evaluate(state.scored, work.task, work.val_data, batch_size, fabric=fabric, pace=pace)


def _check_step(state: RunState, fabric: Fabric) -> None:
    """Checks that all processes go on from the same step.

    Raises:
        StudyError: If a node does not see the checkpoint of the others.
    """
    if fabric.world_size == 1:
        return
    steps: list[int] = [0] * fabric.world_size
    torch.distributed.all_gather_object(steps, state.step)
    if len(set(steps)) > 1:
        raise StudyError(
            Problem(
                where=str(state.path),
                rule="all nodes go on from one checkpoint",
                got=f"processes at the steps {', '.join(map(str, steps))}",
                do="choose an --out that every node sees",
            )
        )


def _mean_over_devices(fabric: Fabric, loss: Tensor) -> float:
    if fabric.world_size == 1:
        return float(loss.detach())
    return float(cast("Tensor", fabric.all_reduce(loss.detach(), reduce_op="mean")))


def _gathered(
    predictions: list[dict[str, Any]], num_items: int, world: int
) -> list[dict[str, Any]]:
    """Returns the predictions of all devices, in the order of the items."""
    if world == 1:
        return predictions
    parts: list[list[dict[str, Any]]] = [[] for _ in range(world)]
    torch.distributed.all_gather_object(parts, predictions)
    return [parts[index % world][index // world] for index in range(num_items)]


@contextmanager
def _memory_errors(work: _Work) -> Iterator[None]:
    """Gives the several errors that say "no more memory" one name and one line."""
    message = f"out of memory with batch {work.schedule.batch} at {work.size}"
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemoryError(message) from error
    except RuntimeError as error:
        # What PyTorch raises for the memory of the CPU has no class of its own.
        if "can't allocate memory" not in str(error):
            raise
        raise OutOfMemoryError(message) from error


def _check_fit(
    spec: NetworkSpec,
    task: Task,
    schedule: Schedule,
    hardware: Hardware,
    seed: int,
) -> None:
    num_shares = hardware.num_processes * schedule.accumulation
    problems = [
        Problem(where=where, rule=rule, got=got, do=do)
        for where, rule, got, do, fits in (
            (
                "head.num_outputs",
                f"the task needs {task.num_outputs} outputs",
                str(spec.num_outputs),
                "use spec.with_outputs(task.num_outputs)",
                spec.num_outputs == task.num_outputs,
            ),
            (
                "head",
                f"the task's targets have stride {task.stride}",
                f"a network with output stride {spec.output_stride}",
                "choose a stem or head that gives that stride",
                task.stride in {None, spec.output_stride},
            ),
            (
                "schedule.batch",
                f"every device needs at least {_LEAST_SHARE} samples of every part of a batch",
                f"{schedule.batch} for {hardware.num_processes} devices"
                + (f" and {schedule.accumulation} parts" if schedule.accumulation > 1 else ""),
                f"write {_LEAST_SHARE * num_shares} or more, or use fewer devices",
                schedule.batch // num_shares >= _LEAST_SHARE,
            ),
            (
                "seed",
                f"a seed is a whole number from 0 to {MAX_SEED}",
                str(seed),
                "use 0, for example",
                0 <= seed <= MAX_SEED,
            ),
        )
        if not fits
    ]
    if problems:
        raise StudyError(problems)
