"""What must be true of a schedule, setting by setting and of its settings together."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from blocks import Problem, did_you_mean
from networks import INITIALISATIONS

if TYPE_CHECKING:
    from training.schedule import Schedule

PRECISIONS = ("32-true", "bf16-mixed")
OPTIMISERS = ("adamw", "adam", "sgd")
DECAYS = ("cosine", "steps", "poly")
MEMORY_FORMATS = ("contiguous", "channels_last")

OWNERS = {
    "momentum": ("optimiser", "sgd", 0.0),
    "milestones": ("decay", "steps", ()),
    "drop": ("decay", "steps", 0.1),
    "power": ("decay", "poly", 0.9),
}
"""Settings that mean something under one value of another only, with what they are elsewhere."""

_LEAST = 2

Check = tuple[str, str, str, bool]


def schedule_problems(schedule: Schedule) -> list[Problem]:
    """Returns everything that is wrong with a schedule."""
    return [
        Problem(
            where=f"schedule.{name}", rule=rule, got=repr(_plain(getattr(schedule, name))), do=do
        )
        for name, rule, do, fits in (
            *_length(schedule),
            *_rate(schedule),
            *_step(schedule),
            *_known(schedule),
            *_together(schedule),
        )
        if not fits
    ]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _length(schedule: Schedule) -> tuple[Check, ...]:
    steps, epochs = schedule.steps, schedule.epochs
    most = math.inf if epochs else steps
    return (
        ("steps", "steps are at least 1", "write 150", steps >= 1 or epochs != 0),
        ("epochs", "epochs are at least 0", "write 10", epochs >= 0),
        (
            "epochs",
            "a schedule is so many steps or so many epochs long",
            f"leave out epochs, or steps = {steps}",
            not (steps and epochs),
        ),
        (
            "num_evals",
            "there is at least 1 evaluation, at most one a step",
            "write 4",
            1 <= schedule.num_evals <= most,
        ),
    )


def _rate(schedule: Schedule) -> tuple[Check, ...]:
    length = schedule.epochs or schedule.steps
    return (
        (
            "lr",
            "a learning rate is a finite number above 0",
            "write 0.005",
            0 < schedule.lr < math.inf,
        ),
        ("warmup_steps", "a warm-up is at least 0 steps", "write 10", schedule.warmup_steps >= 0),
        (
            "warmup_start",
            "a warm-up starts at a share of the rate, from 0 to below 1, and has steps",
            "write 0, or 0.001 with warmup_steps = 500",
            0 <= schedule.warmup_start < 1
            and (schedule.warmup_steps > 0 or not schedule.warmup_start),
        ),
        (
            "milestones",
            f"milestones rise and lie within the length, {length}",
            f"write {_milestones(length)}",
            all(left <= right for left, right in pairwise(schedule.milestones))
            and all(0 < milestone < length for milestone in schedule.milestones),
        ),
        ("drop", "the rate drops by a factor between 0 and 1", "write 0.1", 0 < schedule.drop < 1),
        (
            "power",
            "a power is a finite number above 0",
            "write 0.9",
            0 < schedule.power < math.inf,
        ),
        (
            "reference_batch",
            "a reference batch is at least 1, or 0 for none",
            "write 256",
            schedule.reference_batch >= 0,
        ),
    )


def _step(schedule: Schedule) -> tuple[Check, ...]:
    parts = max(1, schedule.accumulation)
    return (
        ("batch", f"a batch is at least {_LEAST}", "write 16", schedule.batch >= _LEAST),
        (
            "accumulation",
            "a step is learnt from at least 1 part",
            "write 1",
            schedule.accumulation >= 1,
        ),
        (
            "accumulation",
            f"every part of a batch needs at least {_LEAST} samples",
            f"write {max(1, schedule.batch // _LEAST)} or less for a batch of {schedule.batch}",
            schedule.batch < _LEAST or schedule.batch // parts >= _LEAST,
        ),
        (
            "weight_decay",
            "weight decay is a finite number of at least 0",
            "write 0",
            0 <= schedule.weight_decay < math.inf,
        ),
        ("momentum", "momentum is from 0 to below 1", "write 0.9", 0 <= schedule.momentum < 1),
        (
            "ema",
            "the decay of an average is from 0 (none) to below 1",
            "write 0.99",
            0 <= schedule.ema < 1,
        ),
    )


def _known(schedule: Schedule) -> tuple[Check, ...]:
    return tuple(
        (name, rule, did_you_mean(value, known), value in known)
        for name, rule, value, known in (
            ("init", "weights are initialised by a known scheme", schedule.init, INITIALISATIONS),
            (
                "precision",
                "the precision is one that Branchwork supports",
                schedule.precision,
                PRECISIONS,
            ),
            ("optimiser", "the optimiser is a known one", schedule.optimiser, OPTIMISERS),
            ("decay", "the rate falls in a known way", schedule.decay, DECAYS),
            (
                "memory_format",
                "the memory format is a known one",
                schedule.memory_format,
                MEMORY_FORMATS,
            ),
        )
    )


def _together(schedule: Schedule) -> tuple[Check, ...]:
    """Settings that nothing would read are mistakes, and so is a decay without its places."""
    lost = tuple(
        (
            name,
            f'the setting belongs to {owner} = "{value}"',
            f'leave it out, or write {owner} = "{value}"',
            getattr(schedule, owner) == value or getattr(schedule, name) == unset,
        )
        for name, (owner, value, unset) in OWNERS.items()
    )
    length = schedule.epochs or schedule.steps
    return (
        *lost,
        (
            "milestones",
            'decay = "steps" needs the places where the rate drops',
            f"write milestones = {_milestones(length)}",
            schedule.decay != "steps" or bool(schedule.milestones),
        ),
    )


def _milestones(length: int) -> list[int]:
    """Returns an example: where the published recipe drops, 170 and 200 of 210."""
    return sorted({max(1, length * 17 // 21), max(1, length * 20 // 21)})
