"""How objectives are written at axes and in sentences: convention, unit and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.comparing import Comparable, require_one_conditions
from analysis.conventions import CONVENTIONS
from analysis.records import Record, Score

INTERVAL_MEANING = (
    "95 % bootstrap interval over images, of these trained weights; not over training runs"
)
"""What a score's interval says, and what it does not."""

SCORE_UNIT = "0 to 1"
"""Scores are fractions, also those that papers print in per cent."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An objective as an axis shows it.

    Attributes:
        objective: Its name.
        title: What the axis is, with convention and conditions.
        unit: The unit of what is drawn.
        divisor: What values are divided by for that unit.
    """

    objective: str
    title: str
    unit: str
    divisor: float

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}"

    def write(self, value: float) -> str:
        """Writes a value with its unit."""
        return f"{value / self.divisor:,.4g} {self.unit}"


def cost_axis(objective: str, records: Sequence[Record]) -> Axis:
    """Returns the axis of a counting convention or a latency.

    Raises:
        BranchworkError: If it is a latency that was not measured under one set of conditions.
    """
    if objective == "macs":
        title = "MACs (conv + linear + matmul, each executed call once, 1 image)"
        return Axis(objective=objective, title=title, unit="M", divisor=1e6)
    if objective == "params":
        return Axis(objective=objective, title="Learnable parameters", unit="M", divisor=1e6)
    if objective in CONVENTIONS:
        title = f"Counted as {objective} (1 image)"
        return Axis(objective=objective, title=title, unit="M", divisor=1e6)
    conditions = require_one_conditions(records, objective)
    title = f"Median latency ({conditions.label})"
    return Axis(objective=objective, title=title, unit="ms", divisor=1.0)


def score_label(group: Comparable) -> str:
    """Writes what a score axis shows: metric and unit, task, input, images, and how it was shown.

    People are shown in somebody's boxes, frames of segmentation as ``inference`` says.
    """
    parts = [f"{group.metric} ({SCORE_UNIT}), {group.protocol.task} at {group.input}"]
    counts = sorted({r.score.num_images for r in group.records if r.score is not None})
    parts.append(f"{' / '.join(f'{count:,}' for count in counts)} images")
    boxes = group.protocol.evaluation.get("boxes")
    if boxes:
        parts.append(f"boxes: {'ground truth' if boxes == 'ground_truth' else boxes}")
    inference = group.protocol.evaluation.get("inference")
    if inference:
        parts.append(f"inference: {inference}")
    return ", ".join(parts)


def write_score(score: Score) -> str:
    """Writes a score with its interval: ``AP 0.412 (0.380 to 0.441)``."""
    return f"{score.metric} {score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
