"""What limits a network on a machine: for every layer computing, moving bytes, or being called.

Source: Williams et al., Roofline: an insightful visual performance model, Communications of the
ACM 52 (2009), with a third bound: a call has a price of its own, however little it does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.conventions import shares
from analysis.peaks import Peaks
from blocks import Op

BOUNDS = ("compute", "memory", "launch")
"""What a machine allows at best."""
LIMITS = (*BOUNDS, "overhead")
"""What can limit a layer: a bound, or, far from all of them, the runtime itself."""

_FAR = 0.3
"""A layer that reaches less of its bound than this is not limited by it."""

_LAYER = re.compile(
    r"stem|aggregator|head|stages\.\d+\.transition"
    r"|stages\.\d+\.units\.\d+\.(fusion|body\.\d+\.block\.\d+)"
)
_MILLI = 1e3


@dataclass(frozen=True, kw_only=True)
class LayerRoof:
    """One layer under the machine's roof.

    Attributes:
        address: The layer: stem, transition, block, fusion, aggregator or head.
        macs: Its multiply-accumulates.
        bytes_moved: Bytes that its calls read and write.
        num_calls: Its calls that touch memory, as the network is written.
        time_ms: How long it takes in the runtime.
        least_ms: The least that each bound allows, by bound.
    """

    address: str
    macs: int
    bytes_moved: int
    num_calls: int
    time_ms: float
    least_ms: Mapping[str, float]

    @property
    def bound(self) -> str:
        """What takes longest at best, and so limits the layer."""
        return max(BOUNDS, key=self.least_ms.__getitem__)

    @property
    def limit(self) -> str:
        """The bound, or ``overhead`` where the layer takes more than three times as long."""
        return self.bound if self.achieved >= _FAR else "overhead"

    @property
    def intensity(self) -> float:
        """Multiply-accumulates a byte."""
        return self.macs / self.bytes_moved if self.bytes_moved else 0.0

    @property
    def macs_per_s(self) -> float:
        """Multiply-accumulates a second, as achieved."""
        return self.macs / self.time_ms * _MILLI if self.time_ms else 0.0

    @property
    def achieved(self) -> float:
        """The least possible time as a share of the time that it takes."""
        return self.least_ms[self.bound] / self.time_ms if self.time_ms else 0.0


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """A network under a machine's roof.

    Attributes:
        peaks: The machine.
        layers: The network's layers, in order.
        unplaced_ms: Time that the runtime puts down to no layer.
    """

    peaks: Peaks
    layers: tuple[LayerRoof, ...]
    unplaced_ms: float

    @property
    def total_ms(self) -> float:
        """Time of all layers, and of what belongs to none."""
        return sum(layer.time_ms for layer in self.layers) + self.unplaced_ms

    @property
    def shares(self) -> dict[str, float]:
        """Share of the layers' time by what limits them."""
        total = sum(layer.time_ms for layer in self.layers) or 1.0
        return {
            limit: sum(layer.time_ms for layer in self.layers if layer.limit == limit) / total
            for limit in LIMITS
        }

    @property
    def least_ms(self) -> float:
        """What all layers would take if each reached its bound."""
        return sum(layer.least_ms[layer.bound] for layer in self.layers)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What limits the network, in words."""
        ordered = sorted(self.shares.items(), key=lambda item: -item[1])
        parts = ", ".join(f"{_WORDS[limit]} ({share:.0%})" for limit, share in ordered if share)
        slowest = max(self.layers, key=lambda layer: layer.time_ms)
        return (
            f"What limits the layers, by their time: {parts}.",
            (
                f"At their bounds, all layers would take {self.least_ms:.2f} ms; they take "
                f"{self.total_ms - self.unplaced_ms:.2f} ms."
            ),
            (
                f"The slowest layer is {slowest.address}: {slowest.time_ms:.2f} ms, limited by "
                f"{slowest.limit}."
            ),
        )


_WORDS = {
    "compute": "arithmetic",
    "memory": "moving bytes",
    "launch": "the number of calls",
    "overhead": "what the runtime does besides, far from all three bounds",
}


def roofline(
    ops: Sequence[Op], times_ms: Mapping[str, float], peaks: Peaks, num_kernels: int | None = None
) -> Roofline:
    """Puts a network's layers under a machine's roof.

    Args:
        ops: The network's operations on its image, in closed form.
        times_ms: Time by address, as a runtime observed it; "" is what belongs to no address.
        peaks: What the runtime and the machine can do.
        num_kernels: How many calls the runtime makes in all, where it tells: each layer is taken
            to have the same share of them as of the calls that are written.
    """
    macs, moved = shares("macs", ops), shares("bytes_moved", ops)
    calls_each = 1.0 if num_kernels is None else num_kernels / max(len(ops), 1)
    found: dict[str, list[int]] = {}
    for op, op_macs, op_bytes in zip(ops, macs, moved, strict=True):
        entry = found.setdefault(layer_of(op.address), [0, 0, 0])
        entry[0] += op_macs
        entry[1] += op_bytes
        entry[2] += 1
    spent: dict[str, float] = {}
    for address, time_ms in times_ms.items():
        layer = layer_of(address)
        spent[layer] = spent.get(layer, 0.0) + time_ms
    layers = [
        LayerRoof(
            address=address,
            macs=count,
            bytes_moved=size,
            num_calls=calls,
            time_ms=spent.pop(address, 0.0),
            least_ms={
                "compute": count / peaks.macs_per_s * _MILLI,
                "memory": size / peaks.bytes_per_s(size // max(calls, 1)) * _MILLI,
                "launch": calls * calls_each * peaks.launch_s * _MILLI,
            },
        )
        for address, (count, size, calls) in found.items()
    ]
    return Roofline(peaks=peaks, layers=tuple(layers), unplaced_ms=sum(spent.values()))


def layer_of(address: str) -> str:
    """Returns the layer in which an address is; "" for what is in none.

    >>> layer_of("stages.1.units.0.body.0.block.1.depthwise.0.conv")
    'stages.1.units.0.body.0.block.1'
    """
    match = _LAYER.match(address)
    return match.group() if match else ""
