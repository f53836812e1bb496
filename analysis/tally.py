"""Counts what a layer executes in one pass, by every convention, without listing its operations."""

from __future__ import annotations

from operator import mul

from analysis.conventions import CONVENTIONS, OpKey, call_counts
from blocks import ImageSize, Ins, LayerSpec, Op, Shape, Tape

_NAMES = tuple(CONVENTIONS)


def count_layer(layer: LayerSpec, ins: Ins, size: ImageSize) -> tuple[int, ...]:
    """Counts a layer by every convention, in their order.

    Equal to the conventions' numbers for ``layer.ops(ins, size)``.

    Args:
        layer: The layer.
        ins: The branches that come in.
        size: The image's size.
    """
    tally = _Tally()
    layer.trace(tally, ins, [shape.at(size) for shape in ins])
    return tally.counts()


class _Tally(Tape):
    """A tape that keeps how often each operation is written down, and for which modules.

    Equal operations count the same, so their counts are asked for once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[OpKey, int] = {}
        self._first: dict[tuple[str, str, tuple[Shape, ...]], OpKey] = {}
        self._last: dict[str, OpKey] = {}

    def at(self, name: str, branch: int | None = None, published_runs: int | None = None) -> _Tally:
        """Returns a tally for the submodule ``name`` that counts here."""
        del branch
        child = _Tally.__new__(_Tally)
        address = self._address
        child._address = f"{address}.{name}" if address and name else address or name  # noqa: SLF001
        child._branch = None  # noqa: SLF001
        child._published_runs = (  # noqa: SLF001
            self._published_runs if published_runs is None else published_runs
        )
        child._calls = self._calls  # noqa: SLF001
        child._first = self._first  # noqa: SLF001
        child._last = self._last  # noqa: SLF001
        return child

    def write(  # noqa: PLR0913 - as in the tape
        self,
        kind: str,
        ins: tuple[Shape, ...],
        out: Shape,
        *,
        weights: tuple[Shape, ...] = (),
        window: int = 0,
        module: str = "",
    ) -> Shape:
        """Counts an operation."""
        key = (kind, ins, out, weights, window, module, self._published_runs, None)
        self._calls[key] = self._calls.get(key, 0) + 1
        if weights:
            self._first.setdefault((self._address, kind, weights), key)
        if module:
            self._last[self._address] = key
        return out

    def splice(self, ops: tuple[Op, ...], branches: tuple[int, ...] | None = None) -> None:
        """Counts another layer's operations."""
        del branches
        for op in ops:
            runs = op.published_runs
            inner = self.at(op.address, published_runs=runs)
            inner.write(
                *(op.kind, op.ins, op.out),
                weights=op.weights,
                window=op.window,
                module=op.module,
            )

    def counts(self) -> tuple[int, ...]:
        """Returns the counts by every convention, in their order."""
        num_calls = self._calls.values()
        counted = zip(*(call_counts(*key) for key in self._calls), strict=True)
        totals = dict.fromkeys(_NAMES, 0) | {
            name: sum(map(mul, column, num_calls))
            for name, column in zip(_NAMES, counted, strict=False)
        }
        # These count a module once.
        for name, keys in (("params", self._first), ("paper", self._last)):
            place = _NAMES.index(name)
            totals[name] = sum(call_counts(*key)[place] for key in keys.values())
        return tuple(totals.values())
