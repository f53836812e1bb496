"""What a network costs: every convention from its closed-form operations, and broken down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from analysis.conventions import CONVENTIONS, all_shares, shares
from analysis.tally import count_layer
from analysis.unread import PartlyRead, partly_read_layers
from blocks import IMAGE, ImageSize, Ins, LayerSpec, Op, check_image_size
from networks import NetworkSpec, slot_of

_KEPT_LAYERS = 20_000
DROPS_UNREAD = "fvcore"
"""The convention whose tool does not see operations that the output does not depend on."""


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
    counted = dict(zip(CONVENTIONS, _count(spec, IMAGE, size), strict=True))
    counted[DROPS_UNREAD] -= unseen_share(partly_read_layers(spec, size))
    return Cost(input=size, params=counted["params"], macs=counted["macs"], conventions=counted)


def network_shares(ops: Sequence[Op], unread: frozenset[int] = frozenset()) -> dict[str, list[int]]:
    """Returns what each operation adds to every convention.

    Args:
        ops: All operations of a network, in order.
        unread: What ``unread_operations`` says of it; ``fvcore`` does not see these.
    """
    each = all_shares(ops)
    each[DROPS_UNREAD] = [
        0 if index in unread else share for index, share in enumerate(each[DROPS_UNREAD])
    ]
    return each


def count_operations(ops: Sequence[Op], size: ImageSize) -> Cost:
    """Returns what operations cost, recorded ones for example.

    Args:
        ops: All operations of a network.
        size: The image's size.
    """
    counted = {name: count(ops) for name, count in CONVENTIONS.items()}
    return Cost(input=size, params=counted["params"], macs=counted["macs"], conventions=counted)


def _count(layer: LayerSpec, ins: Ins, size: ImageSize) -> tuple[int, ...]:
    """Counts a layer in the order of ``CONVENTIONS``, one that is made of others part by part."""
    parts = layer.parts(ins)
    if not parts:
        return count_once(layer, ins, size)
    return tuple(map(sum, zip(*(_count(*part, size) for part in parts), strict=True)))


@lru_cache(maxsize=_KEPT_LAYERS)
def count_once(layer: LayerSpec, ins: Ins, size: ImageSize) -> tuple[int, ...]:
    """Counts a layer in the order of ``CONVENTIONS`` and keeps that for the next equal one."""
    return count_layer(layer, ins, size)


def unseen_share(parts: Sequence[PartlyRead]) -> int:
    """Returns what nobody reads would add to ``DROPS_UNREAD``.

    Args:
        parts: The layers of which not everything is read.
    """
    return sum(sum(shares(DROPS_UNREAD, part.unread_ops)) for part in parts)


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


def break_down(ops: Sequence[Op], by: By, unread: frozenset[int] = frozenset()) -> tuple[Part, ...]:
    """Splits operations into parts whose costs add up to the whole, in order of appearance.

    Args:
        ops: All operations of a network, in order.
        by: Into which parts.
        unread: As in ``network_shares``.
    """
    counted: dict[str, dict[str, int]] = {}
    each = network_shares(ops, unread)
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


def layer_address(address: str) -> str:
    """Returns the registered layer that an address lies in: ``stages.0.units.1.body.0.block``."""
    parts = address.split(".")
    for word, length in (("transition", 1), ("body", 3), ("fusion", 1)):
        if word in parts:
            return ".".join(parts[: parts.index(word) + length])
    return parts[0]


_PART_NAMES: dict[By, Callable[[Op], str]] = {
    By.STAGE: _stage_name,
    By.SLOT: lambda op: slot_of(op.address).value,
    By.BRANCH: lambda op: f"branch {op.branch}",
    By.LAYER: lambda op: layer_address(op.address),
}
