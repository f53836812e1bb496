"""How training crops are varied."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ._crops import Crop


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random scale, rotation and mirroring of a crop, as in HRNet's published training.

    Attributes:
        scale: Deviation of the normally distributed scale factor around 1, which is cut off at
            one deviation.
        rotation_deg: Deviation of the normally distributed angle, which is cut off at two.
        rotation_probability: How often a crop is turned at all.
        mirror_probability: How often a crop is mirrored.
    """

    scale: float = 0.35
    rotation_deg: float = 45.0
    rotation_probability: float = 0.6
    mirror_probability: float = 0.5

    def apply(self, crop: Crop, rng: np.random.Generator) -> Crop:
        """Returns a varied crop; always draws the same number of random numbers."""
        scale, turn = rng.standard_normal(2)
        turned, mirrored = rng.random(2) < (self.rotation_probability, self.mirror_probability)
        return replace(
            crop,
            width_px=crop.width_px * (1 + self.scale * float(np.clip(scale, -1, 1))),
            rotation_deg=self.rotation_deg * float(np.clip(turn, -2, 2)) if turned else 0.0,
            mirrored=bool(mirrored),
        )
