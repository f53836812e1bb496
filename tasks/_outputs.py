"""What each task's network puts out: the names of its key points or classes, in order."""

from __future__ import annotations

from blocks import BranchworkError, ImageSize, Problem, did_you_mean

COCO_JOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
"""The 17 key points of COCO, in the order of its annotation files."""

MPII_JOINTS = (
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "pelvis",
    "thorax",
    "neck",
    "head_top",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
)
"""The 16 key points of MPII Human Pose, in the order of its annotation files."""

CROWDPOSE_JOINTS = (
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "head",
    "neck",
)
"""The 14 key points of CrowdPose, in the order of its annotation files."""

CITYSCAPES_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""The 19 training classes of Cityscapes, by their train id."""

CAMVID_CLASSES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)
"""The 11 classes of CamVid, by their label (11 itself means unlabelled)."""

STREET_CLASSES = (
    "road",
    "pavement",
    "building",
    "vegetation",
    "sky",
    "pole",
    "car",
    "person",
)
"""The 8 classes of the synthetic street scenes, by their label (8 itself means unlabelled)."""

OUTPUT_NAMES: dict[str, tuple[str, ...]] = {
    "coco_keypoints": COCO_JOINTS,
    "synthetic_keypoints": COCO_JOINTS,
    "mpii_keypoints": MPII_JOINTS,
    "crowdpose": CROWDPOSE_JOINTS,
    "cityscapes": CITYSCAPES_CLASSES,
    "camvid": CAMVID_CLASSES,
    "synthetic_segmentation": STREET_CLASSES,
}
"""Every task's outputs by its name: tasks that can be trained, and tasks known for their size."""

_DEFAULT_INPUTS: dict[str, ImageSize] = {
    "coco_keypoints": ImageSize(256, 192),
    "synthetic_keypoints": ImageSize(96, 64),
    "mpii_keypoints": ImageSize(256, 256),
    "crowdpose": ImageSize(256, 192),
    "cityscapes": ImageSize(512, 1024),
    # Its frames have 360 rows, which the coarsest stride does not divide.
    "camvid": ImageSize(384, 480),
    "synthetic_segmentation": ImageSize(96, 128),
}


def num_outputs_of(name: str) -> int:
    """Returns how many channels a network for this task puts out.

    >>> num_outputs_of("cityscapes")
    19

    Args:
        name: A task's name, trainable or not.

    Raises:
        BranchworkError: If no task has the name.
    """
    return len(OUTPUT_NAMES[_known(name)])


def default_input_of(name: str) -> ImageSize:
    """Returns the image size at which networks for this task are usually compared.

    >>> str(default_input_of("mpii_keypoints"))
    '256x256'

    Args:
        name: A task's name, trainable or not.

    Raises:
        BranchworkError: If no task has the name.
    """
    return _DEFAULT_INPUTS[_known(name)]


def _known(name: str) -> str:
    if name not in OUTPUT_NAMES:
        raise BranchworkError(
            Problem(
                where="task",
                rule="a task must be a known one",
                got=repr(name),
                do=did_you_mean(name, OUTPUT_NAMES),
            )
        )
    return name
