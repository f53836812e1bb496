"""What differs between data sets in COCO's layout."""

from __future__ import annotations

from dataclasses import dataclass

from ._outputs import COCO_JOINTS


@dataclass(frozen=True, kw_only=True)
class CocoForm:
    """What differs between data sets in COCO's layout.

    Attributes:
        prefix: How the names of annotation files begin; the split's name follows.
        joints: The key points, in the files' order.
        has_areas: Whether every annotation has the area of its mask; 0.53 of the box otherwise.
        annotation_folder: Where in the data folder the annotation files lie.
        image_folder: Where the images of all splits lie; "" if each split has a folder.
    """

    prefix: str
    joints: tuple[str, ...]
    has_areas: bool = True
    annotation_folder: str = "annotations"
    image_folder: str = ""

    @property
    def num_joints(self) -> int:
        """Number of key points."""
        return len(self.joints)


COCO_FORM = CocoForm(prefix="person_keypoints_", joints=COCO_JOINTS)
"""The form of COCO's own files."""
