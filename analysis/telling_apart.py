"""Several networks at once: which of them can be told apart, and which form one group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from analysis.permutation import LEVEL


def adjust(p_values: Sequence[float], num_more: int = 0) -> tuple[float, ...]:
    """Returns p values adjusted for being several (Holm 1979); NaN stays NaN.

    With these, the chance of any false difference among all pairs is at most the level.

    >>> [round(p, 3) for p in adjust([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]

    Args:
        p_values: The p values.
        num_more: How many further tests might have been made instead, where these were chosen
            by their results.
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = values.copy()
    order = [index for index in np.argsort(values) if not np.isnan(values[index])]
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) + num_more - rank) * values[index]))
        adjusted[index] = largest
    return tuple(adjusted.tolist())


def groups(count: int, p_of: Callable[[int, int], float]) -> tuple[tuple[int, ...], ...]:
    """Returns the largest sets of networks no two of which can be told apart.

    A network may stand in several (Piepho 2004, insertion and absorption): two networks differ
    where no group holds both.

    >>> groups(3, lambda i, j: 0.01 if {i, j} == {0, 2} else 0.5)
    ((0, 1), (1, 2))

    Args:
        count: Number of networks, usually the best first.
        p_of: The adjusted p of two of them, i < j; NaN tells nothing apart.

    Returns:
        Groups of indices, each rising, ordered by their first members.
    """
    sets: list[set[int]] = [set(range(count))] if count else []
    for first in range(count):
        for second in range(first + 1, count):
            if not p_of(first, second) <= LEVEL:
                continue
            split: list[set[int]] = []
            for members in sets:
                if {first, second} <= members:
                    split += [members - {first}, members - {second}]
                else:
                    split.append(members)
            sets = [
                members
                for index, members in enumerate(split)
                if not any(
                    members < other or (members == other and place < index)
                    for place, other in enumerate(split)
                )
            ]
    return tuple(sorted(tuple(sorted(members)) for members in sets))
