"""From bytes to what networks are shown: ImageNet's mean and deviation, taken out."""

from __future__ import annotations

import numpy as np

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
"""ImageNet's mean of red, green and blue, from 0 to 1."""

_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)

FACTOR = 1 / (255 * _DEVIATION)
"""What a byte is multiplied by."""

SHIFT = -MEAN / _DEVIATION
"""What is added then."""
