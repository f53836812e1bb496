"""What a network costs: every convention from its closed-form operations, and broken down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from analysis.conventions import CONVENTIONS, shares
from blocks import ImageSize, Op
from networks import NetworkSpec, slot_of


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Costs of one network on one image.

    Attributes:
        input: The image's size.
        params: Learnable values.
        macs: Multiply-accumulates as our modules execute them (the headline).
        conventions: Every convention's whole number, by name.
    """

    input: ImageSize
    params: int
    macs: int
    conventions: dict[str, int]


def measure_cost(spec: NetworkSpec, size: ImageSize) -> Cost:
    """Returns a network's costs in closed form: no weights, no forward pass.

    Raises:
        BranchworkError: If a stride does not divide the image.
    """
    ops = spec.operations(size)
    counted = {name: count(ops) for name, count in CONVENTIONS.items()}
    return Cost(input=size, params=counted["params"], macs=counted["macs"], conventions=counted)


class By(StrEnum):
    """The ways to break a cost down."""

    STAGE = "stage"
    SLOT = "slot"
    BRANCH = "branch"
    LAYER = "layer"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a network with its share of the cost.

    Attributes:
        name: The part, such as ``stages.1`` or ``fusion``.
        params: Its learnable values.
        macs: Its multiply-accumulates.
        conventions: Every convention's whole number for its operations.
    """

    name: str
    params: int
    macs: int
    conventions: dict[str, int]


def break_down(ops: Sequence[Op], by: By) -> tuple[Part, ...]:
    """Splits operations into parts whose costs add up to the whole, in order of appearance."""
    counted: dict[str, dict[str, int]] = {}
    each = {name: shares(name, ops) for name in CONVENTIONS}
    for index, op in enumerate(ops):
        part = counted.setdefault(_PART_NAMES[by](op), dict.fromkeys(CONVENTIONS, 0))
        for name, values in each.items():
            part[name] += values[index]
    return tuple(
        Part(name=name, params=part["params"], macs=part["macs"], conventions=part)
        for name, part in counted.items()
    )


def _stage_name(op: Op) -> str:
    parts = op.address.split(".")
    return ".".join(parts[:2]) if parts[0] == "stages" else parts[0]


def _layer_name(op: Op) -> str:
    """The address of the registered layer: ``stages.0.units.1.body.0.block``."""
    parts = op.address.split(".")
    for word, length in (("transition", 1), ("body", 3), ("fusion", 1)):
        if word in parts:
            return ".".join(parts[: parts.index(word) + length])
    return parts[0]


_PART_NAMES: dict[By, Callable[[Op], str]] = {
    By.STAGE: _stage_name,
    By.SLOT: lambda op: slot_of(op.address).value,
    By.BRANCH: lambda op: f"branch {op.branch}",
    By.LAYER: _layer_name,
}
