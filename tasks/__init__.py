"""What networks are for: data, targets, loss, decoding and metric of each task."""

from ._batch import Batch, Item, collate
from ._outputs import OUTPUT_NAMES, default_input_of, num_outputs_of
from ._results import Arrays, ImageResults
from ._task import TASKS, Role, Task, TaskData, make_task, register_task, trainable_task
from .coco_keypoints import CocoKeypoints
from .synthetic_keypoints import SyntheticKeypoints

__all__ = [
    "OUTPUT_NAMES",
    "TASKS",
    "Arrays",
    "Batch",
    "CocoKeypoints",
    "ImageResults",
    "Item",
    "Role",
    "SyntheticKeypoints",
    "Task",
    "TaskData",
    "collate",
    "default_input_of",
    "make_task",
    "num_outputs_of",
    "register_task",
    "trainable_task",
]
