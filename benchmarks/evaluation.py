"""Scoring COCO key points: ours beside pycocotools and faster-coco-eval, on one generated set."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.tables import Table, load_remark
from tasks import CocoKeypoints
from tasks._coco_files import read_annotations
from tasks._coco_results import read_results
from tasks._keypoint_arrays import Detections, People
from tasks._oks import score_arrays

_NUM_IMAGES = 5_000
_NUM_DETECTIONS = 100_000
_PEOPLE_PER_IMAGE = 2.2
_SEED = 0
_NUM_JOINTS = 17
_NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
_TOLERANCE = 1e-9


def run() -> Table:
    """Scores the set by every evaluator, from its result file and from what is in memory."""
    remark = load_remark()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        truth, made = _write_set(Path(folder))
        evaluators: dict[str, Callable[[Path, Path], tuple[float, float, dict[str, float]]]] = {
            "pycocotools": lambda *files: _by_pycocotools(COCO, COCOeval, *files)
        }
        if importlib.util.find_spec("faster_coco_eval"):
            evaluators["faster-coco-eval"] = _by_faster_coco_eval
        evaluators["branchwork"] = _by_ours
        base = None
        for name, evaluate in evaluators.items():
            gc.collect()
            whole_s, arrays_s, stats = evaluate(truth, made)
            base = base or (whole_s, arrays_s, stats)
            furthest = max(abs(stats[key] - base[2][key]) for key in _NAMES)
            assert furthest < _TOLERANCE, f"{name} differs by {furthest}"
            rows.append(
                (
                    name,
                    f"{whole_s:.1f}",
                    f"{base[0] / whole_s:.1f}",
                    f"{arrays_s:.2f}",
                    f"{base[1] / arrays_s:.1f}",
                    f"{stats['AP']:.6f}",
                )
            )
    return Table(
        title="Scoring COCO key points",
        method=f"{_NUM_IMAGES:,} generated images with {_PEOPLE_PER_IMAGE} people each on average "
        f"and {_NUM_DETECTIONS:,} detections, seed {_SEED}; from the result file: reading it, "
        "matching and all ten numbers, which agree to 1e-9; from arrays: the same without reading. "
        "Reading the annotation file is left out everywhere. One thread, one run each, in this "
        f"order.{remark}",
        head=(
            "evaluator",
            "from the result file, s",
            "times as fast",
            "from arrays, s",
            "times as fast",
            "AP",
        ),
        rows=rows,
    )


def _write_set(folder: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(_SEED)
    images = [
        {"id": number, "width": 640, "height": 480, "file_name": f"{number:06d}.jpg"}
        for number in range(1, _NUM_IMAGES + 1)
    ]
    annotations: list[dict[str, Any]] = []
    places: dict[int, list[tuple[Any, float]]] = {}
    for image in images:
        for _ in range(int(rng.poisson(_PEOPLE_PER_IMAGE))):
            height = rng.uniform(40, 300)
            left, top = rng.uniform(0, 500), rng.uniform(0, 350)
            flags = rng.integers(0, 3, _NUM_JOINTS) * (rng.random() < 0.6)  # noqa: PLR2004
            x = left + rng.uniform(0, height / 2, _NUM_JOINTS)
            y = top + rng.uniform(0, height, _NUM_JOINTS)
            keypoints = np.round(np.column_stack([x, y, flags]), 2)
            places.setdefault(image["id"], []).append((keypoints, height))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": 1,
                    "iscrowd": int(rng.random() < 0.02),  # noqa: PLR2004
                    "bbox": [left, top, height / 2, height],
                    "area": height**2 * 0.3,
                    "num_keypoints": int((flags > 0).sum()),
                    "keypoints": keypoints.ravel().tolist(),
                }
            )
    results = []
    for _ in range(_NUM_DETECTIONS):
        image_id = int(rng.integers(1, _NUM_IMAGES + 1))
        people = places.get(image_id)
        if people:
            true, height = people[rng.integers(len(people))]
            error = rng.choice([0.01, 0.04, 0.15]) * height
            keypoints = true + rng.normal(0, error, true.shape)
        else:
            keypoints = rng.uniform(0, 480, (_NUM_JOINTS, 3))
        results.append(
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": np.round(keypoints, 2).ravel().tolist(),
                "score": float(rng.random()),
            }
        )
    truth, made = folder / "truth.json", folder / "results.json"
    document = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    truth.write_text(json.dumps(document), encoding="utf-8")
    made.write_text(json.dumps(results), encoding="utf-8")
    return truth, made


def _by_pycocotools(
    coco_class: Any,  # noqa: ANN401 - two libraries have it
    evaluator_class: Any,  # noqa: ANN401
    truth: Path,
    made: Path,
) -> tuple[float, float, dict[str, float]]:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_class(str(truth))
        started = time.perf_counter()
        results = coco.loadRes(str(made))
        loaded = time.perf_counter()
        evaluation = evaluator_class(coco, results, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        done = time.perf_counter()
    stats = dict(zip(_NAMES, map(float, evaluation.stats[: len(_NAMES)]), strict=True))
    return done - started, done - loaded, stats


def _by_faster_coco_eval(truth: Path, made: Path) -> tuple[float, float, dict[str, float]]:
    import faster_coco_eval as fast

    return _by_pycocotools(fast.COCO, fast.COCOeval_faster, truth, made)


def _by_ours(truth: Path, made: Path) -> tuple[float, float, dict[str, float]]:
    file = read_annotations(truth)
    image_ids = np.array([image["id"] for image in file.images])
    people = People.of_annotations(file.annotations, _NUM_JOINTS)
    started = time.perf_counter()
    detections: Detections = read_results(made, image_ids)
    loaded = time.perf_counter()
    stats = score_arrays(image_ids, people, detections).report()["keypoint_stats"]
    done = time.perf_counter()
    whole = CocoKeypoints().score_files(truth, made).report()["keypoint_stats"]
    assert whole == stats
    return done - started, done - loaded, stats
