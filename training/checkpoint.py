"""Checkpoints: everything that a run needs to go on exactly where it stopped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blocks import CheckpointError, Problem


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
        model: State dict of the network.
        optimiser: State dict of the optimiser.
        rng: State of PyTorch's CPU generator.
        curve: The learning curve so far, one row an evaluation.
        losses: Losses since the last evaluation.
        elapsed_s: Seconds of training so far.
    """

    identity: RunIdentity
    spec: dict[str, Any]
    step: int
    model: dict[str, Any]
    optimiser: dict[str, Any]
    rng: torch.Tensor
    curve: list[list[float]]
    losses: list[float]
    elapsed_s: float


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint under a temporary name and renames it, so that it is whole or old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = {**vars(checkpoint), "identity": vars(checkpoint.identity)}
    try:
        torch.save(data, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; only tensors and plain data are ever unpickled.

    Raises:
        CheckpointError: If the file is no checkpoint of a training run.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**{**data, "identity": RunIdentity(**data["identity"])})
    except Exception as error:
        # torch.load raises many kinds of errors for a file that is not its own.
        raise CheckpointError(
            Problem(
                where=str(path),
                rule="a checkpoint is a file that a training run of Branchwork wrote",
                got=f"{type(error).__name__}: {error}".splitlines()[0][:160],
                do="delete the file to train from the start",
            )
        ) from error


def check_identity(path: Path, checkpoint: Checkpoint, expected: RunIdentity) -> None:
    """Checks that a checkpoint belongs to a run.

    Raises:
        CheckpointError: If it belongs to another; what differs is named.
    """
    differing = [
        f"{name} {getattr(checkpoint.identity, name)!r} instead of {value!r}"
        for name, value in vars(expected).items()
        if getattr(checkpoint.identity, name) != value
    ]
    if differing:
        raise CheckpointError(
            Problem(
                where=str(path),
                rule="a run goes on from its own checkpoint only",
                got=differing[0],
                do="choose another --out, or delete the checkpoint",
            )
        )
