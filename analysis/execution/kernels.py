"""Kernels: what a runtime executes at once, described by what its time depends on.

The same words describe what a runtime's profiler says it executed and what is expected of a
network that never ran, so that times of the ones hold for the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from blocks import Shape

_FLOAT_BYTES = 4
_LANES = 16
"""Channels that float32 kernels work on at once; narrower tensors are filled up."""
_PAGE = 1024
"""Numbers of a page: channels that lie whole pages apart fall onto the same lines of a cache."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Something that is executed at once.

    Attributes:
        kind: What it computes and how: its sort of convolution or a runtime's operator, with
            marks of whatever makes it another piece of code, such as a blocked layout.
        sides: What its time depends on. Of a convolution: channels in and out, positions out,
            width out, window, stride, the largest power of two up to 16 that divides channels in,
            and out, and how many tensors it adds up; of others: channels and positions out, what
            is read, from how many tensors, window, that power of two, and the largest one up to
            1,024 that divides the positions.
        macs: Multiply-accumulates.
        filled_macs: Those with channels filled up to whole vectors.
        read_bytes: Activations that it reads.
        written_bytes: Activations that it writes.
        weight_bytes: Weights that it reads.
    """

    kind: str
    sides: tuple[int, ...]
    macs: int
    filled_macs: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int

    @property
    def terms(self) -> tuple[float, ...]:
        """What a linear model of its time adds up, in milliseconds at plausible rates.

        A launch; multiply-accumulates, and those filled up (1e10 a second); and bytes that are
        read, written, and taken from weights (1e10 a second).
        """
        counts = (self.macs, self.filled_macs, self.read_bytes, self.written_bytes)
        return (_LAUNCH_MS, *(count / 1e7 for count in (*counts, self.weight_bytes)))


_LAUNCH_MS = 0.002
NUM_TERMS = 6


def convolution(
    image: Shape, filters: Shape, out: Shape, *, mark: str = "", num_terms: int = 1
) -> Kernel:
    """Returns a convolution.

    Args:
        image: What it reads.
        filters: Its weights: channels out, channels that each reads, window.
        out: What it writes.
        mark: What tells its code from that of other convolutions.
        num_terms: How many tensors are added up in it, its own result among them.
    """
    channels, (outs, each_reads, *window) = image[0], filters
    area, places = math.prod(window), math.prod(out[1:])
    macs = places * outs * each_reads * area
    filled = macs * _filled(outs) / outs
    if each_reads > 1:
        filled *= _filled(each_reads) / each_reads
    stride = max(1, round((math.prod(image[1:]) / places) ** 0.5))
    sides = (channels, out[0], places, out[-1], area, stride, alignment(channels))
    return Kernel(
        kind=" ".join(filter(None, (_sort(channels, filters, places), mark))),
        sides=(*sides, alignment(out[0]), num_terms),
        macs=macs,
        filled_macs=round(filled),
        read_bytes=_FLOAT_BYTES * (math.prod(image) + (num_terms - 1) * math.prod(out)),
        written_bytes=_FLOAT_BYTES * math.prod(out),
        weight_bytes=_FLOAT_BYTES * math.prod(filters),
    )


def transposed_convolution(image: Shape, out: Shape, window: int, *, mark: str = "") -> Kernel:
    """Returns a transposed convolution.

    Args:
        image: What it reads.
        out: What it writes.
        window: Positions of a filter.
        mark: What tells its code from that of others.
    """
    macs = math.prod(image) * out[0] * window
    places, channels = math.prod(out[1:]), image[0]
    sides = (channels, out[0], places, out[-1], window, 1, alignment(channels), alignment(out[0]))
    return Kernel(
        kind=" ".join(filter(None, ("transposed", mark))),
        sides=(*sides, 1),
        macs=macs,
        filled_macs=macs,
        read_bytes=_FLOAT_BYTES * math.prod(image),
        written_bytes=_FLOAT_BYTES * math.prod(out),
        weight_bytes=_FLOAT_BYTES * channels * out[0] * window,
    )


def movement(kind: str, ins: Sequence[Shape], out: Shape, *, window: int = 1) -> Kernel:
    """Returns what is no convolution: it reads, writes, and computes little.

    Args:
        kind: What it is.
        ins: What it reads.
        out: What it writes.
        window: Positions that each output looks at.
    """
    num_read = sum(map(math.prod, ins))
    channels = out[0] if out else 1
    places = max(1, math.prod(out[1:]))
    sides = (channels, places, max(1, num_read), max(1, len(ins)), window, alignment(channels))
    return Kernel(
        kind=kind,
        sides=(*sides, math.gcd(places, _PAGE)),
        macs=0,
        filled_macs=0,
        read_bytes=_FLOAT_BYTES * num_read,
        written_bytes=_FLOAT_BYTES * math.prod(out),
        weight_bytes=0,
    )


def pooled_window(image: Shape, out: Shape) -> int:
    """Returns how many positions of an image there are for each of what is pooled from it."""
    return max(1, math.prod(image[1:]) // max(1, math.prod(out[1:])))


def alignment(channels: int) -> int:
    """Returns the largest power of two up to 16 that divides a number."""
    return math.gcd(channels, _LANES)


def padded(shape: Shape) -> Shape:
    """Returns the shape that a tensor has in blocks of channels: they are filled up."""
    return (_filled(shape[0]), *shape[1:]) if shape else shape


def _filled(channels: int) -> int:
    return -(-channels // _LANES) * _LANES


def _sort(channels: int, filters: Shape, places: int) -> str:
    outs, each_reads, *window = filters
    if each_reads == channels:
        if places == 1:
            return "vector"
        return "pointwise" if math.prod(window) == 1 else "dense"
    if each_reads > 1:
        return "grouped"
    return "depthwise" if outs == channels else "multiplied"
