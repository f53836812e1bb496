"""Pareto fronts: the networks that no other beats in every objective at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pareto_mask(values: NDArray[np.float64], maximise: Sequence[bool]) -> NDArray[np.bool_]:
    """Tells which rows are on the front.

    A row is on the front if no other row is at least as good everywhere and better somewhere.
    Equal rows are on it together; a row with NaN never is.

    Args:
        values: One row per network, one column per objective.
        maximise: Whether each objective is better when larger.

    Shape:
        (n, d) to (n,).
    """
    signs = np.where(np.asarray(maximise), -1.0, 1.0)
    losses = np.asarray(values, dtype=np.float64) * signs
    valid = ~np.isnan(losses).any(axis=1)
    mask: NDArray[np.bool_] = np.array(valid)
    for index in np.flatnonzero(valid):
        no_worse = (losses <= losses[index]).all(axis=1)
        better = (losses < losses[index]).any(axis=1)
        mask[index] = not (no_worse & better & valid).any()
    return mask
