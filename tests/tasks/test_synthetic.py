"""Synthetic people: the same for a seed everywhere, on disk whole or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from blocks import DataError, ImageSize
from tasks import SyntheticKeypoints
from tasks._rendered_sets import ensure_rendered
from tasks._synthetic_files import SyntheticSet
from tasks._synthetic_scenes import CHUNK, IMAGE_SIZE, RENDERER_REVISION, render_chunk

SIZE = ImageSize(64, 48)
TASK = SyntheticKeypoints(num_train=6, num_val=4)
FOLDER = f"synthetic_keypoints-6-4-seed0-r{RENDERER_REVISION}"

MEANS = [130.192, 134.389, 132.332]
DEVIATION = 41.911
NUM_KEYPOINTS = [15, 17, 14, 17, 13, 17, 17, 17]
KEYPOINTS = [89.69, 79.56, 2, 93.63, 77.34, 2, 86.19, 76.19, 2]
FLAGS = [61, 168, 859]
BOXES = [[55, 66, 46, 94], [73, 53, 43, 91]]
RAISE = "the renderer draws otherwise than before: raise RENDERER_REVISION, then these numbers"


def test_a_seed_gives_the_images_that_it_always_gave():
    assert RENDERER_REVISION == 2
    samples = render_chunk(0, 0, 0)
    pixels = np.stack([sample.image for sample in samples]).astype(float)
    # Wide enough for another OpenCV's smooth edges, too narrow for another picture.
    assert pixels.mean(axis=(0, 1, 2)) == pytest.approx(MEANS, abs=0.3), RAISE
    assert pixels.std() == pytest.approx(DEVIATION, abs=0.3), RAISE
    annotations = [sample.annotation for sample in samples]
    assert [entry["num_keypoints"] for entry in annotations[:8]] == NUM_KEYPOINTS, RAISE
    assert annotations[0]["keypoints"][:9] == pytest.approx(KEYPOINTS, abs=0.02), RAISE
    flags = np.bincount([int(flag) for entry in annotations for flag in entry["keypoints"][2::3]])
    assert flags == pytest.approx(np.array(FLAGS), abs=6), RAISE
    boxes = np.array([entry["bbox"] for entry in annotations[:2]])
    assert boxes == pytest.approx(np.array(BOXES), abs=1), RAISE


def test_equal_seeds_are_equal_and_others_are_not():
    def digest(seed, stream, chunk):
        return b"".join(sample.image.tobytes() for sample in render_chunk(seed, stream, chunk)[:3])

    first = digest(0, 0, 0)
    assert first == digest(0, 0, 0)
    assert len({first, digest(1, 0, 0), digest(0, 1, 0), digest(0, 0, 1)}) == 4


def test_more_people_do_not_change_the_first(tmp_path):
    few = ensure_rendered(SyntheticSet(num_train=3, num_val=2, seed=4), tmp_path)
    many = ensure_rendered(SyntheticSet(num_train=CHUNK + 2, num_val=1, seed=4), tmp_path)
    for name in ("000001.jpg", "000003.jpg"):
        assert (few / "train" / name).read_bytes() == (many / "train" / name).read_bytes()
    assert len(list((many / "train").iterdir())) == CHUNK + 2
    assert (few / "val" / "000001.jpg").read_bytes() != (few / "train/000001.jpg").read_bytes()


def test_pycocotools_reads_what_is_written(tmp_path):
    TASK.open(tmp_path, "train", SIZE)
    for split, num in (("train", 6), ("val", 4)):
        path = tmp_path / FOLDER / "annotations" / f"person_keypoints_{split}.json"
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(path)
        assert len(coco.getImgIds()) == len(coco.getAnnIds()) == num
        for entry in coco.loadAnns(coco.getAnnIds(catIds=[1])):
            keypoints = np.array(entry["keypoints"]).reshape(17, 3)
            assert entry["num_keypoints"] == (keypoints[:, 2] > 0).sum() > 0
            assert set(keypoints[:, 2]) <= {0, 1, 2}
            assert (keypoints[keypoints[:, 2] == 0] == 0).all()
            x, y, width, height = entry["bbox"]
            assert 0 <= x < x + width <= IMAGE_SIZE.width
            assert 0 <= y < y + height <= IMAGE_SIZE.height
            assert 0 < entry["area"] <= width * height
            seen = keypoints[keypoints[:, 2] == 2]
            slack = 0.2 * max(width, height)
            assert (seen[:, 0] > x - slack).all()
            assert (seen[:, 0] < x + width + slack).all()


def test_people_are_varied_enough_to_tell_networks_apart():
    annotations = [sample.annotation for chunk in range(3) for sample in render_chunk(0, 0, chunk)]
    flags = np.array([entry["keypoints"][2::3] for entry in annotations])
    assert 0.08 < (flags == 1).mean() < 0.4
    assert 0.05 < (flags == 0).mean() < 0.4
    heights = np.array([entry["bbox"][3] for entry in annotations])
    assert heights.std() > 15
    points = np.array([entry["keypoints"] for entry in annotations]).reshape(-1, 17, 3)
    # Most people face the viewer, but a network that takes that for granted pays for it.
    left_is_left = points[:, 5, 0] < points[:, 6, 0]
    assert 0.08 < left_is_left.mean() < 0.3


def test_a_set_is_rendered_once_and_read_after(tmp_path):
    first = TASK.open(tmp_path, "val", SIZE)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / FOLDER).rglob("*")}
    again = TASK.open(tmp_path, "val", SIZE)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / FOLDER).rglob("*")} == stamps
    assert first.fingerprint == again.fingerprint
    assert torch.equal(first.eval_item(2).image, again.eval_item(2).image)
    assert (len(first), len(TASK.open(tmp_path, "train", SIZE))) == (4, 6)


def _cut(folder):
    path = folder / "train" / "000002.jpg"
    path.write_bytes(path.read_bytes()[:200])


def _same_size(folder):
    path = folder / "val" / "000003.jpg"
    path.write_bytes(b"x" * path.stat().st_size)


def _labels(folder):
    path = folder / "annotations" / "person_keypoints_val.json"
    path.write_bytes(b"x" * path.stat().st_size)


DAMAGES = {
    "cut image": _cut,
    "other bytes in an image": _same_size,
    "other bytes in the labels": _labels,
    "no image": lambda folder: (folder / "val" / "000001.jpg").unlink(),
    "no labels": lambda folder: (folder / "annotations" / "person_keypoints_val.json").unlink(),
    "no split": lambda folder: shutil.rmtree(folder / "val"),
    "not finished": lambda folder: (folder / "complete.json").unlink(),
    "broken inventory": lambda folder: (folder / "complete.json").write_text("["),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_set_is_rendered_again(tmp_path, damage):
    whole = TASK.open(tmp_path, "val", SIZE)
    damage(tmp_path / FOLDER)
    opened = TASK.open(tmp_path, "val", SIZE)
    assert opened.skipped == ()
    assert opened.fingerprint == whole.fingerprint
    assert all(torch.equal(opened.eval_item(i).image, whole.eval_item(i).image) for i in range(4))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f".{FOLDER}.lock", FOLDER]


def test_processes_that_render_at_once_do_not_collide(tmp_path, root):
    program = (
        "import sys; from pathlib import Path; from blocks import ImageSize\n"
        "from tasks import SyntheticKeypoints\n"
        "data = SyntheticKeypoints(num_train=300, num_val=4).open(\n"
        "    Path(sys.argv[1]), 'val', ImageSize(64, 48))\n"
        "sys.stdout.write(f'{data.fingerprint} {len(data)} {data.skipped}')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(root)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate() for process in processes]
    assert outputs[0] == outputs[1]
    said, complaint = outputs[0]
    assert complaint == ""
    assert said.endswith(" 4 ()")
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 1


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path):
    old, new = (tmp_path / f".synthetic_keypoints-{name}" for name in ("old", "new"))
    old.mkdir()
    new.mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    TASK.open(tmp_path, "val", SIZE)
    assert not old.exists()
    assert new.exists()


def test_the_cache_folder_is_the_one_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BRANCHWORK_CACHE", str(tmp_path / "cache"))
    TASK.open(None, "val", SIZE)
    inventory = json.loads((tmp_path / "cache" / FOLDER / "complete.json").read_text())
    assert inventory["train"]["num_files"] == 6


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("kept")
    for data in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError) as caught:
            TASK.open(data, "val", SIZE)
        line = str(caught.value)
        assert line.startswith(f"{data}: the synthetic data set needs a folder to be kept in")
        assert "give another one with --data or BRANCHWORK_CACHE" in line
        assert "\n" not in line
    assert (tmp_path / "file").read_text() == "kept"
