"""What changes during a run, and its way to disk and back."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from networks import NetworkSpec, spec_to_dict
from tasks import ImageResults
from training.averaging import WeightAverage
from training.checkpoint import (
    Checkpoint,
    RunIdentity,
    check_identity,
    load_checkpoint,
    misfit,
    remove_leftovers,
    save_checkpoint,
)
from training.reports import EvalPoint


@dataclass(kw_only=True)
class RunState:
    """A run in progress: how far it is and what it has learnt.

    Attributes:
        spec: The network.
        identity: Which run it is.
        path: Where its checkpoint lies.
        module: The network's module, on its device.
        optimiser: Its optimiser.
        average: The average of its weights, None where there is none.
        writes: Whether this process is the one that writes the checkpoint.
        step: Steps done.
        curve: The learning curve so far, one row an evaluation.
        losses: Losses since the last evaluation.
        elapsed_s: Seconds of training so far.
    """

    spec: NetworkSpec
    identity: RunIdentity
    path: Path
    module: nn.Module
    optimiser: torch.optim.Optimizer
    average: WeightAverage | None
    writes: bool
    step: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0
    _saved_at: float = field(default_factory=time.monotonic)

    @property
    def scored(self) -> nn.Module:
        """The network that is scored: with the averaged weights if there are any."""
        return self.average.module if self.average else self.module

    @property
    def seconds_since_save(self) -> float:
        """Seconds since the checkpoint was written, or since the start."""
        return time.monotonic() - self._saved_at

    @property
    def points(self) -> tuple[EvalPoint, ...]:
        """The learning curve."""
        return tuple(EvalPoint(**point) for point in self.curve)

    def add_point(self, results: ImageResults) -> None:
        """Adds an evaluation to the learning curve."""
        metrics = results.metrics
        point = EvalPoint(
            step=self.step,
            loss=sum(self.losses) / len(self.losses),
            score=metrics[results.headline],
            elapsed_s=self.elapsed_s,
            metrics=metrics,
        )
        self.curve.append(asdict(point))
        self.losses.clear()

    def restore(self) -> None:
        """Goes on from the checkpoint, if there is one.

        Raises:
            CheckpointError: If it belongs to another run or is damaged.
        """
        if self.writes:
            remove_leftovers(self.path)
        if not self.path.exists():
            return
        checkpoint = load_checkpoint(self.path)
        check_identity(self.path, checkpoint, self.identity)
        try:
            # Without an average the scored network is the one that learns.
            self.scored.load_state_dict(checkpoint.model)
            if self.average:
                self.module.load_state_dict(checkpoint.learner or {})
            self.optimiser.load_state_dict(checkpoint.optimiser)
            torch.set_rng_state(checkpoint.rng)
            # Older versions kept a row of numbers where this one keeps a point.
            for point in checkpoint.curve:
                EvalPoint(**point)
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            raise misfit(self.path, error) from error
        self.step = checkpoint.step
        self.curve = [*checkpoint.curve]
        self.losses = [*checkpoint.losses]
        self.elapsed_s = checkpoint.elapsed_s

    def save(self) -> None:
        """Writes the checkpoint.

        Raises:
            CheckpointError: If it cannot be written.
        """
        self._saved_at = time.monotonic()
        if not self.writes:
            return
        save_checkpoint(
            self.path,
            Checkpoint(
                identity=self.identity,
                spec=spec_to_dict(self.spec),
                step=self.step,
                model=self.scored.state_dict(),
                optimiser=self.optimiser.state_dict(),
                rng=torch.get_rng_state(),
                curve=self.curve,
                losses=self.losses,
                elapsed_s=self.elapsed_s,
                learner=self.module.state_dict() if self.average else None,
            ),
        )
