"""Schedules: how long and how a network is trained, as data that enters the protocol."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from blocks import Problem, StudyError
from training.schedule_checks import schedule_problems

_LATER = {"later": True}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A training schedule: an optimiser, a learning rate over steps, and what a step is.

    A budget in steps or passes, not in seconds: seconds favour small networks and break under
    load. A schedule in passes (epochs) becomes one in steps when the data are known.

    Attributes:
        steps: Optimiser steps; 0 where ``epochs`` says how long.
        batch: Images a step, over all devices and all parts of a step.
        lr: Largest learning rate, of ``reference_batch`` where there is one.
        warmup_steps: Steps of linear warm-up.
        weight_decay: Weight decay: decoupled in ``adamw``, part of the gradient in the others.
        init: How weights are drawn: ``published`` or ``kaiming``.
        num_evals: Evaluations on the validation data, evenly spaced, the last at the end.
        precision: Lightning Fabric's name of the number format.
        epochs: Passes over the training data; 0 where ``steps`` says how long.
        optimiser: ``adamw``, ``adam`` or ``sgd``.
        momentum: Momentum of ``sgd``.
        decay: How the rate falls after the warm-up: ``cosine`` and ``poly`` to zero, ``steps`` at
            milestones.
        milestones: Where the rate drops, counted as the length is: in steps, or in epochs.
        drop: Factor of the rate at each milestone.
        power: Power of ``poly``.
        warmup_start: Share of the rate that the first step of the warm-up has; 0 begins with the
            share of one even stride.
        reference_batch: The batch that ``lr`` belongs to, from which other batches' rates follow;
            0 takes ``lr`` as it is.
        ema: Decay of the moving average of the weights, which is then what is scored; 0 is none.
        accumulation: Parts that a step's batch is learnt from, one after the other.
        memory_format: ``contiguous`` or ``channels_last``.
        compile: Whether ``torch.compile`` makes the training step.
    """

    steps: int = 0
    batch: int
    lr: float
    warmup_steps: int = 10
    weight_decay: float = 0.0
    init: str = "kaiming"
    num_evals: int = 4
    precision: str = "32-true"
    # Those below came later: at these defaults a schedule is what it was without them, and its
    # protocol must be too.
    epochs: int = dataclasses.field(default=0, metadata=_LATER)
    optimiser: str = dataclasses.field(default="adamw", metadata=_LATER)
    momentum: float = dataclasses.field(default=0.0, metadata=_LATER)
    decay: str = dataclasses.field(default="cosine", metadata=_LATER)
    milestones: tuple[int, ...] = dataclasses.field(default=(), metadata=_LATER)
    drop: float = dataclasses.field(default=0.1, metadata=_LATER)
    power: float = dataclasses.field(default=0.9, metadata=_LATER)
    warmup_start: float = dataclasses.field(default=0.0, metadata=_LATER)
    reference_batch: int = dataclasses.field(default=0, metadata=_LATER)
    ema: float = dataclasses.field(default=0.0, metadata=_LATER)
    accumulation: int = dataclasses.field(default=1, metadata=_LATER)
    memory_format: str = dataclasses.field(default="contiguous", metadata=_LATER)
    compile: bool = dataclasses.field(default=False, metadata=_LATER)

    def __post_init__(self) -> None:
        """Checks every setting.

        Raises:
            StudyError: With everything that is wrong.
        """
        problems = schedule_problems(self)
        if problems:
            raise StudyError(problems)

    @property
    def peak_lr(self) -> float:
        """The largest learning rate: ``lr``, scaled from the reference batch to this one.

        Linearly for SGD (Goyal et al., "Accurate, Large Minibatch SGD", 2017), with the square
        root for Adam and AdamW, whose steps do not grow with the gradient's size (Malladi et al.,
        "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms", 2022).

        >>> Schedule(steps=9, batch=64, lr=2e-3, reference_batch=256).peak_lr
        0.001
        """
        if not self.reference_batch:
            return self.lr
        ratio = self.batch / self.reference_batch
        return self.lr * (ratio if self.optimiser == "sgd" else math.sqrt(ratio))

    @property
    def lr_rule(self) -> str:
        """The rule that gave the largest learning rate, in words.

        >>> Schedule(steps=9, batch=64, lr=2e-3, reference_batch=256).lr_rule
        '0.001 = 0.002 x sqrt(64 / 256), square root in the batch for adamw'
        """
        if not self.reference_batch:
            return f"{self.lr:g} as written, for any batch"
        ratio = f"{self.batch} / {self.reference_batch}"
        if self.optimiser == "sgd":
            return f"{self.peak_lr:g} = {self.lr:g} x {ratio}, linear in the batch for sgd"
        return (
            f"{self.peak_lr:g} = {self.lr:g} x sqrt({ratio}), "
            f"square root in the batch for {self.optimiser}"
        )

    def lr_at(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0.

        >>> Schedule(steps=100, batch=16, lr=0.01, warmup_steps=10).lr_at(9)
        0.01
        """
        assert self.steps, "a schedule in epochs has no steps before it is resolved"
        peak = self.peak_lr
        if step < self.warmup_steps:
            if self.warmup_start:
                rise = (1 - self.warmup_start) * step / self.warmup_steps
                return peak * (self.warmup_start + rise)
            return peak * (step + 1) / self.warmup_steps
        if self.decay == "steps":
            return peak * self.drop ** sum(step >= milestone for milestone in self.milestones)
        left = max(1, self.steps - self.warmup_steps)
        done = (step - self.warmup_steps) / left
        if self.decay == "poly":
            return peak * math.pow(1 - done, self.power)
        return peak * 0.5 * (1 + math.cos(math.pi * done))

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Numbers of steps after which the network is evaluated."""
        return tuple(
            round(self.steps * (index + 1) / self.num_evals) for index in range(self.num_evals)
        )

    def resolved(self, num_items: int) -> Schedule:
        """Returns the schedule in steps that this one is on some training data.

        Batches run on over the end of a pass, so that none is cut short: E passes over n items
        are E x n / batch steps, rounded up.

        Args:
            num_items: Number of items of the training data.

        Raises:
            StudyError: If a batch is larger than the data, or what comes out is no schedule.
        """
        if num_items < self.batch:
            raise StudyError(
                Problem(
                    where="schedule.batch",
                    rule="a batch is no larger than the training data",
                    got=f"{self.batch} for {num_items} samples",
                    do=f"write {max(2, num_items)} or less, or use more data",
                )
            )
        if not self.epochs:
            return self
        return dataclasses.replace(
            self,
            epochs=0,
            steps=-(-self.epochs * num_items // self.batch),
            milestones=tuple(-(-epoch * num_items // self.batch) for epoch in self.milestones),
        )

    def settings(self) -> dict[str, Any]:
        """Returns the settings as plain data.

        Settings that came later than the first release stand in it only where they say something,
        so that equal schedules have equal settings in old records and in new ones.
        """
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
            or not field.metadata.get("later")
        }

    def protocol(self) -> dict[str, Any]:
        """Returns what a score's protocol says of it: the settings, and the rate's rule if any."""
        rule = {"lr_rule": self.lr_rule} if self.reference_batch else {}
        return self.settings() | rule
