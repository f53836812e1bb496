"""Objectives: the numbers of a record that networks are compared by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import nan

from analysis.conventions import CONVENTIONS
from analysis.latency import RUNTIMES, Latency
from analysis.records import Record
from blocks import Problem, StudyError, did_you_mean

PREDICTED_RUNTIMES = ("eager", "onnxruntime", "openvino")
"""The runtimes that calibrations are made for."""
_PREDICTED = "predicted"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One objective.

    Attributes:
        name: How study files write it: ``score``, ``score.mean_oks``, ``macs``,
            ``latency.eager``, ``predicted.onnxruntime``.
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

    @property
    def predicted(self) -> str:
        """The runtime of a latency that is predicted, "" for anything else."""
        head, _, rest = self.name.partition(".")
        return rest if head == _PREDICTED else ""

    def latency(self, latencies: Sequence[Latency]) -> Latency | None:
        """Returns the latency that it speaks of, None if there is none.

        Of several of its runtime that is the one with the fewest threads, of these the one with
        the smallest batch.
        """
        label = predicted_name(self.predicted) if self.predicted else self.runtime
        matching = [each for each in latencies if each.runtime == label]
        return min(matching, key=lambda each: (each.threads, each.batch, each.dtype), default=None)

    def value(self, record: Record) -> float:
        """Returns the record's number (NaN where it has none); latencies in milliseconds."""
        head, _, rest = self.name.partition(".")
        if head == "score":
            if record.score is None:
                return nan
            return record.score.metrics.get(rest, nan) if rest else record.score.value
        if head in {"latency", _PREDICTED}:
            latency = self.latency(record.latencies)
            return nan if latency is None else latency.p50_ms
        # Records of an older version lack the conventions that came later.
        return float(record.cost.conventions.get(head, nan)) if record.cost else nan


def objective(
    name: str, where: str = "objectives", metrics: Collection[str] | None = None
) -> Objective:
    """Returns the objective of a name.

    Args:
        name: The name.
        where: Where it is written.
        metrics: The metrics that the task's scores have; None, if the task is not known, takes
            any.

    Raises:
        StudyError: If there is none of that name.
    """
    known = objective_names(metrics or ())
    is_any_metric = metrics is None and name.removeprefix("score.").isidentifier()
    if name not in known and not (is_any_metric and name.startswith("score.")):
        raise StudyError(
            Problem(
                where=where,
                rule="an objective is a score, a cost or a latency",
                got=repr(name),
                do=did_you_mean(name, known),
            )
        )
    return Objective(name=name)


def objective_names(metrics: Collection[str]) -> tuple[str, ...]:
    """Returns the names of all objectives.

    Args:
        metrics: The metrics that the task's scores have.
    """
    return (
        "score",
        *(f"score.{metric}" for metric in metrics),
        *CONVENTIONS,
        *(f"latency.{runtime}" for runtime in RUNTIMES),
        *(predicted_name(runtime) for runtime in PREDICTED_RUNTIMES),
    )


def latency_name(runtime: str) -> str:
    """Returns the objective of a latency, by what a record gives as its runtime."""
    return runtime if runtime.startswith(f"{_PREDICTED}.") else f"latency.{runtime}"


def predicted_name(runtime: str) -> str:
    """Returns the name of a predicted latency, as objectives and records have it."""
    return f"{_PREDICTED}.{runtime}"
