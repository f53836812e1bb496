"""Elementwise operations that OpenVINO computes in one kernel, whoever else reads what is between.

Source: OpenVINO's description of its snippets: operations join the kernel of what they read, unless
something else that reads it has to run before them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from analysis.execution.dataflow import Dataflow, is_usual


@dataclass
class _Chain:
    """Operations of one kernel.

    Attributes:
        places: Their places, in order.
        bits: The same: bit n stands for place n.
        reader_bits: Those who read any of them.
        before_bits: Those that have to run before any of them.
    """

    places: list[int]
    bits: int
    reader_bits: int
    before_bits: int


class Chains:
    """The elementwise operations of a network, put together.

    Args:
        flow: The network.
        kinds: What is elementwise.
        absorbed: Places of operations that are computed elsewhere.
        left: Places of operations that were left for convolutions; these start chains, which only
            operations of one input continue.
    """

    def __init__(
        self,
        flow: Dataflow,
        kinds: Collection[str],
        absorbed: Collection[int],
        left: Collection[int],
    ) -> None:
        self._flow, self._left = flow, left
        self._by_place: dict[int, _Chain] = {}
        self._before_bits: list[int] = []
        for place, op in enumerate(flow.ops):
            self._before_bits.append(self._before(flow.reads[place]))
            if op.kind in kinds and place not in absorbed and is_usual(op):
                self._take(place)

    def of(self, place: int) -> Sequence[int]:
        """Returns the places of the chain that an operation is in, in order; at least itself."""
        chain = self._by_place.get(place)
        return [place] if chain is None else chain.places

    def _before(self, writers: Iterable[int]) -> int:
        """Returns what has to run before something that reads these, whole chains at once."""
        bits = 0
        for writer in writers:
            chain = self._by_place.get(writer)
            if chain is not None:
                bits |= chain.bits | chain.before_bits
            elif writer >= 0:
                bits |= 1 << writer | self._before_bits[writer]
        return bits

    def _take(self, place: int) -> None:
        chain = self._by_place[place] = _Chain(
            [place], 1 << place, _bits(self._flow.readers[place]), self._before_bits[place]
        )
        if place in self._left:
            return
        for writer in self._flow.reads[place]:
            begun = self._by_place.get(writer)
            if (
                begun is not None
                and begun is not chain
                and self._joins(place, writer, begun, chain)
            ):
                chain = self._merge(begun, chain)

    def _joins(self, place: int, writer: int, begun: _Chain, chain: _Chain) -> bool:
        ops = self._flow.ops
        if ops[writer].out != ops[place].out:
            return False
        if begun.places[0] in self._left:
            return self._flow.only_reader(writer) is not None and len(ops[place].ins) == 1
        outside = (begun.reader_bits | chain.reader_bits) & ~(begun.bits | chain.bits)
        return not (begun.before_bits | chain.before_bits) & outside

    def _merge(self, begun: _Chain, chain: _Chain) -> _Chain:
        merged = _Chain(
            sorted(begun.places + chain.places),
            begun.bits | chain.bits,
            begun.reader_bits | chain.reader_bits,
            begun.before_bits | chain.before_bits,
        )
        self._by_place.update(dict.fromkeys(merged.places, merged))
        return merged


def _bits(places: Iterable[int]) -> int:
    found = 0
    for place in places:
        found |= 1 << place
    return found
