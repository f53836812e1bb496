"""The rows of a space that may be tried, told apart in closed form, all of them at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.many import cost_many, every_choice, sample_choices
from analysis.part_tables import INVALID, Counts
from blocks import ImageSize
from networks import SpecSpace

MAX_ENUMERATED = 10_000
"""A space of at most so many rows is looked through to the last one."""

_NUM_DRAWS = 200_000
"""Of a larger space so many rows are costed at once, so that tight limits leave some."""


def feasible_rows(
    space: SpecSpace, size: ImageSize, limits: Mapping[str, float], seed: int
) -> NDArray[np.int32]:
    """Returns rows of choice indices that are networks within limits.

    Args:
        space: The space; a large one is drawn from.
        size: The image's size.
        limits: The largest values that may be, by convention.
        seed: Seed of the draw.

    Shape:
        (n, d).
    """
    is_small = space.size <= MAX_ENUMERATED
    rows = every_choice(space) if is_small else sample_choices(space, _NUM_DRAWS, seed)
    names = tuple(limits) or ("macs",)
    counts = cost_many(space, rows, size=size, names=names)
    fits: NDArray[np.bool_] = counts[names[0]] != INVALID
    for name, limit in limits.items():
        fits &= counts[name] <= limit
    return rows[fits]


def costs_of(space: SpecSpace, size: ImageSize, rows: NDArray[np.int32], name: str) -> Counts:
    """Returns what rows cost by one convention.

    Shape:
        (n, d) to (n,).
    """
    return cost_many(space, rows, size=size, names=(name,))[name]
