"""Schedules: how long and how a network is trained, as data that enters the protocol."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blocks import Problem, StudyError, did_you_mean
from networks import INITIALISATIONS

PRECISIONS = ("32-true", "bf16-mixed")

_LEAST = 2


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A training schedule: Adam with linear warm-up and cosine decay over steps.

    A budget in steps, not in seconds: seconds favour small networks and break under load.

    Attributes:
        steps: Optimiser steps.
        batch: Images a step, over all devices.
        lr: Largest learning rate.
        warmup_steps: Steps of linear warm-up.
        weight_decay: Decoupled weight decay (0 is plain Adam).
        init: How weights are drawn: ``published`` or ``kaiming``.
        num_evals: Evaluations on the validation data, evenly spaced, the last at the end.
        precision: Lightning Fabric's name of the number format.
    """

    steps: int
    batch: int
    lr: float
    warmup_steps: int = 10
    weight_decay: float = 0.0
    init: str = "kaiming"
    num_evals: int = 4
    precision: str = "32-true"

    def __post_init__(self) -> None:
        """Checks every setting.

        Raises:
            StudyError: With everything that is wrong.
        """
        problems = [
            Problem(where=f"schedule.{name}", rule=rule, got=repr(got), do=do)
            for name, rule, got, do, fits in (
                ("steps", "steps are at least 1", self.steps, "write 150", self.steps >= 1),
                (
                    "batch",
                    f"a batch is at least {_LEAST}",
                    self.batch,
                    "write 16",
                    self.batch >= _LEAST,
                ),
                (
                    "lr",
                    "a learning rate is a finite number above 0",
                    self.lr,
                    "write 0.005",
                    0 < self.lr < math.inf,
                ),
                (
                    "warmup_steps",
                    "a warm-up is at least 0 steps",
                    self.warmup_steps,
                    "write 10",
                    self.warmup_steps >= 0,
                ),
                (
                    "weight_decay",
                    "weight decay is a finite number of at least 0",
                    self.weight_decay,
                    "write 0",
                    0 <= self.weight_decay < math.inf,
                ),
                (
                    "num_evals",
                    "there is at least 1 evaluation, at most one a step",
                    self.num_evals,
                    "write 4",
                    1 <= self.num_evals <= self.steps,
                ),
                (
                    "init",
                    "weights are initialised by a known scheme",
                    self.init,
                    did_you_mean(self.init, INITIALISATIONS),
                    self.init in INITIALISATIONS,
                ),
                (
                    "precision",
                    "the precision is one that Branchwork supports",
                    self.precision,
                    did_you_mean(self.precision, PRECISIONS),
                    self.precision in PRECISIONS,
                ),
            )
            if not fits
        ]
        if problems:
            raise StudyError(problems)

    def lr_at(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0.

        >>> Schedule(steps=100, batch=16, lr=0.01, warmup_steps=10).lr_at(9)
        0.01
        """
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        left = max(1, self.steps - self.warmup_steps)
        done = (step - self.warmup_steps) / left
        return self.lr * 0.5 * (1 + math.cos(math.pi * done))

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Numbers of steps after which the network is evaluated."""
        return tuple(
            round(self.steps * (index + 1) / self.num_evals) for index in range(self.num_evals)
        )


SCHEDULES: dict[str, Schedule] = {
    "smoke": Schedule(steps=4, batch=4, lr=1e-3, warmup_steps=1, num_evals=2),
    "tiny": Schedule(steps=200, batch=16, lr=1e-2, num_evals=4),
    "short": Schedule(steps=600, batch=16, lr=1e-2, warmup_steps=30, num_evals=6),
    "medium": Schedule(steps=3000, batch=32, lr=4e-3, warmup_steps=100, num_evals=10),
}
"""The schedules that have names."""


def schedule_of(written: object, where: str = "schedule") -> Schedule:
    """Returns the schedule that a name, or a table with ``base`` and changes, stands for.

    Raises:
        StudyError: If the name or a setting is unknown.
    """
    if isinstance(written, str):
        return _named(written, where)
    if not isinstance(written, Mapping):
        raise StudyError(
            Problem(
                where=where,
                rule="a schedule is a name, or a table with 'base' and changes",
                got=repr(written),
                do='write "tiny" or {base = "tiny", steps = 60}',
            )
        )
    base = _named(str(written.get("base", "tiny")), where)
    known = {field.name: field.type for field in dataclasses.fields(Schedule)}
    changes: dict[str, Any] = {}
    for name, value in written.items():
        if name == "base":
            continue
        if name not in known:
            raise StudyError(
                Problem(
                    where=f"{where}.{name}",
                    rule="a schedule has the settings " + ", ".join(known),
                    got=repr(name),
                    do=did_you_mean(name, known),
                )
            )
        default = getattr(base, name)
        # A whole number will do for a fraction, but truth is no number.
        kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise StudyError(
                Problem(
                    where=f"{where}.{name}",
                    rule=f"the setting is of the kind of {default!r}",
                    got=repr(value),
                    do=f"write {default!r}, for example",
                )
            )
        changes[name] = type(default)(value)
    return dataclasses.replace(base, **changes)


def _named(name: str, where: str) -> Schedule:
    if name not in SCHEDULES:
        raise StudyError(
            Problem(
                where=where,
                rule="a schedule has a known name",
                got=repr(name),
                do=did_you_mean(name, SCHEDULES),
            )
        )
    return SCHEDULES[name]
