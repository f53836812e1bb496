"""Prediction files: the numbers of the official evaluators, or one clear line."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from coco_folder import person, write_split

from blocks import BranchworkError, DataError
from tasks import CocoKeypoints, CrowdPose, MpiiKeypoints, SyntheticKeypoints
from tasks._coco_results import read_results
from tasks._oks import COCO_SIMILARITY
from tasks._oks_suppression import suppress

COCO = "data/eval_reference/coco_val2017_507"


def _expected(folder):
    return json.loads((folder / "expected.json").read_text())


def _files(folder):
    found = (folder / name for name in ("keypoint_predictions.json", "predictions.json"))
    return folder / "gt.json", next(path for path in found if path.is_file())


@pytest.mark.parametrize(
    ("name", "task", "where"),
    [
        (COCO, CocoKeypoints(), "keypoint_stats"),
        (COCO, SyntheticKeypoints(), "keypoint_stats"),
        (COCO, CocoKeypoints(nms=0.5), "keypoint_stats_after_oks_nms_0.5"),
        ("data/eval_reference/coco_keypoints_1img", CocoKeypoints(), "keypoint_stats"),
    ],
)
def test_files_in_coco_s_form_give_the_official_numbers(shared_file, name, task, where):
    folder = shared_file(name)
    report = task.score_files(*_files(folder)).report()
    assert report["keypoint_stats"] == pytest.approx(_expected(folder)[where], abs=1e-9)
    if where == "keypoint_stats" and name == COCO:
        key = "keypoint_AP_per_oks_threshold_0.50_to_0.95"
        assert report[key] == pytest.approx(_expected(folder)[key], abs=1e-9)
        counts = _expected(folder)["counts"]
        for count in ("images", "gt_with_keypoints"):
            assert report["counts"][count] == counts[count]
        assert 3000 < report["counts"]["predictions_matched"] <= counts["predictions"]


@pytest.mark.parametrize("threshold", [0.9, 0.5])
def test_suppression_keeps_what_hrnet_keeps(shared_file, threshold):
    folder = shared_file(COCO)
    truth = json.loads((folder / "gt.json").read_text())
    ids = np.array([image["id"] for image in truth["images"]])
    made = read_results(folder / "keypoint_predictions.json", ids)
    kept = suppress(made, threshold, COCO_SIMILARITY, made.areas_px)
    by_image: dict[str, list[int]] = {}
    for index in kept.tolist():
        by_image.setdefault(str(made.image_ids[index]), []).append(index)
    expected = json.loads((folder / "oks_nms_kept_indices.json").read_text())
    assert by_image == expected[f"threshold_{threshold}"]


def test_crowdpose_gives_the_published_numbers(shared_file):
    folder = shared_file("data/eval_reference/crowdpose_4img")
    results = CrowdPose().score_files(*_files(folder))
    assert results.report() == pytest.approx(_expected(folder)["expected"], abs=1e-9)
    again = type(results).from_arrays(results.arrays())
    assert str(again.metrics) == str(results.metrics)
    both = results.beside(again)
    for name, value in results.metrics.items():
        assert both.score([[1, 0, 0, 1, 0, 1, 1, 0]], name)[0] == pytest.approx(value)


def test_crowdpose_needs_to_know_how_crowded_images_are(shared_file, tmp_path):
    truth, made = _files(shared_file("data/eval_reference/crowdpose_4img"))
    document = json.loads(truth.read_text())
    del document["images"][1]["crowdIndex"]
    (tmp_path / "gt.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="needs a crowdIndex, a number, got 1 otherwise"):
        CrowdPose().score_files(tmp_path / "gt.json", made)


def test_mpii_gives_the_official_numbers(shared_file):
    folder = shared_file("data/eval_reference/mpii_val_pckh")
    results = MpiiKeypoints().score_files(folder / "gt_valid.mat", folder / "mpii_val_2958.npz")
    report, expected = results.report(), _expected(folder)
    assert list(report) == ["PCKh@0.5", "PCKh@0.1", "visible_joint_counts"]
    for key in ("PCKh@0.5", "PCKh@0.1"):
        assert report[key].pop("per_joint") == pytest.approx(
            expected[key].pop("per_joint"), abs=1e-4
        )
        assert report[key] == pytest.approx(expected[key], abs=1e-4)
    assert report["visible_joint_counts"] == expected["visible_joint_counts"]
    assert results.num_images == 2958
    assert results.metrics["PCKh@0.5"] == pytest.approx(0.823367, abs=1e-6)


@pytest.fixture
def split(tmp_path):
    """A split of two images with one person each, and a prediction for each of them."""
    folder = write_split(tmp_path / "data")
    annotations = folder / "annotations" / "person_keypoints_val2017.json"
    made = [
        {
            "image_id": number,
            "category_id": 1,
            "keypoints": person(1, 1)["keypoints"],
            "score": 0.5 + number / 10,
        }
        for number in (1, 2)
    ]
    return annotations, made


def _scored(split, change=None):
    annotations, made = split
    if change is not None:
        change(made)
    path = annotations.parent / "results.json"
    path.write_text(json.dumps(made))
    return CocoKeypoints().score_files(annotations, path)


def test_labels_as_predictions_score_one(split):
    results = _scored(split)
    assert results.metrics["AP"] == 1
    # Nobody said whose prediction is whose.
    assert np.isnan(results.metrics["mean_oks"])
    for index, made in enumerate(split[1]):
        made["annotation_id"] = 101 + index
    assert _scored(split).metrics["mean_oks"] == 1


CHANGES = {
    "another image": (
        lambda made: made[1].update(image_id=99),
        "must be for an image of the annotation file, got 1 otherwise, the first being entry 1",
    ),
    "no image": (lambda made: made[0].pop("image_id"), "needs a whole-numbered image_id"),
    "image as text": (lambda made: made[0].update(image_id="1"), "a whole-numbered image_id"),
    "too few": (
        lambda made: made[0].update(keypoints=[1.0] * 42),
        "needs 51 finite numbers in keypoints (17 times x, y, score), got 1 otherwise",
    ),
    "all too few": (
        lambda made: [one.update(keypoints=[1.0] * 48) for one in made],
        "51 finite numbers in keypoints (17 times x, y, score), got 2 otherwise",
    ),
    "none": (lambda made: made[1].pop("keypoints"), "51 finite numbers in keypoints"),
    "NaN": (lambda made: made[1].update(keypoints=[math.nan] * 51), "51 finite numbers"),
    "infinite": (lambda made: made[1].update(keypoints=[math.inf] * 51), "51 finite numbers"),
    "text": (lambda made: made[1].update(keypoints=["1"] * 51), "51 finite numbers"),
    "no score": (lambda made: made[0].pop("score"), "needs a score, a finite number"),
    "NaN as score": (lambda made: made[0].update(score=math.nan), "needs a score, a finite"),
    "another category": (lambda made: made[0].update(category_id=3), "category_id 1, a person"),
    "twice": (
        lambda made: made.append(dict(made[0])),
        "no prediction may stand in a file twice, got 1 repeated, the first being entry 2",
    ),
    "one person twice": (
        lambda made: [one.update(annotation_id=101) for one in made],
        "everyone has one prediction of their own (annotation_id), got 1 repeated",
    ),
    "strange owner": (lambda made: made[0].update(annotation_id="a"), "annotation_id, where"),
}


@pytest.mark.parametrize(("change", "rule"), CHANGES.values(), ids=CHANGES)
def test_a_wrong_prediction_is_one_line(split, change, rule):
    with pytest.raises(DataError) as caught:
        _scored(split, change)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"{}", "predictions are a list of objects, got no list"),
        (b"[1, 2]", "predictions are a list of objects, got a list of something else"),
        (b"[{", "a file of predictions must be JSON, got Expecting property name"),
        (b"\x89PNG\r\n", "a file of predictions must be JSON, got other bytes"),
        (None, "predictions are one JSON file, got no such file"),
    ],
)
def test_a_file_of_another_form_is_one_line(split, content, rule):
    annotations, _ = split
    path = annotations.parent / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        CocoKeypoints().score_files(annotations, path)
    assert rule in str(caught.value)
    with pytest.raises(DataError, match="annotations are one JSON file in COCO's form, got no"):
        CocoKeypoints().score_files(annotations.with_name("none.json"), path)
    with pytest.raises(DataError, match="annotations are one JSON file in COCO's form, got a f"):
        CocoKeypoints().score_files(annotations.parent, path)


def test_no_prediction_at_all_scores_nothing(split):
    annotations, made = split
    made.clear()
    assert _scored((annotations, made)).metrics["AP"] == 0


@pytest.mark.parametrize("options", [{"nms": 1.5}, {"box_score": -0.1}, {"decoding": "drak"}])
def test_options_that_cannot_be_had_are_one_line(options):
    (name,) = options
    with pytest.raises(BranchworkError, match=f"^coco_keypoints.{name}: the option is "):
        CocoKeypoints(**options)
