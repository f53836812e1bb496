"""Networks for a rank study, drawn from the space of a study file."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from blocks import ImageSize, Problem, SpecError, StudyError
from networks import SpecSpace, spec_id
from search.feasible import feasible_rows
from search.rank_study import Entrant
from tasks import Task


def draw_entrants(  # noqa: PLR0913 - what defines a draw
    space: SpecSpace,
    count: int,
    *,
    size: ImageSize,
    task: Task,
    largest_macs: float,
    seed: int,
    known: Collection[str] = (),
) -> tuple[Entrant, ...]:
    """Draws different networks of a space, every row of choices equally likely.

    Args:
        space: The space.
        count: How many.
        size: The input size.
        task: What they are trained for; networks whose stride does not suit it are passed over.
        largest_macs: The MACs that a network may have at that size.
        seed: Seed of the draw.
        known: The ``spec_id`` of networks that are not to be drawn.

    Returns:
        Networks named ``random-0``, ``random-1``, ... in the order in which they were drawn.

    Raises:
        StudyError: If the space does not hold so many.
    """
    limits = {"macs": largest_macs} if np.isfinite(largest_macs) else {}
    rows = feasible_rows(space, size, limits, seed)
    drawn: dict[str, Entrant] = {}
    for row in np.random.default_rng(seed).permutation(rows):
        if len(drawn) == count:
            break
        try:
            spec = space.spec(tuple(row.tolist())).with_outputs(task.num_outputs)
        except SpecError:
            continue
        identity = spec_id(spec)
        if identity in drawn or identity in known or task.stride not in {None, spec.output_stride}:
            continue
        choices = {d.address: d.choices[i] for d, i in zip(space.dimensions, row, strict=True)}
        name = f"random-{len(drawn)}"
        drawn[identity] = Entrant(name=name, spec=spec, choices=choices)
    if len(drawn) < count:
        raise StudyError(
            Problem(
                where="--random",
                rule="the space holds as many different networks within the limit as are drawn",
                got=f"{count} where there are {len(drawn)}",
                do="draw fewer, raise --max-macs, or name a larger space",
            )
        )
    return tuple(drawn.values())
