"""Whether a runtime computes what the network does: no time is believed before that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCES = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 1e-2}
"""Largest difference of an output, as a part of the largest output, by number format.

Measured of Lite-HRNet-18, naive-18 and HRNet-W32 with random weights at 256x192: at most 2e-6, 2e-2
and 3e-3.
"""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far outputs are from what they should be.

    Attributes:
        max_abs: The largest absolute difference.
        objection: Why the outputs are not the network's, "" if they are.
    """

    max_abs: float
    objection: str


def compare_outputs(outputs: Sequence[Tensor], right: Sequence[Tensor], dtype: str) -> Difference:
    """Compares outputs with those of eager PyTorch in float32.

    Args:
        outputs: What was put out.
        right: What should have been.
        dtype: The number format that it was computed in.
    """
    shapes, expected = ([tuple(each.shape) for each in some] for some in (outputs, right))
    if shapes != expected:
        return Difference(
            max_abs=math.inf, objection=f"outputs have shapes {shapes}, eager's {expected}"
        )
    # PyTorch's maximum of NaN and a number is NaN; Python's may be the number.
    gaps = torch.stack([(a - b).abs().max() for a, b in zip(outputs, right, strict=True)])
    max_abs = float(gaps.max())
    largest = max(float(each.abs().max()) for each in right)
    if max_abs <= TOLERANCES[dtype] * largest:
        return Difference(max_abs=max_abs, objection="")
    part = max_abs / largest if largest else math.inf
    return Difference(
        max_abs=max_abs,
        objection=f"outputs differ from eager float32's by {part:.1%} of the largest: "
        f"times of another computation (at most {TOLERANCES[dtype]:.1%} is rounding)",
    )
