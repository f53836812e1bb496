"""AP and OKS: equal to pycocotools on real data, and under the weights of a bootstrap."""

from __future__ import annotations

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from blocks import DataError
from tasks._oks import keypoint_similarity, score_keypoints

FOLDER = "data/eval_reference/coco_val2017_507"
METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def _loaded(folder):
    names = ("gt", "expected")
    truth, expected = (json.loads((folder / f"{name}.json").read_text()) for name in names)
    return truth, expected


@pytest.fixture(scope="module")
def reference(shared_file):
    folder = shared_file(FOLDER)
    predictions = json.loads((folder / "keypoint_predictions.json").read_text())
    examples = json.loads((folder / "oks_examples.json").read_text())
    return *_loaded(folder), predictions, examples


def _pycocotools(truth, predictions):
    """The ten numbers by pycocotools alone, as its command would print them."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        made = coco.loadRes(copy.deepcopy(predictions))
        evaluation = COCOeval(coco, made, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def test_the_ten_numbers_of_the_reference(reference):
    truth, expected, predictions, _ = reference
    results = score_keypoints(truth["images"], truth["annotations"], predictions)
    assert {name: results.metrics[name] for name in METRICS} == pytest.approx(
        expected["keypoint_stats"], abs=1e-9
    )
    ones = np.ones((1, results.num_images))
    assert results.rankings["all"].average_precision(ones)[0] == pytest.approx(
        expected["keypoint_AP_per_oks_threshold_0.50_to_0.95"], abs=1e-9
    )
    assert results.score(ones)[0] == pytest.approx(expected["keypoint_stats"]["AP"], abs=1e-9)


def test_a_part_of_the_images_by_weights_and_by_leaving_out(reference):
    truth, expected, predictions, _ = reference
    part = sorted(image["id"] for image in truth["images"])[:60]
    images = [image for image in truth["images"] if image["id"] in part]
    kept = [
        [entry for entry in entries if entry["image_id"] in part]
        for entries in (truth["annotations"], predictions)
    ]
    stats = expected["keypoint_stats_first_60_image_ids_sorted"]
    results = score_keypoints(images, *kept)
    assert {name: results.metrics[name] for name in METRICS} == pytest.approx(stats, abs=1e-9)
    whole = score_keypoints(truth["images"], truth["annotations"], predictions)
    weights = (np.arange(whole.num_images) < 60)[None]
    assert whole.score(weights)[0] == pytest.approx(stats["AP"], abs=1e-9)


def test_perfect_predictions(reference):
    truth, expected, _, _ = reference
    people = [entry for entry in truth["annotations"] if entry["num_keypoints"] > 0]
    predictions = [
        {
            "image_id": entry["image_id"],
            "category_id": 1,
            "annotation_id": entry["id"],
            "keypoints": entry["keypoints"],
            "score": 1.0 - 1e-5 * index,
        }
        for index, entry in enumerate(people)
    ]
    results = score_keypoints(truth["images"], truth["annotations"], predictions)
    stats = expected["keypoint_stats_perfect_predictions"]
    for name in METRICS:
        # APl depends on who, of two that overlap, is the more confident.
        tolerance = 1e-3 if name == "APl" else 1e-9
        assert results.metrics[name] == pytest.approx(stats[name], abs=tolerance), name
    assert results.metrics["AP"] == 1
    assert results.mean_oks == results.metrics["PCK@0.1"] == 1


def test_real_output_of_a_network(shared_file):
    folder = shared_file("data/eval_reference/coco_keypoints_1img")
    truth, expected = _loaded(folder)
    predictions = json.loads((folder / "predictions.json").read_text())
    results = score_keypoints(truth["images"], truth["annotations"], predictions)
    assert {name: results.metrics[name] for name in METRICS} == pytest.approx(
        expected["keypoint_stats"], abs=1e-9
    )


def test_similarities_of_the_reference(reference):
    truth, _, predictions, examples = reference
    num_compared = 0
    for example in examples:
        number = example["image_id"]
        people = [entry for entry in truth["annotations"] if entry["image_id"] == number]
        made = [entry for entry in predictions if entry["image_id"] == number]
        made.sort(key=lambda entry: -entry["score"])
        matrix = np.array(example["oks_dt_by_gt"])
        assert matrix.shape == (min(20, len(made)), len(people))
        for column, entry in enumerate(people):
            # Without a labelled key point pycocotools measures the distance to the box instead.
            if entry["num_keypoints"] > 0:
                ours = [keypoint_similarity(entry, row["keypoints"]) for row in made[:20]]
                assert ours == pytest.approx(matrix[:, column], abs=1e-9)
                num_compared += len(ours)
    assert num_compared > 50


def _split(rng, num_images):
    """Random people, crowds and unlabelled ones, and predictions of every quality."""
    images = [{"id": 10 * index + 3} for index in range(num_images)]
    annotations, predictions = [], []
    for image in images:
        for _ in range(rng.integers(0, 4)):
            x, y, size = rng.uniform(20, 300, 3)
            flags = rng.integers(0, 3, 17) * (rng.random() < 0.9)
            keypoints = np.column_stack([x + rng.normal(0, size / 3, (17, 2)), flags])
            keypoints[flags == 0] = 0
            entry = {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": 1,
                "iscrowd": int(rng.random() < 0.1),
                "bbox": [x, y, size, size],
                "area": float(size**2 * 0.5),
                "num_keypoints": int((flags > 0).sum()),
                "keypoints": keypoints.ravel().tolist(),
            }
            annotations.append(entry)
            for _ in range(rng.integers(0, 3)):
                error = rng.normal(0, rng.choice([0.01, 0.06, 0.4]) * size, (17, 2))
                made = np.column_stack([keypoints[:, :2] + error, np.ones(17)])
                predictions.append(
                    {
                        "image_id": image["id"],
                        "category_id": 1,
                        "annotation_id": entry["id"],
                        "keypoints": made.ravel().tolist(),
                        "score": float(rng.random()),
                    }
                )
    return images, annotations, predictions


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), num_images=st.integers(1, 6))
def test_a_whole_weight_counts_an_image_so_often(seed, num_images):
    rng = np.random.default_rng(seed)
    images, annotations, predictions = _split(rng, num_images)
    results = score_keypoints(images, annotations, predictions)
    weights = rng.integers(0, 4, num_images)
    score = results.score([weights, np.ones(num_images)])

    copied = {"images": [], "annotations": [], "categories": [{"id": 1}]}
    copied_predictions = []
    for image, weight in zip(images, weights, strict=True):
        for _ in range(weight):
            number = len(copied["images"]) + 1
            copied["images"].append({"id": number})
            for entry in annotations:
                if entry["image_id"] == image["id"]:
                    one = {**entry, "image_id": number, "id": len(copied["annotations"]) + 1}
                    copied["annotations"].append(one)
            copied_predictions += [
                {**made, "image_id": number}
                for made in predictions
                if made["image_id"] == image["id"]
            ]
    for truth, made, ours in (
        (copied, copied_predictions, score[0]),
        ({**copied, "images": images, "annotations": annotations}, predictions, score[1]),
    ):
        if not made:
            # pycocotools cannot even be asked.
            assert np.isnan(ours) or ours == 0
            continue
        expected = _pycocotools(truth, made).stats[0]
        assert ours == pytest.approx(np.nan if expected == -1 else expected, abs=1e-12, nan_ok=True)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31))
def test_all_metrics_are_those_of_pycocotools(seed):
    images, annotations, predictions = _split(np.random.default_rng(seed), 5)
    if not predictions:
        return
    results = score_keypoints(images, annotations, predictions)
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    stats = _pycocotools(truth, predictions).stats
    expected = dict(zip(METRICS, np.where(stats == -1, np.nan, stats), strict=True))
    ours = {name: results.metrics[name] for name in METRICS}
    assert ours == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_mean_oks_counts_the_missing_as_nothing():
    images, annotations, _ = _split(np.random.default_rng(4), 6)
    people = [e for e in annotations if e["num_keypoints"] > 0 and not e["iscrowd"]]
    assert len(people) > 3
    predictions = [
        {
            "image_id": entry["image_id"],
            "annotation_id": entry["id"],
            "keypoints": entry["keypoints"],
            "score": 0.5,
        }
        for entry in people[:2]
    ]
    results = score_keypoints(images, annotations, predictions)
    assert results.mean_oks == pytest.approx(2 / len(people))
    num_joints = [entry["num_keypoints"] for entry in people]
    assert results.metrics["PCK@0.1"] == pytest.approx(sum(num_joints[:2]) / sum(num_joints))


def test_nothing_given_is_changed_and_nothing_is_printed(capsys):
    split = _split(np.random.default_rng(1), 4)
    before = copy.deepcopy(split)
    score_keypoints(*split)
    assert split == before
    assert capsys.readouterr() == ("", "")


def test_a_split_without_anyone_has_no_score():
    results = score_keypoints([{"id": 1}, {"id": 2}], [], [])
    assert np.isnan(results.metrics["AP"])
    assert np.isnan(results.score([[1, 1]])).all()
    assert np.isnan(results.mean_oks)
    assert np.isnan(results.metrics["PCK@0.1"])


def test_weights_of_another_form_are_refused():
    results = score_keypoints(*_split(np.random.default_rng(1), 4))
    for weights in ([1, 1, 1, 1], [[1, 1, 1]], [[1, 1, 1, -1]], [[1, 1, 1, np.nan]]):
        with pytest.raises(ValueError, match=r"of shape \(R, 4\)"):
            results.score(weights)


def test_a_prediction_for_another_image_is_one_line():
    images, annotations, predictions = _split(np.random.default_rng(1), 4)
    with pytest.raises(DataError, match="got 1 for others, the first for image 999") as caught:
        score_keypoints(images, annotations, [*predictions, {**predictions[0], "image_id": 999}])
    assert "\n" not in str(caught.value)


def test_two_networks_beside_each_other_are_weighed_as_one_data_set(reference):
    truth, _, predictions, _ = reference
    worse = predictions[::2]
    first, second = (
        score_keypoints(truth["images"], truth["annotations"], made)
        for made in (predictions, worse)
    )
    both = first.beside(second)
    swapped = np.random.default_rng(0).integers(2, size=first.num_images)
    ids = [int(name) for name, swap in zip(first.image_names, swapped, strict=True) if swap]
    mixed = [
        made
        for source, wanted in ((predictions, False), (worse, True))
        for made in source
        if (made["image_id"] in ids) is wanted
    ]
    expected = score_keypoints(truth["images"], truth["annotations"], mixed)
    weights = np.concatenate([1 - swapped, swapped])[None]
    for metric in (*METRICS, "mean_oks", "PCK@0.1"):
        ours = both.score(weights, metric)[0]
        assert ours == pytest.approx(expected.metrics[metric], abs=1e-12, nan_ok=True)


def test_results_come_back_from_a_file_of_arrays(reference, tmp_path):
    truth, _, predictions, _ = reference
    results = score_keypoints(truth["images"], truth["annotations"], predictions)
    np.savez(tmp_path / "results.npz", **results.arrays())
    with np.load(tmp_path / "results.npz", allow_pickle=False) as arrays:
        again = type(results).from_arrays(arrays)
    assert again.image_names == results.image_names
    # As text: NaN is not equal to itself.
    assert str(again.metrics) == str(results.metrics)
    assert str(again.report()) == str(results.report())
