"""What a run says: each step, each evaluation, how it ended."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    step: int
    loss: float
    score: float
    elapsed_s: float


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """How far a run is.

    Attributes:
        step: Steps done.
        num_steps: Steps in all.
        loss: Loss of the last step.
        samples_per_s: Training samples a second since the run (or its resumption) began,
            evaluations left out.
        message: What is happening beside the steps, "" usually.
    """

    step: int
    num_steps: int
    loss: float
    samples_per_s: float
    message: str = ""


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
