"""What networks are for: data, targets, loss, decoding and metric of each task."""

from ._batch import Batch, Item, collate
from ._diagnosis import Diagnosis
from ._drawing import encode_picture
from ._images import ImageFile
from ._picture_boxes import PictureBoxes, read_picture_boxes
from ._pictures import PersonBox, Picture
from ._results import Arrays, ImageResults
from ._task import TASKS, Role, Task, TaskData, find_task, make_task, register_task, results_type
from .camvid import CamVid
from .cityscapes import Cityscapes
from .coco_keypoints import CocoKeypoints
from .crowdpose import CrowdPose
from .mpii_keypoints import MpiiKeypoints
from .synthetic_keypoints import SyntheticKeypoints
from .synthetic_segmentation import SyntheticSegmentation

__all__ = [
    "TASKS",
    "Arrays",
    "Batch",
    "CamVid",
    "Cityscapes",
    "CocoKeypoints",
    "CrowdPose",
    "Diagnosis",
    "ImageFile",
    "ImageResults",
    "Item",
    "MpiiKeypoints",
    "PersonBox",
    "Picture",
    "PictureBoxes",
    "Role",
    "SyntheticKeypoints",
    "SyntheticSegmentation",
    "Task",
    "TaskData",
    "collate",
    "encode_picture",
    "find_task",
    "make_task",
    "read_picture_boxes",
    "register_task",
    "results_type",
]
