"""Reconciliation: where the whole difference between two counts comes from.

Both counts are cut into the same rows, one for each type of operation, so that the rows'
differences add up to the difference of the counts, to the last unit. What a counter printed and
its emulation does not say stands in a row of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.conventions import shares
from blocks import Op

NOT_EXPLAINED = "not explained"
"""The row of what a counter printed beyond what its emulation says."""

_DROPS_UNREAD = frozenset({"fvcore"})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One type of operation in two counts.

    Attributes:
        op_type: Its kind, and whether a ``torch.nn`` module or a plain function executes it.
        calls: How often it is executed.
        first: Its share of the first count.
        second: Its share of the second.
    """

    op_type: str
    calls: int
    first: int
    second: int

    @property
    def difference(self) -> int:
        """What the row adds from the first count to the second."""
        return self.second - self.first


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """Two counts of one network, row by row.

    Attributes:
        first: Name of the first count.
        second: Name of the second.
        first_count: Its number.
        second_count: Its number.
        rows: All types of operations, in order of appearance.
    """

    first: str
    second: str
    first_count: int
    second_count: int
    rows: tuple[Row, ...]

    @property
    def difference(self) -> int:
        """The whole difference, the sum of the rows'."""
        return self.second_count - self.first_count

    @property
    def unexplained(self) -> int:
        """The part of the difference that no type of operation accounts for."""
        return sum(row.difference for row in self.rows if row.op_type == NOT_EXPLAINED)


def reconcile(
    ops: Sequence[Op],
    first: str,
    second: str,
    *,
    printed: Mapping[str, int] | None = None,
    are_read: Sequence[bool] | None = None,
) -> Reconciliation:
    """Accounts for the difference between two counts of the same operations.

    Args:
        ops: All operations of a network, in order.
        first: A convention.
        second: Another.
        printed: What counters themselves printed, by the convention that emulates each; these
            numbers take the conventions' place.
        are_read: Whether the output depends on each operation; all of them if None. What a
            counter printed leaves the others out where its tracer drops them.
    """
    printed = printed or {}
    kept = tuple(are_read) if are_read is not None else (True,) * len(ops)
    columns = {}
    for name in (first, second):
        drops = name in _DROPS_UNREAD
        columns[name] = [
            share if is_read or not drops else 0
            for share, is_read in zip(shares(name, ops), kept, strict=True)
        ]
    calls: dict[str, int] = {}
    sums: dict[str, dict[str, int]] = {first: {}, second: {}}
    for index, (op, is_read) in enumerate(zip(ops, kept, strict=True)):
        op_type = _op_type(op, is_read=is_read)
        calls[op_type] = calls.get(op_type, 0) + 1
        for name, column in columns.items():
            sums[name][op_type] = sums[name].get(op_type, 0) + column[index]
    rows = [
        Row(op_type=key, calls=count, first=sums[first][key], second=sums[second][key])
        for key, count in calls.items()
    ]
    said = {name: sum(column) for name, column in columns.items()}
    left = {name: printed.get(name, said[name]) - said[name] for name in said}
    if any(left.values()):
        rows.append(Row(op_type=NOT_EXPLAINED, calls=0, first=left[first], second=left[second]))
    return Reconciliation(
        first=first,
        second=second,
        first_count=said[first] + left[first],
        second_count=said[second] + left[second],
        rows=tuple(rows),
    )


def _op_type(op: Op, *, is_read: bool) -> str:
    doer = op.module or "function"
    return f"{op.kind} ({doer})" + ("" if is_read else ", nothing reads it")
