"""What nobody reads of every part of a space's networks, for every combination that reaches it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.cost import unseen_share
from analysis.part_tables import PartTable, ReadTable
from analysis.unread import Read, every, read_by_head, trace_back
from blocks import ImageSize, Ins, LayerSpec

Placed = tuple[LayerSpec, Ins]
"""A part's layer with the branches that come in."""


def read_tables(
    parts: Sequence[PartTable], placed: Sequence[Sequence[Placed | None]], size: ImageSize
) -> tuple[ReadTable, ...] | None:
    """Walks back through the parts, from what the heads read to what is read of the stem.

    Args:
        parts: The tables of the parts, in order, the head last.
        placed: Each part's layers by its table's index, None where choices do not fit together.
        size: The image's size.

    Returns:
        A table for each part, None if everything is read in all networks.
    """
    sets: list[Read | None] = [None]
    tables = []
    for number in reversed(range(len(parts))):
        table, sets = _read_table(placed[number], sets, size, is_head=number == len(parts) - 1)
        tables.append(table)
    if not any(table.unseen.any() for table in tables):
        return None
    return tuple(reversed(tables))


def _read_table(
    placed: Sequence[Placed | None], sets: list[Read | None], size: ImageSize, *, is_head: bool
) -> tuple[ReadTable, list[Read | None]]:
    """Traces one part back.

    Args:
        placed: Its layers.
        sets: What can be read of the branches that it puts out, all of them (None) first.
        size: The image's size.
        is_head: Whether it is the head, which reads what it likes.

    Returns:
        Its table, and what can be read of the branches that come in, all of them (None) first.
    """
    unseen = np.zeros((len(sets), len(placed)), dtype=np.int64)
    reads = np.zeros(unseen.shape, dtype=np.int32)
    before: dict[Read | None, int] = {None: 0}
    for number, read in enumerate(sets):
        for index, each in enumerate(placed):
            if each is None or (read is None and not is_head):
                continue
            layer, ins = each
            if read is None:
                reads_in = read_by_head(layer, ins, size)
            elif max(read) < len(layer.out_shapes(ins)):
                found, reads_in = trace_back(layer, ins, size, read)
                unseen[number, index] = unseen_share(found)
            else:
                # So many branches are not read of this layer's, but of another choice's.
                continue
            known = None if reads_in == every(ins) else reads_in
            reads[number, index] = before.setdefault(known, len(before))
    return ReadTable(unseen.reshape(-1), reads.reshape(-1)), list(before)
