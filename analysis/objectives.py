"""Objectives: the numbers of a record that networks are compared by."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from analysis.conventions import CONVENTIONS
from analysis.latency import RUNTIMES
from analysis.records import Record
from blocks import Problem, StudyError, did_you_mean

_SCORE_METRICS = ("mean_oks", "AP50", "AP75", "AR")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One objective.

    Attributes:
        name: How study files write it: ``score``, ``score.mean_oks``, ``macs``,
            ``latency.eager``.
        maximise: Whether more is better.
    """

    name: str

    @property
    def maximise(self) -> bool:
        """True for scores."""
        return self.name.split(".")[0] == "score"

    @property
    def runtime(self) -> str:
        """The runtime of a latency, "" for anything else."""
        head, _, rest = self.name.partition(".")
        return rest if head == "latency" else ""

    def value(self, record: Record) -> float:
        """Returns the record's number (NaN where it has none); latencies in milliseconds."""
        head, _, rest = self.name.partition(".")
        if head == "score":
            if record.score is None:
                return nan
            return record.score.metrics.get(rest, nan) if rest else record.score.value
        if head == "latency":
            matching = [x.p50_ms for x in record.latencies if x.runtime == rest]
            return matching[0] if matching else nan
        # Records of an older version lack the conventions that came later.
        return float(record.cost.conventions.get(head, nan)) if record.cost else nan


def objective(name: str, where: str = "objectives") -> Objective:
    """Returns the objective of a name.

    Raises:
        StudyError: If there is none of that name.
    """
    known = objective_names()
    if name not in known:
        raise StudyError(
            Problem(
                where=where,
                rule="an objective is a score, a cost or a latency",
                got=repr(name),
                do=did_you_mean(name, known),
            )
        )
    return Objective(name=name)


def objective_names() -> tuple[str, ...]:
    """Returns the names of all objectives."""
    return (
        "score",
        *(f"score.{metric}" for metric in _SCORE_METRICS),
        *CONVENTIONS,
        *(f"latency.{runtime}" for runtime in RUNTIMES),
    )
