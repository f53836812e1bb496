"""Schedules that have names, the published ones among them, and schedules as users write them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from blocks import Problem, StudyError, did_you_mean
from training.schedule import Schedule
from training.schedule_checks import OWNERS


def _coco_210() -> Schedule:
    """The recipe of Lite-HRNet on COCO key points.

    Adam at 2e-3, warm-up over 500 steps from a thousandth, tenths at epochs 170 and 200 of 210,
    an evaluation every 10 epochs: the configurations released with the paper
    (github.com/HRNet/Lite-HRNet, configs/top_down/lite_hrnet/coco). The released files say 64
    images a GPU at 256x192 and 32 at 384x288, and leave the number of GPUs open; 8 GPUs with 32
    each are what the paper's section 4.1 says to our knowledge, which we could not check.
    """
    return Schedule(
        epochs=210,
        batch=256,
        lr=2e-3,
        reference_batch=256,
        optimiser="adam",
        decay="steps",
        milestones=(170, 200),
        warmup_steps=500,
        warmup_start=1e-3,
        init="published",
        num_evals=21,
    )


def _mpii_210() -> Schedule:
    """The recipe of Lite-HRNet on MPII key points: COCO's, evaluated every 5 epochs.

    The configurations released with the paper (github.com/HRNet/Lite-HRNet,
    configs/top_down/lite_hrnet/mpii): 32 images a GPU; 8 GPUs as in the paper.
    """
    return dataclasses.replace(_coco_210(), num_evals=42)


def _cityscapes_poly() -> Schedule:
    """The recipe of HRNet on Cityscapes, Small HRNet included: SGD, poly 0.9, 484 epochs.

    Rate 0.01, momentum 0.9, weight decay 5e-4, 4 GPUs with 3 crops each, no warm-up
    (github.com/HRNet/HRNet-Semantic-Segmentation, experiments/cityscapes, ..._bs_12_epoch484):
    120,000 steps on the 2,975 images. HRNet starts from ImageNet weights; here weights are drawn,
    and an evaluation is made every 22 epochs. The segmentation recipe of Lite-HRNet itself was
    never released.
    """
    return Schedule(
        epochs=484,
        batch=12,
        lr=0.01,
        reference_batch=12,
        optimiser="sgd",
        momentum=0.9,
        weight_decay=5e-4,
        decay="poly",
        power=0.9,
        warmup_steps=0,
        num_evals=22,
    )


SCHEDULES: dict[str, Schedule] = {
    "smoke": Schedule(steps=4, batch=4, lr=1e-3, warmup_steps=1, num_evals=2),
    "tiny": Schedule(steps=200, batch=16, lr=1e-2, num_evals=4),
    "short": Schedule(steps=600, batch=16, lr=1e-2, warmup_steps=30, num_evals=6),
    "medium": Schedule(steps=3000, batch=32, lr=4e-3, warmup_steps=100, num_evals=10),
    "coco_210": _coco_210(),
    "mpii_210": _mpii_210(),
    "cityscapes_poly": _cityscapes_poly(),
}
"""The schedules that have names."""


def schedule_of(written: object, where: str = "schedule") -> Schedule:
    """Returns the schedule that a name, or a table with ``base`` and changes, stands for.

    A change of the length keeps the base's milestones at their share of it, and a change of
    optimiser or decay leaves out the settings that belonged to the base's.

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
    known = [field.name for field in dataclasses.fields(Schedule)]
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
        changes[name] = _value(getattr(base, name), value, f"{where}.{name}")
    return dataclasses.replace(base, **_without_owner(changes), **_length(base, changes), **changes)


def _value(default: object, written: object, where: str) -> object:
    """Returns a value as the setting has it, which is of the kind of its default."""
    if isinstance(default, tuple):
        fits = isinstance(written, list | tuple) and all(type(item) is int for item in written)
        shown: object = [*default] or [6, 8]
    elif isinstance(default, float):
        # A whole number will do for a fraction, but truth is no number.
        fits, shown = type(written) in {int, float}, default
    else:
        fits, shown = type(written) is type(default), default
    if not fits:
        raise StudyError(
            Problem(
                where=where,
                rule=f"the setting is of the kind of {shown!r}",
                got=repr(written),
                do=f"write {shown!r}, for example",
            )
        )
    kind: Any = type(default)
    return kind(written)


def _without_owner(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of the base that a change of their owner leaves without meaning."""
    return {
        name: unset
        for name, (owner, value, unset) in OWNERS.items()
        if name not in changes and changes.get(owner, value) != value
    }


def _length(base: Schedule, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a change of the length changes beside it."""
    lengths = [changes[name] for name in ("steps", "epochs") if changes.get(name)]
    if len(lengths) != 1:
        return {}
    before, now = base.steps or base.epochs, lengths[0]
    beside: dict[str, Any] = {}
    other = "epochs" if changes.get("steps") else "steps"
    if other not in changes:
        beside[other] = 0
    keeps_decay = changes.get("decay", base.decay) == "steps"
    if base.milestones and keeps_decay and "milestones" not in changes:
        beside["milestones"] = tuple(
            max(1, round(milestone * now / before)) for milestone in base.milestones
        )
    return beside


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
