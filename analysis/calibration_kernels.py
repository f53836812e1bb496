"""What a runtime executes of a network, as far as its spec tells: kernels with their sides.

Runtimes take batch norms and activations into the convolution before them; eager PyTorch does
not. Everything here comes from operations in closed form, so nothing is built or run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.runtimes.node_names import longest_beginning
from blocks import Op

_ABSORBED = frozenset({"batch_norm", "relu", "relu6", "sigmoid", "gelu"})
_CONVOLUTIONS = frozenset({"convolution", "conv_transpose"})
_FLOAT_BYTES = 4
_LANES = 16
"""Channels that float32 kernels work on at once; narrower tensors are filled up."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Something that is executed at once.

    Runtimes have quick code for channels that fill whole vectors, and slower code for others, so
    it says what divides them.

    Attributes:
        kind: What it computes: ``pointwise``, ``dense``, ``depthwise``, ``grouped``, ``vector``
            (a convolution of one position), or the operation's kind.
        sides: What its time depends on. Of a convolution: channels in and out, positions out,
            window, stride, and the largest power of two up to 16 that divides channels in, and
            out; of others: channels and positions out, what is read, from how many tensors,
            window, and that power of two.
        alignment: The largest power of two up to 16 that divides all channels.
        macs: Multiply-accumulates.
        filled_macs: Those with channels filled up to whole vectors.
        read_bytes: Activations that it reads.
        written_bytes: Activations that it writes.
        weight_bytes: Weights that it reads.
        addresses: The modules whose operations it takes in.
    """

    kind: str
    sides: tuple[int, ...]
    alignment: int
    macs: int
    filled_macs: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int
    addresses: tuple[str, ...]

    @property
    def terms(self) -> tuple[float, ...]:
        """What a linear model of its time adds up, in milliseconds at plausible rates.

        A launch, multiply-accumulates (1e10 a second), those filled up, and bytes that are read,
        written and taken from weights (1e10 a second); and for every power of two that does not
        divide the channels, multiply-accumulates and bytes once more.
        """
        moved = self.read_bytes + self.written_bytes
        counts = [self.macs, self.filled_macs, self.read_bytes, self.written_bytes]
        counts.append(self.weight_bytes)
        for power in _POWERS:
            counts += [self.macs, moved] if self.alignment < power else [0, 0]
        return (_LAUNCH_MS, *(count / 1e7 for count in counts))


_LAUNCH_MS = 0.005
_POWERS = (4, 8, 16)
NUM_PLAIN_TERMS = 6
"""Those that every kernel of a kind has."""
NUM_TERMS = NUM_PLAIN_TERMS + 2 * len(_POWERS)


@dataclass(frozen=True, kw_only=True)
class TimedKernels:
    """Kernels whose time is known together.

    Attributes:
        kernels: The kernels, at least one.
        time_ms: How long they take.
    """

    kernels: tuple[Kernel, ...]
    time_ms: float


def kernels_of(ops: Sequence[Op], *, are_fused: bool) -> tuple[Kernel, ...]:
    """Returns what is executed.

    Args:
        ops: All operations of a network, in order.
        are_fused: Whether the runtime takes norms and activations into what precedes them.
    """
    groups: list[list[Op]] = []
    for op in ops:
        if are_fused and groups and _is_absorbed(op, groups[-1][0]):
            groups[-1].append(op)
        else:
            groups.append([op])
    return tuple(_kernel(group) for group in groups)


def _is_absorbed(op: Op, before: Op) -> bool:
    """Tells whether an operation goes into the one before it: it works on what that one makes."""
    if op.kind not in _ABSORBED or op.ins != (before.out,):
        return False
    # A module that holds a convolution holds what follows it; an activation further out may
    # follow something else of the same shape.
    module = before.address.rpartition(".")[0]
    return before.kind not in _CONVOLUTIONS or op.address.startswith(module)


def join_times(
    kernels: Sequence[Kernel], times_ms: Mapping[str, float]
) -> tuple[TimedKernels, ...]:
    """Joins kernels to what a runtime said of its nodes or modules.

    A runtime names a kernel after any of the operations in it, or after one that it took in
    besides, such as the sum behind a convolution: then the time stands at a module further out.
    Time that belongs to no module is left out, with the kernels that belong nowhere.

    Args:
        kernels: The network's kernels.
        times_ms: Time by the name of a node or address.
    """
    own = {address for kernel in kernels for address in kernel.addresses}
    known = own | {outer for address in own for outer in _outer(address)}
    sums: dict[str, float] = {}
    for name, time_ms in times_ms.items():
        address = longest_beginning(name, known)
        sums[address] = sums.get(address, 0.0) + time_ms
    places = _places(kernels)
    joined: dict[str, float] = {}
    for address, time_ms in sums.items():
        place = places.get(address, address)
        joined[place] = joined.get(place, 0.0) + time_ms
    members: dict[str, list[Kernel]] = {place: [] for place in joined}
    for kernel in kernels:
        place = places[kernel.addresses[0]]
        found = next((each for each in (place, *_outer(place)) if each in joined), "")
        members.setdefault(found, []).append(kernel)
    return tuple(
        TimedKernels(kernels=tuple(members[place]), time_ms=time_ms)
        for place, time_ms in joined.items()
        if place and members[place]
    )


def _places(kernels: Sequence[Kernel]) -> dict[str, str]:
    """Returns the place of every address: those of one kernel are one, by its first address.

    Kernels that share an address, such as one activation module behind two convolutions, share
    their place: a runtime that names both after it tells them apart no more.
    """
    places: dict[str, str] = {}
    for kernel in kernels:
        known = [places[address] for address in kernel.addresses if address in places]
        first = known[0] if known else kernel.addresses[0]
        merged = set(known)
        for address, place in places.items():
            if place in merged:
                places[address] = first
        places.update(dict.fromkeys(kernel.addresses, first))
    return places


def _outer(address: str) -> list[str]:
    """Returns the addresses of the modules around one, the nearest first, without the network."""
    parts = address.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def _kernel(group: Sequence[Op]) -> Kernel:
    op = group[0]
    kind, sides, macs, filled = op.kind, _moved_sides(op), 0, 0
    if op.kind in _CONVOLUTIONS:
        kind, sides, macs, filled = _convolution(op)
        # Others are computed in passing; this one takes as long as a convolution.
        kind += "".join(f" {each.kind}" for each in group if each.kind == "gelu")
    elif op.kind in {"mm", "bmm"}:
        macs = filled = math.prod(op.out) * op.ins[0][-1]
    return Kernel(
        kind=kind,
        sides=sides,
        alignment=min(_alignment(shape[0]) for shape in (*op.ins, op.out)),
        macs=macs,
        filled_macs=filled,
        read_bytes=_FLOAT_BYTES * sum(map(math.prod, op.ins)),
        written_bytes=_FLOAT_BYTES * math.prod(op.out),
        weight_bytes=_FLOAT_BYTES * op.num_weights,
        addresses=tuple(dict.fromkeys(each.address for each in group)),
    )


def _convolution(op: Op) -> tuple[str, tuple[int, ...], int, int]:
    image, out = op.ins[0], op.out
    filters = op.weights[0] if op.weights else (out[0], 1, *op.ins[1][-2:])
    window = math.prod(filters[2:])
    is_transposed = op.kind == "conv_transpose"
    each_reads = image[0] if is_transposed else filters[1]
    places = math.prod(out[1:])
    macs = places * out[0] * each_reads * window
    if is_transposed:
        macs //= max(1, places // math.prod(image[1:]))
    stride = max(1, round((math.prod(image[1:]) / places) ** 0.5))
    if not op.weights:
        kind = "computed_filters"
    elif is_transposed:
        kind = "transposed"
    elif each_reads == image[0]:
        kind = "vector" if places == 1 else "pointwise" if window == 1 else "dense"
    else:
        kind = "depthwise" if each_reads == 1 else "grouped"
    filled = macs * _filled(out[0]) / out[0]
    if each_reads > 1:
        filled *= _filled(each_reads) / each_reads
    aligned = _alignment(image[0]), _alignment(out[0])
    return kind, (image[0], out[0], places, window, stride, *aligned), macs, round(filled)


def _moved_sides(op: Op) -> tuple[int, ...]:
    """Returns what the time depends on of whatever is no convolution: what it reads and writes."""
    read = sum(map(math.prod, op.ins))
    channels = min(_alignment(shape[0]) for shape in (*op.ins, op.out))
    return (
        op.out[0],
        max(1, math.prod(op.out[1:])),
        read,
        len(op.ins),
        max(1, op.window),
        channels,
    )


def _filled(channels: int) -> int:
    return -(-channels // _LANES) * _LANES


def _alignment(channels: int) -> int:
    """Returns the largest power of two up to 16 that divides a number."""
    return math.gcd(channels, _POWERS[-1])
