"""Errors of key points are told apart as they were made."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasks._keypoint_errors import ERRORS, diagnose
from tasks._keypoints import mirrored_joints
from tasks._oks import COCO_SIGMAS
from tasks._outputs import COCO_JOINTS

LEFT_WRIST, RIGHT_WRIST = COCO_JOINTS.index("left_wrist"), COCO_JOINTS.index("right_wrist")


def _person(number, left, *, image_id=1):
    points = np.stack([left + np.arange(17) * 40.0, 100 + np.arange(17) * 25.0], axis=1)
    rows = np.concatenate([points, np.full((17, 1), 2.0)], axis=1)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "area": 10_000.0,
        "iscrowd": 0,
        "num_keypoints": 17,
        "bbox": [left, 100, 700, 450],
        "keypoints": rows.ravel().tolist(),
    }


def _prediction(person, *, points=None, owned=True):
    rows = np.array(person["keypoints"]).reshape(17, 3)
    for joint, point in (points or {}).items():
        rows[joint, :2] = point
    made = {"image_id": person["image_id"], "category_id": 1, "score": 0.9}
    if owned:
        made["annotation_id"] = person["id"]
    return {**made, "keypoints": rows.ravel().tolist()}


def _points(person):
    return np.array(person["keypoints"]).reshape(17, 3)[:, :2]


def _diagnose(people, made):
    return diagnose(
        people, made, joints=COCO_JOINTS, mirrored=mirrored_joints(COCO_JOINTS), sigmas=COCO_SIGMAS
    )


def _distance_px(similarity, joint, area=10_000.0):
    """The distance at which a point is so similar to its label."""
    return float(np.sqrt(-np.log(similarity) * 2 * (2 * COCO_SIGMAS[joint]) ** 2 * area))


@pytest.mark.parametrize("owned", [True, False])
def test_each_error_is_called_by_its_name(owned):
    me, other = _person(1, 0.0), _person(2, 5_000.0)
    mine, theirs = _points(me), _points(other)
    shift = np.array([1.0, 0.0])
    made = _prediction(
        me,
        owned=owned,
        points={
            0: mine[0] + shift * _distance_px(0.7, 0),
            5: mine[5] + shift * _distance_px(0.86, 5),
            LEFT_WRIST: mine[RIGHT_WRIST],
            RIGHT_WRIST: theirs[RIGHT_WRIST],
            11: theirs[12],
            13: mine[13] + 2_000,
        },
    )
    found = _diagnose([me, other], [made])
    kinds = {joint: ERRORS[int(np.argmax(row))] for joint, row in enumerate(found.counts)}
    assert kinds == {
        **dict.fromkeys(range(17), "good"),
        0: "jitter",
        LEFT_WRIST: "inversion",
        RIGHT_WRIST: "swap",
        11: "swap",
        13: "miss",
    }
    assert (found.num_matched, found.num_unmatched) == (1, 1)
    report = found.report()
    assert report["all"]["num_labelled"] == 17
    assert sum(report["all"][name] for name in ERRORS) == pytest.approx(1)
    assert report["per_joint"]["nose"]["jitter"] == 1


def test_joints_without_a_label_are_in_no_count_and_draw_nothing():
    me = _person(1, 0.0)
    me["keypoints"][3 * RIGHT_WRIST + 2] = 0
    made = _prediction(me, points={LEFT_WRIST: _points(me)[RIGHT_WRIST]})
    found = _diagnose([me], [made])
    assert found.counts[RIGHT_WRIST].sum() == 0
    assert found.counts[LEFT_WRIST].tolist() == [0, 0, 0, 0, 1]
    assert np.isnan(found.fractions()[RIGHT_WRIST]).all()


def test_predictions_for_nobody_change_nothing():
    me = _person(1, 0.0)
    far = _prediction(_person(9, 90_000.0), owned=False)
    assert _diagnose([me], [far]).num_matched == 0
    both = _diagnose([me], [far, _prediction(me, owned=False)])
    assert both.counts.sum(axis=0).tolist() == [17, 0, 0, 0, 0]


def test_real_disturbed_labels_have_every_kind_of_error(shared_file):
    folder = shared_file("data/eval_reference/coco_val2017_507")
    truth = json.loads((folder / "gt.json").read_text())
    predictions = json.loads((folder / "keypoint_predictions.json").read_text())
    found = _diagnose(truth["annotations"], predictions)
    labelled = sum(entry["num_keypoints"] for entry in truth["annotations"])
    assert 0 < found.counts.sum() <= labelled
    assert (found.counts.sum(axis=0) > 0).all()
    assert found.num_matched + found.num_unmatched == 1271
