"""PCK@0.1 of data in COCO's form: counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks import CocoKeypoints, SyntheticKeypoints
from tasks._crowdpose_results import CrowdPoseResults
from tasks._oks import KeypointResults, score_keypoints

IMAGES = [{"id": 1}, {"id": 2}]
NEAR = "PCK@0.1"


def person(number: int, image: int, joints: dict[int, tuple[float, float]], **fields):
    """Someone in a box of 100 x 50 pixels: key points within 10 pixels are near."""
    keypoints = np.zeros((17, 3))
    for joint, (x, y) in joints.items():
        keypoints[joint] = x, y, 2
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": len(joints),
        "bbox": [0, 0, 100, 50],
        "area": 2500,
        "iscrowd": 0,
        **fields,
    }


def predicted(number: int, image: int, joints: dict[int, tuple[float, float]], score: float = 0.5):
    """A prediction for someone; the other key points lie far away."""
    keypoints = np.full((17, 3), 1000.0)
    for joint, (x, y) in joints.items():
        keypoints[joint] = x, y, 0
    return {
        "image_id": image,
        "annotation_id": number,
        "category_id": 1,
        "keypoints": keypoints.ravel().tolist(),
        "score": score,
    }


def test_what_lies_within_a_tenth_of_the_longer_side_is_near():
    people = [person(1, 1, {0: (20, 20), 1: (40, 20), 2: (60, 20), 3: (80, 20)})]
    # At 0, at just 10 (as 6 and 8), at 10.1 and far away.
    made = [predicted(1, 1, {0: (20, 20), 1: (46, 28), 2: (60, 30.1)})]
    results = score_keypoints(IMAGES, people, made)
    assert results.metrics[NEAR] == 2 / 4
    assert results.num_near.tolist() == [2, 0]
    assert results.num_joints.tolist() == [4, 0]


def test_the_longer_side_may_be_the_height():
    people = [person(1, 1, {0: (20, 20)}, bbox=[0, 0, 50, 200])]
    assert score_keypoints(IMAGES, people, [predicted(1, 1, {0: (39, 20)})]).metrics[NEAR] == 1
    assert score_keypoints(IMAGES, people, [predicted(1, 1, {0: (41, 20)})]).metrics[NEAR] == 0


def test_whom_nobody_predicted_is_missed_and_who_is_not_scored_does_not_count():
    people = [
        person(1, 1, {0: (20, 20), 1: (40, 20)}),
        person(2, 1, {0: (30, 30), 1: (50, 30), 2: (70, 30)}),
        person(3, 1, {0: (10, 10)}, iscrowd=1),
        person(4, 2, {}),
    ]
    made = [predicted(number, 1, {0: (20, 20), 1: (40, 20)}) for number in (1, 3, 4)]
    results = score_keypoints(IMAGES, people, made)
    assert results.metrics[NEAR] == 2 / 5


def test_the_most_confident_prediction_of_someone_counts():
    people = [person(1, 1, {0: (20, 20)})]
    near, far = predicted(1, 1, {0: (20, 20)}, 0.2), predicted(1, 1, {}, 0.9)
    assert score_keypoints(IMAGES, people, [near, far]).metrics[NEAR] == 0
    assert score_keypoints(IMAGES, people, [near | {"score": 0.95}, far]).metrics[NEAR] == 1


def test_predictions_of_nobody_leave_it_undefined():
    people = [person(1, 1, {0: (20, 20)})]
    made = predicted(1, 1, {0: (20, 20)})
    del made["annotation_id"]
    results = score_keypoints(IMAGES, people, [made])
    assert np.isnan(results.metrics[NEAR])
    assert score_keypoints(IMAGES, people, []).metrics[NEAR] == 0


def test_images_weigh_by_their_key_points():
    people = [person(1, 1, {0: (20, 20)}), person(2, 2, {0: (20, 20), 1: (40, 20), 2: (60, 20)})]
    made = [predicted(1, 1, {0: (20, 20)}), predicted(2, 2, {0: (20, 20)})]
    results = score_keypoints(IMAGES, people, made)
    weighted = results.score([[1, 1], [3, 1], [0, 2], [0, 0]], NEAR)
    np.testing.assert_allclose(weighted, [2 / 4, 4 / 6, 1 / 3, np.nan])


def test_results_of_older_versions_are_read_without_it():
    people = [person(1, 1, {0: (20, 20)})]
    results = score_keypoints(IMAGES, people, [predicted(1, 1, {0: (20, 20)})])
    arrays = dict(results.arrays())
    del arrays["num_near"], arrays["num_joints"]
    old = KeypointResults.from_arrays(arrays)
    assert np.isnan(old.metrics[NEAR])
    assert old.metrics["mean_oks"] == results.metrics["mean_oks"] == 1
    assert old.headline == "AP"


@pytest.mark.parametrize("task", [CocoKeypoints, SyntheticKeypoints])
def test_searches_may_rank_by_it(task):
    assert NEAR in task.results.metric_names
    assert task.metric == "AP"


def test_crowdpose_has_it_of_the_same_people():
    people = [person(1, 1, {0: (20, 20), 1: (40, 20)}), person(2, 2, {0: (20, 20)})]
    keypoints = score_keypoints(IMAGES, people, [predicted(1, 1, {0: (20, 20)})])
    results = CrowdPoseResults(keypoints=keypoints, crowding=np.array([0.1, 0.9]))
    assert results.metrics[NEAR] == results.report()[NEAR] == 1 / 3
