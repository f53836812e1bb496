"""Training: schedules, the loop, checkpoints."""

from training.checkpoint import Checkpoint, RunIdentity, load_checkpoint, save_checkpoint
from training.hardware import ACCELERATORS, Hardware, Launch, current_launch
from training.loop import evaluate, train
from training.recipes import SCHEDULES, schedule_of
from training.reports import (
    DivergedError,
    EvalPoint,
    OutOfMemoryError,
    RunFailedError,
    StepReport,
    TrainedRun,
)
from training.schedule import Schedule
from training.schedule_checks import PRECISIONS

__all__ = [
    "ACCELERATORS",
    "PRECISIONS",
    "SCHEDULES",
    "Checkpoint",
    "DivergedError",
    "EvalPoint",
    "Hardware",
    "Launch",
    "OutOfMemoryError",
    "RunFailedError",
    "RunIdentity",
    "Schedule",
    "StepReport",
    "TrainedRun",
    "current_launch",
    "evaluate",
    "load_checkpoint",
    "save_checkpoint",
    "schedule_of",
    "train",
]
