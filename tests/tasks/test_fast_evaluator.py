"""Our matching gives the numbers of pycocotools and of faster-coco-eval on random sets."""

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

from tasks import CocoKeypoints
from tasks._oks import score_keypoints

METRICS = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def _crowded_split(rng):
    """Images of up to 9 people and 30 predictions, with ties of score and of similarity."""
    images = [{"id": int(number)} for number in rng.permutation(40)[:6]]
    annotations, predictions = [], []
    for image in images:
        places = []
        for _ in range(rng.integers(0, 10)):
            if places and rng.random() < 0.2:
                # Someone in the very same place: equally similar to everything.
                keypoints, size = places[-1]
            else:
                x, size = rng.uniform(20, 200, 2)
                flags = rng.integers(0, 3, 17) * (rng.random() < 0.8)
                keypoints = np.column_stack([x + rng.normal(0, size / 3, (17, 2)), flags])
            places.append((keypoints, size))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": 1,
                    "iscrowd": int(rng.random() < 0.15),
                    "bbox": [*keypoints[:, :2].min(axis=0).tolist(), size, size],
                    "area": float(size**2 * 0.5),
                    "num_keypoints": int((keypoints[:, 2] > 0).sum()),
                    "keypoints": keypoints.ravel().tolist(),
                }
            )
        for _ in range(rng.integers(0, 31) if places else 1):
            near, size = places[rng.integers(len(places))] if places else (np.zeros((17, 3)), 9)
            made = near + rng.normal(0, rng.choice([0, 0.03, 0.1, 0.5]) * size, (17, 3))
            predictions.append(
                {
                    "image_id": image["id"],
                    "category_id": 1,
                    "keypoints": made.ravel().tolist(),
                    "score": float(rng.integers(0, 12)) / 10,
                }
            )
    return images, annotations, predictions


def _stats(coco_class, evaluator_class, split):
    images, annotations, predictions = copy.deepcopy(split)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_class()
        truth.dataset = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "person"}],
        }
        truth.createIndex()
        evaluation = evaluator_class(truth, truth.loadRes(predictions), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = np.array(evaluation.stats[:10], dtype=np.float64)
    return dict(zip(METRICS, np.where(stats == -1, np.nan, stats), strict=True))


@given(seed=st.integers(0, 2**31))
def test_ties_crowds_and_full_images_as_pycocotools_has_them(seed):
    split = _crowded_split(np.random.default_rng(seed))
    ours = score_keypoints(*split).metrics
    expected = _stats(COCO, COCOeval, split)
    assert {name: ours[name] for name in METRICS} == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31), first=st.sampled_from(["box", "none", "empty"]))
def test_areas_are_of_boxes_if_the_first_prediction_has_one(seed, first, tmp_path_factory):
    rng = np.random.default_rng(seed)
    images, annotations, predictions = _crowded_split(rng)
    for made in predictions:
        made["category_id"] = int(rng.choice([1, 1, 1, 2]))
        made["bbox"] = [0.0, 0.0, *rng.uniform(5, 200, 2).tolist()]
    people = [made for made in predictions if made["category_id"] == 1]
    if not people:
        return
    if first == "none":
        del predictions[0]["bbox"]
    elif first == "empty":
        predictions[0]["bbox"] = []
    split = (images, annotations, predictions)
    expected = _stats(COCO, COCOeval, split)
    folder = tmp_path_factory.mktemp("files")
    (folder / "gt.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    (folder / "made.json").write_text(json.dumps(predictions))
    ours = CocoKeypoints().score_files(folder / "gt.json", folder / "made.json").metrics
    assert {name: ours[name] for name in METRICS} == pytest.approx(expected, abs=1e-12, nan_ok=True)


@settings(max_examples=5)
@given(seed=st.integers(0, 2**31))
def test_the_same_as_faster_coco_eval(seed):
    fast = pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed")
    images, annotations, predictions = _crowded_split(np.random.default_rng(seed))
    # It breaks ties of score in an order of its own.
    for index, made in enumerate(predictions):
        made["score"] += 1e-4 * index
    split = (images, annotations, predictions)
    ours = score_keypoints(*split).metrics
    expected = _stats(fast.COCO, fast.COCOeval_faster, split)
    assert {name: ours[name] for name in METRICS} == pytest.approx(expected, abs=1e-9, nan_ok=True)
