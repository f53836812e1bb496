"""Training: schedules, the loop, checkpoints."""

from training.checkpoint import Checkpoint, RunIdentity, load_checkpoint, save_checkpoint
from training.hardware import ACCELERATORS, Hardware
from training.loop import evaluate, train
from training.reports import (
    DivergedError,
    EvalPoint,
    OutOfMemoryError,
    RunFailedError,
    StepReport,
    TrainedRun,
)
from training.schedule import PRECISIONS, SCHEDULES, Schedule, schedule_of

__all__ = [
    "ACCELERATORS",
    "PRECISIONS",
    "SCHEDULES",
    "Checkpoint",
    "DivergedError",
    "EvalPoint",
    "Hardware",
    "OutOfMemoryError",
    "RunFailedError",
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
