"""Overlays: skeletons by side and by how sure they are, classes in their colours."""

from __future__ import annotations

import numpy as np
import pytest

from tasks import find_task
from tasks._drawing import draw_classes, draw_legend, draw_people
from tasks._label_files import encode_labels
from tasks._label_sets import enumerated
from tasks._palettes import CAMVID_PALETTE, CITYSCAPES_PALETTE, STREET_PALETTE
from tasks._skeletons import COCO_SKELETON, CROWDPOSE_SKELETON, MPII_SKELETON

LEFT, RIGHT = (86, 180, 233), (230, 159, 0)


@pytest.mark.parametrize("skeleton", [COCO_SKELETON, CROWDPOSE_SKELETON, MPII_SKELETON])
def test_limbs_join_every_key_point_to_all_others(skeleton):
    reached, limbs = {skeleton.joints[0]}, set(skeleton.limbs)
    assert len(limbs) == len(skeleton.limbs)
    for _ in skeleton.joints:
        reached |= {name for limb in limbs if reached & set(limb) for name in limb}
    assert reached == set(skeleton.joints)


@pytest.mark.parametrize(
    ("task", "palette"),
    [
        ("cityscapes", CITYSCAPES_PALETTE),
        ("camvid", CAMVID_PALETTE),
        ("synthetic_segmentation", STREET_PALETTE),
    ],
)
def test_every_class_has_a_colour_of_its_own(task, palette):
    assert tuple(palette) == find_task(task).outputs
    assert len(set(palette.values())) == len(palette)


def _person(**sure):
    """Someone whose left arm is at x = 20, whose right arm is at x = 80."""
    rows = np.zeros((17, 3))
    for index, name in enumerate(COCO_SKELETON.joints):
        side, _, part = name.partition("_")
        if part in {"shoulder", "elbow", "wrist"}:
            y = {"shoulder": 20, "elbow": 50, "wrist": 80}[part]
            rows[index] = (20 if side == "left" else 80, y, sure[side])
    return {"keypoints": rows.ravel().tolist(), "score": 0.9}


def test_sides_have_colours_and_what_is_unsure_is_faint_or_missing():
    image = np.full((100, 100, 3), 100, dtype=np.uint8)
    drawn = draw_people(image, [_person(left=0.9, right=0.1)], COCO_SKELETON)
    # Thin lines are smoothed, so not quite opaque.
    assert drawn[35, 20].astype(int) == pytest.approx(LEFT, abs=20)
    faint = 0.3 * np.array(RIGHT) + 0.7 * 100
    assert drawn[35, 80].astype(int) == pytest.approx(faint, abs=6)
    assert (draw_people(image, [_person(left=0.01, right=0.01)], COCO_SKELETON) == image).all()
    assert (image == 100).all()
    # The line between the shoulders is as unsure as the less sure of them, and of no side.
    assert drawn[20, 50].astype(int) == pytest.approx([0.3 * 255 + 0.7 * 100] * 3, abs=6)


def test_points_far_outside_an_image_and_nobody_at_all_are_drawn():
    image = np.zeros((8, 9, 3), dtype=np.uint8)
    far = np.tile([1e9, -1e9, 1.0], 17)
    far[:3] = (4, 4, 1)
    made = {"keypoints": far.tolist(), "score": 1.0}
    assert draw_people(image, [made], COCO_SKELETON).shape == image.shape
    assert not draw_people(image, [], COCO_SKELETON).any()


@pytest.mark.parametrize(("size", "has_legend"), [((200, 300), True), ((6, 7), False)])
def test_classes_are_blended_and_what_is_none_is_left(size, has_legend):
    labels = enumerated(("road", "sky"))
    palette = {"road": (200, 0, 0), "sky": (0, 0, 200)}
    image = np.full((*size, 3), 100, dtype=np.uint8)
    ids = np.zeros(size, dtype=np.uint8)
    ids[:, -1] = 2
    drawn = draw_classes(image, encode_labels(ids), labels, palette)
    assert drawn.shape == image.shape
    assert drawn[0, 0].astype(int) == pytest.approx([155, 45, 45], abs=1)
    assert tuple(drawn[0, -1]) == (100, 100, 100)
    assert (drawn[-1, 0] != drawn[0, 0]).any() == has_legend
    assert (image == 100).all()


def test_a_legend_has_a_line_for_every_class():
    legend = draw_legend(("road", "sky"), {"road": (200, 0, 0), "sky": (0, 0, 200)}, 20)
    assert legend.shape[0] == 40
    assert [tuple(legend[y, 10]) for y in (10, 30)] == [(200, 0, 0), (0, 0, 200)]
