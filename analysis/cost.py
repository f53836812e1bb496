"""What a network costs: every convention from its closed-form operations, and broken down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from analysis.conventions import CONVENTIONS, shares
from blocks import IMAGE, Composite, ImageSize, Ins, LayerSpec, Op, check_image_size
from networks import NetworkSpec, slot_of

_KEPT_LAYERS = 20_000


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

    Every convention adds up over layers, so equal layers on equal branches are counted once.

    Raises:
        BranchworkError: If a stride does not divide the image.
    """
    check_image_size("input", size, spec.coarsest_stride)
    counted = dict(zip(CONVENTIONS, _count_layer(spec, IMAGE, size), strict=True))
    return Cost(input=size, params=counted["params"], macs=counted["macs"], conventions=counted)


def count_operations(ops: Sequence[Op], size: ImageSize) -> Cost:
    """Returns what operations cost, recorded ones for example.

    Args:
        ops: All operations of a network.
        size: The image's size.
    """
    counted = {name: count(ops) for name, count in CONVENTIONS.items()}
    return Cost(input=size, params=counted["params"], macs=counted["macs"], conventions=counted)


def _count_layer(layer: LayerSpec, ins: Ins, size: ImageSize) -> tuple[int, ...]:
    """Counts a layer in the order of ``CONVENTIONS``, a layer of layers child by child."""
    if not isinstance(layer, Composite):
        return _count_once(layer, ins, size)
    counts = []
    for _, child in layer.children():
        counts.append(_count_layer(child, ins, size))
        ins = child.out_shapes(ins)
    return tuple(map(sum, zip(*counts, strict=True))) or (0,) * len(CONVENTIONS)


@lru_cache(maxsize=_KEPT_LAYERS)
def _count_once(layer: LayerSpec, ins: Ins, size: ImageSize) -> tuple[int, ...]:
    ops = layer.ops(ins, size)
    return tuple(count(ops) for count in CONVENTIONS.values())


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
        part = counted.setdefault(part_name(op, by), dict.fromkeys(CONVENTIONS, 0))
        for name, values in each.items():
            part[name] += values[index]
    return tuple(
        Part(name=name, params=part["params"], macs=part["macs"], conventions=part)
        for name, part in counted.items()
    )


def part_name(op: Op, by: By) -> str:
    """Returns the part to which an operation belongs."""
    return _PART_NAMES[by](op)


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
