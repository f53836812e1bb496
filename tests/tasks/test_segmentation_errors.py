"""Errors by class, and errors of joints that are measured in head sizes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tasks import MpiiKeypoints
from tasks._label_sets import LabelSet
from tasks._mpii_errors import diagnose_points
from tasks._outputs import MPII_JOINTS
from tasks._pck import PckTruth, score_points
from tasks._segmentation_errors import SegmentationErrors
from tasks._segmentation_results import SegmentationResults

LABELS = LabelSet(num_ids=5, class_names=("road", "sky", "car", "bus"), class_ids=(1, 2, 3, 4))


def _errors(confusion):
    stacked = np.array([confusion, np.zeros_like(confusion)])
    return SegmentationErrors.of(
        SegmentationResults(names=("a", "b"), labels=LABELS, confusion=stacked)
    )


def test_a_class_is_mostly_confused_with_what_its_missed_pixels_get():
    errors = _errors(
        # Rows are true ids; 0 is no class, and nobody has a bus.
        [[9, 9, 9, 9, 0], [0, 6, 1, 3, 0], [0, 0, 4, 0, 0], [5, 2, 1, 2, 0], [0, 0, 0, 0, 0]]
    )
    report = errors.report()["per_class"]
    assert report["road"] == {
        "num_pixels": 10,
        "iou": pytest.approx(6 / 12),
        "accuracy": pytest.approx(0.6),
        "most_confused_with": "car",
        "most_confused_share": pytest.approx(0.3),
    }
    assert report["sky"]["most_confused_with"] is None
    assert report["sky"]["most_confused_share"] == 0
    assert report["car"]["most_confused_with"] == "no class"
    assert report["car"]["most_confused_share"] == pytest.approx(0.5)
    assert report["bus"]["num_pixels"] == 0
    assert math.isnan(report["bus"]["iou"])
    parts = dict(errors.parts())
    assert list(parts) == ["road (for car)", "sky", "car (for no class)"]
    for part in parts.values():
        assert sum(part.values()) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_a_joint_that_is_near_by_pckh_is_good_or_a_jitter(seed):
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 500, (40, 16, 2))
    heads = np.zeros((40, 2, 2))
    heads[:, 1] = rng.uniform(20, 90, (40, 2))
    truth = PckTruth(
        names=tuple(f"{index // 2:02}.jpg" for index in range(40)),
        points_px=points,
        visible=rng.random((40, 16)) < 0.8,
        head_boxes_px=heads,
    )
    made = points + rng.normal(0, 20, points.shape)
    found = diagnose_points(truth, made).counts
    results = score_points(truth, made)
    assert found[:, :2].sum(axis=1).tolist() == results.num_near[0].sum(axis=0).tolist()
    assert found.sum(axis=1).tolist() == results.num_visible.sum(axis=0).tolist()


def test_so_it_is_on_the_official_predictions(shared_file):
    folder = shared_file("data/eval_reference/mpii_val_pckh")
    task = MpiiKeypoints()
    truth, made = folder / "gt_valid.mat", folder / "mpii_val_2958.npz"
    results = task.score_files(truth, made)
    errors = task.diagnose_files(truth, made, results).report()
    near = json.loads((folder / "expected.json").read_text())["PCKh@0.5"]["per_joint"]
    assert len(near) == len(MPII_JOINTS)
    for expected, row in zip(near.values(), errors["per_joint"].values(), strict=True):
        assert 100 * (row["good"] + row["jitter"]) == pytest.approx(expected, abs=1e-4)
    assert "half a head's size" in errors["convention"]
