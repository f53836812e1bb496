"""Training: schedules, the loop, checkpoints."""

from training.checkpoint import Checkpoint, RunIdentity, load_checkpoint, save_checkpoint
from training.loop import (
    DivergedError,
    EvalPoint,
    Hardware,
    StepReport,
    TrainedRun,
    evaluate,
    train,
)
from training.schedule import PRECISIONS, SCHEDULES, Schedule, schedule_of

__all__ = [
    "PRECISIONS",
    "SCHEDULES",
    "Checkpoint",
    "DivergedError",
    "EvalPoint",
    "Hardware",
    "RunIdentity",
    "Schedule",
    "StepReport",
    "TrainedRun",
    "evaluate",
    "load_checkpoint",
    "save_checkpoint",
    "schedule_of",
    "train",
]
