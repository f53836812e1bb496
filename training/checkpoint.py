"""Checkpoints: everything that a run needs to go on exactly where it stopped."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from blocks import CheckpointError, Problem

_MAX_GOT = 160


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """What two runs must share for one to go on from the other's checkpoint.

    Attributes:
        spec_id: The network.
        task: The task's name.
        input: The input size, as text.
        schedule: The schedule, field by field.
        data: Fingerprints of the data.
        seed: The run's seed.
    """

    spec_id: str
    task: str
    input: str
    schedule: dict[str, Any]
    data: dict[str, str]
    seed: int


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run after some steps.

    Attributes:
        identity: Which run it is.
        spec: The network as plain data, so that the file stands on its own.
        step: Steps done.
        model: State dict of the network that is scored: with the averaged weights where the
            schedule averages them.
        optimiser: State dict of the optimiser.
        rng: State of PyTorch's CPU generator.
        curve: The learning curve so far, one row an evaluation.
        losses: Losses since the last evaluation.
        elapsed_s: Seconds of training so far.
        learner: State dict of the network that training goes on with, None where it is ``model``.
    """

    identity: RunIdentity
    spec: dict[str, Any]
    step: int
    model: dict[str, Any]
    optimiser: dict[str, Any]
    rng: torch.Tensor
    curve: list[dict[str, Any]]
    losses: list[float]
    elapsed_s: float
    learner: dict[str, Any] | None = None


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint under a temporary name and renames it, so that it is whole or old.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = {**vars(checkpoint), "identity": vars(checkpoint.identity)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                torch.save(data, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            Problem(
                where=str(path),
                rule="a run keeps its state in a checkpoint",
                got=str(error.strerror or error),
                do="free some space, or choose another --out",
            )
        ) from error


def remove_leftovers(path: Path) -> None:
    """Removes what processes left that were killed while they wrote this checkpoint."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            left.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; only tensors and plain data are ever unpickled.

    Raises:
        CheckpointError: If the file is no checkpoint of a training run.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**{**data, "identity": RunIdentity(**data["identity"])})
    # torch.load raises many kinds of errors for a file that is not its own.
    except Exception as error:
        raise misfit(path, error) from error


def misfit(path: Path, error: Exception) -> CheckpointError:
    """Returns the error for a file that is no checkpoint, or not a whole one."""
    lines = str(error).strip().splitlines() or ["no message"]
    got = f"{type(error).__name__}: {lines[0]}"[:_MAX_GOT]
    if isinstance(error, pickle.UnpicklingError):
        # PyTorch's own words speak of its settings.
        got = "a file of another kind, or one that holds code"
    return CheckpointError(
        Problem(
            where=str(path),
            rule="a checkpoint is a file that a training run of Branchwork wrote",
            got=got,
            do="delete the file to train from the start, or choose another --out",
        )
    )


def check_identity(path: Path, checkpoint: Checkpoint, expected: RunIdentity) -> None:
    """Checks that a checkpoint belongs to a run.

    Raises:
        CheckpointError: If it belongs to another; what differs is named.
    """
    found, wanted = _flat(checkpoint.identity), _flat(expected)
    differing = [
        f"{name} {found.get(name)!r} instead of {wanted.get(name)!r}"
        for name in {**wanted, **found}
        if found.get(name) != wanted.get(name)
    ]
    if differing:
        raise CheckpointError(
            Problem(
                where=str(path),
                rule="a run goes on from its own checkpoint only",
                got=", ".join(differing),
                do="choose another --out, or delete the checkpoint",
            )
        )


def _flat(identity: RunIdentity) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in vars(identity).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": part for key, part in value.items()}
        else:
            flat[name] = value
    return flat
