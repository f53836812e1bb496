"""What a run says: each step, each evaluation, how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks import ImageResults


class RunFailedError(RuntimeError):
    """A run could not be finished, for a reason that lies in the network or the machine."""


class DivergedError(RunFailedError):
    """The loss of a run became NaN or infinite."""


class OutOfMemoryError(RunFailedError):
    """A run needed more memory than there is."""


@dataclass(frozen=True, kw_only=True)
class EvalPoint:
    """One evaluation during training.

    Attributes:
        step: Steps done.
        loss: Mean training loss since the last evaluation.
        score: The task's headline metric on the validation data.
        elapsed_s: Seconds of training so far.
        metrics: All of the task's metrics then, by name.
    """

    step: int
    loss: float
    score: float
    elapsed_s: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """How far a run is.

    Attributes:
        step: Steps done.
        num_steps: Steps in all.
        loss: Loss of the last step.
        samples_per_s: Training samples a second since the run (or its resumption) began,
            evaluations left out, and the step that compiles.
        message: What is happening beside the steps, "" usually.
        compile_s: Seconds of a first step in which the network was compiled; 0 in all others.
    """

    step: int
    num_steps: int
    loss: float
    samples_per_s: float
    message: str = ""
    compile_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """What training gave.

    Attributes:
        results: Per-image results on the validation data.
        curve: The learning curve.
        losses: Loss of every step that this process did.
        elapsed_s: Seconds of training and evaluation, earlier processes included.
        resumed_from: Step at which this process took over, 0 if it began.
    """

    results: ImageResults
    curve: tuple[EvalPoint, ...]
    losses: tuple[float, ...]
    elapsed_s: float
    resumed_from: int
