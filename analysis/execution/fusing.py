"""What runtimes take into the convolution before it: norms, factors, activations, sums."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from analysis.execution.dataflow import Dataflow, is_usual
from blocks import Op, Shape

_MARKS = {"relu6": "clip", "sigmoid": "sigmoid", "gelu": "gelu"}
_FILTER_SIDES = 4
_CONVOLUTIONS = frozenset({"convolution", "conv_transpose"})


@dataclass
class Fused:
    """A convolution and what is computed with it.

    Attributes:
        place: The convolution's place.
        last: That of the last operation that went into it, whose result it writes.
        activation: The activation's kind, "" for none.
        num_terms: How many tensors it adds up, its own result among them.
    """

    place: int
    last: int
    activation: str = ""
    num_terms: int = 1


class Fusing:
    """The convolutions of a network with what goes into them.

    Args:
        flow: The network.
        activations: The kinds of activations that go into convolutions; others, and those behind
            transposed convolutions, are computed on their own.
        after_computed: Whether convolutions with computed filters take them in as well.
    """

    def __init__(
        self, flow: Dataflow, activations: Collection[str], *, after_computed: bool = False
    ) -> None:
        self._flow = flow
        self._activations = activations
        self._after_computed = after_computed
        self.absorbed: set[int] = set()
        self.by_last: dict[int, Fused] = {}
        for place, op in enumerate(flow.ops):
            if op.kind in _CONVOLUTIONS and len(op.out) == _FILTER_SIDES - 1:
                fused = Fused(place, place)
                self.extend(fused)
        self.by_place = {fused.place: fused for fused in self.by_last.values()}

    def is_usual(self, place: int) -> bool:
        """Tells whether what is known of a kind of operation holds for this one."""
        op = self._flow.ops[place]
        if op.kind not in _CONVOLUTIONS:
            return is_usual(op)
        return place in self.by_place and (op.kind == "convolution" or is_plain(op))

    def extend(self, fused: Fused) -> None:
        """Takes in what follows a convolution, as long as nobody else reads what is between."""
        self.by_last.pop(fused.last, None)
        while self._after_computed or is_plain(self._flow.ops[fused.place]):
            reader = self._flow.only_reader(fused.last)
            if reader is None or not self._takes_in(fused, self._flow.ops[reader]):
                break
            self.absorbed.add(reader)
            fused.last = reader
        self.by_last[fused.last] = fused

    def add(self, fused: Fused, sum_place: int) -> None:
        """Takes a sum into a convolution, and what follows it."""
        self.by_last.pop(fused.last)
        self.absorbed.add(sum_place)
        fused.num_terms += 1
        fused.last = sum_place
        self.extend(fused)

    def addend(self, writer: int) -> Fused | None:
        """Returns the convolution whose result a place wrote, if a sum could go into it."""
        fused = self.by_last.get(writer)
        if fused is None or self._flow.only_reader(writer) is None:
            return None
        op = self._flow.ops[fused.place]
        is_free = not fused.activation and fused.num_terms == 1
        return fused if is_free and op.kind != "conv_transpose" and is_plain(op) else None

    def _takes_in(self, fused: Fused, op: Op) -> bool:
        is_scaling = op.kind == "batch_norm" or (op.kind == "mul" and len(op.ins) == 1)
        if is_scaling and not fused.activation:
            return fused.num_terms == 1
        is_transposed = self._flow.ops[fused.place].kind == "conv_transpose"
        if fused.activation or is_transposed or op.kind not in self._activations:
            return False
        fused.activation = op.kind
        return True


def is_plain(op: Op) -> bool:
    """Tells whether a convolution has learnt filters, not computed ones."""
    return bool(op.weights) and len(op.ins) == 1


def filters_of(op: Op) -> Shape:
    """Returns the filters of a convolution, learnt or computed."""
    if is_plain(op):
        return op.weights[0]
    if len(op.ins) == 1:
        return (op.out[0], 1, 1, 1)
    # A single filter has lost its first side, as a batch of one has.
    return (1,) * (_FILTER_SIDES - len(op.ins[1])) + op.ins[1]


def activation_mark(activation: str) -> str:
    """Returns what tells a convolution's code from others by its activation."""
    return _MARKS.get(activation, "")
