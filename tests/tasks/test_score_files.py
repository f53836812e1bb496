"""Prediction files: the numbers of the official evaluators, or one clear line."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pytest
from coco_folder import person, write_split

from blocks import BranchworkError, DataError, ImageSize
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
    report = results.report()
    # These predictions do not say whose they are.
    assert np.isnan(report.pop("PCK@0.1"))
    assert report == pytest.approx(_expected(folder)["expected"], abs=1e-9)
    again = type(results).from_arrays(results.arrays())
    assert str(again.metrics) == str(results.metrics)
    both = results.beside(again)
    for name, value in results.metrics.items():
        assert both.score([[1, 0, 0, 1, 0, 1, 1, 0]], name)[0] == pytest.approx(value, nan_ok=True)


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
    "no category": (lambda made: made[0].pop("category_id"), "a whole-numbered category_id"),
    "other categories": (
        lambda made: [one.update(category_id=3) for one in made],
        "predictions of people are of category_id 1, got 2 of others, the first of 3",
    ),
    "some boxes": (
        lambda made: made[0].update(bbox=[1, 2, 3, 4]),
        "needs 4 numbers in bbox where the first has a bbox, got 1 otherwise",
    ),
    "null for a box": (lambda made: made[0].update(bbox=None), "needs 4 numbers in bbox where"),
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


def _changed(split, change):
    """The same split after a change of its annotation file."""
    annotations, _ = split
    document = json.loads(annotations.read_text())
    change(document)
    annotations.write_text(json.dumps(document))
    return split


def _categorised(document, number, *categories):
    document["categories"] = [{"id": each, "name": name} for each, name in categories]
    for entry in document["annotations"]:
        entry["category_id"] = number


@pytest.mark.parametrize(
    ("number", "categories"),
    [(7, [(1, "car"), (7, "person")]), (0, [(0, "pedestrian")]), (1, [(1, "a"), (2, "b")])],
    ids=["by name", "the only one", "COCO's"],
)
def test_only_people_are_scored(split, number, categories):
    def change(document):
        _categorised(document, number, *categories)
        # What is no person need not be anything else that a person is.
        document["annotations"].append({"id": 101, "image_id": 1, "category_id": 3})

    changed = _changed(split, change)
    for made in split[1]:
        made["category_id"] = number
    split[1].append({"image_id": 1, "category_id": number + 1, "score": 1.0})
    results = _scored(changed)
    assert results.metrics["AP"] == 1
    assert results.report()["counts"]["predictions_matched"] == 2
    left_out = "predictions left out that are of another category than people: 1"
    assert results.notes == (left_out,)
    errors = CocoKeypoints().diagnose_files(changed[0], changed[0].parent / "results.json", results)
    assert errors.report()["all"]["good"] == 1


def test_only_people_are_learnt_from(split):
    def change(document):
        _categorised(document, 7, (1, "dog"), (7, "person"))
        document["annotations"][0]["category_id"] = 1
        document["annotations"][0]["keypoints"] = [1, 2, 2]

    annotations, _ = _changed(split, change)
    data = CocoKeypoints().open(annotations.parent.parent, "val", ImageSize(64, 48))
    origins = [data.eval_item(index).origin for index in range(len(data))]
    assert [(each.annotation_id, each.category_id) for each in origins] == [(102, 7)]
    (annotations.parent.parent / "boxes.json").write_text(
        json.dumps([{"image_id": 1, "category_id": 1, "bbox": [5, 6, 30, 40], "score": 0.9}])
    )
    task = CocoKeypoints(boxes="boxes.json")
    found = task.open(annotations.parent.parent, "val", ImageSize(64, 48))
    assert found.eval_item(0).origin.category_id == 7


@pytest.mark.parametrize("labels", [{}, {"num_keypoints": 0}, {"keypoints": []}], ids=str)
def test_someone_without_key_points_is_ignored(split, labels):
    def change(document):
        for key in ("keypoints", "num_keypoints"):
            del document["annotations"][1][key]
        document["annotations"][1].update(labels)

    results = _scored(_changed(split, change))
    # The prediction that found them, the more confident one, is no mistake.
    assert results.metrics["AP"] == pytest.approx(1)
    assert results.report()["counts"]["gt_with_keypoints"] == 1


def test_the_same_prediction_again_is_a_false_alarm(split):
    _, made = split
    made[:0] = [{**made[1]}, {**made[1]}]
    results = _scored(split)
    assert results.report()["counts"]["predictions_matched"] == 4
    # Of four in order of score the first is right, two are wrong, the last is right.
    assert results.metrics["AP"] == pytest.approx((51 * 1 + 50 * 0.5) / 101)
    assert results.metrics["AR"] == 1


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_predictions_for_someone_the_more_confident_is_their_own(split, order):
    annotations, made = split
    for index, one in enumerate(made):
        one["annotation_id"] = 101 + index
    far = {**made[0], "keypoints": [900.0] * 51, "score": 0.1}
    assert _scored((annotations, [far, *made][::order])).metrics["mean_oks"] == 1
    far["score"] = 0.99
    assert _scored((annotations, [far, *made][::order])).metrics["mean_oks"] == 0.5


def test_whole_numbers_with_a_point_and_images_of_which_only_the_id_is_known(split):
    def change(document):
        document["images"] = [{"id": float(image["id"])} for image in document["images"]]
        for entry in document["annotations"]:
            for key in ("image_id", "category_id", "num_keypoints"):
                entry[key] = float(entry[key])

    for made in split[1]:
        made["image_id"], made["category_id"] = float(made["image_id"]), 1.0
    results = _scored(_changed(split, change))
    assert results.metrics["AP"] == 1
    assert results.image_names == ("1", "2")
    split[1][0]["image_id"] = 1.5
    with pytest.raises(DataError, match="needs a whole-numbered image_id"):
        _scored(split)


def test_nothing_to_score_on_is_one_line(split):
    def change(document):
        document["images"], document["annotations"] = [], []

    split[1].clear()
    with pytest.raises(DataError, match="needs at least one image, got none"):
        _scored(_changed(split, change))


def test_files_that_gzip_packed(split):
    annotations, _ = split
    expected = _scored(split).report()
    paths = [annotations, annotations.parent / "results.json"]
    packed = [path.with_name(f"{path.name}.gz") for path in paths]
    for path, other in zip(paths, packed, strict=True):
        other.write_bytes(gzip.compress(path.read_bytes()))
    assert str(CocoKeypoints().score_files(*packed).report()) == str(expected)
    packed[1].write_bytes(packed[1].read_bytes()[:30])
    with pytest.raises(DataError, match="must be JSON, got what gzip cannot unpack"):
        CocoKeypoints().score_files(*packed)


@pytest.mark.parametrize("options", [{"nms": 1.5}, {"box_score": -0.1}, {"decoding": "drak"}])
def test_options_that_cannot_be_had_are_one_line(options):
    (name,) = options
    with pytest.raises(BranchworkError, match=f"^coco_keypoints.{name}: the option is "):
        CocoKeypoints(**options)
