"""Synthetic street scenes: the same for a seed everywhere, on disk whole or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from blocks import BranchworkError, DataError, ImageSize
from tasks import SyntheticSegmentation
from tasks._outputs import STREET_CLASSES
from tasks._synthetic_streets import STREET_SIZE, STREETS_REVISION, render_street

SIZE = ImageSize(48, 64)
TASK = SyntheticSegmentation(num_train=4, num_val=3)
FOLDER = f"synthetic_segmentation-4-3-seed0-r{STREETS_REVISION}"

MEANS = [129.109, 128.240, 128.358]
DEVIATION = 38.688
SHARES = [0.40312, 0.04789, 0.25328, 0.06020, 0.18124, 0.00515, 0.04041, 0.00449, 0.00421]
RAISE = "the renderer draws otherwise than before: raise STREETS_REVISION, then these numbers"


def test_a_seed_gives_the_scenes_that_it_always_gave():
    assert STREETS_REVISION == 1
    streets = [render_street(0, 0, index) for index in range(32)]
    pixels = np.stack([street.image for street in streets]).astype(float)
    assert pixels.shape == (32, STREET_SIZE.height, STREET_SIZE.width, 3)
    # Wide enough for another OpenCV's smooth edges, too narrow for another picture.
    assert pixels.mean(axis=(0, 1, 2)) == pytest.approx(MEANS, abs=0.3), RAISE
    assert pixels.std() == pytest.approx(DEVIATION, abs=0.3), RAISE
    labels = np.stack([street.labels for street in streets])
    shares = np.bincount(labels.ravel(), minlength=9) / labels.size
    assert len(shares) == len(STREET_CLASSES) + 1
    assert shares == pytest.approx(SHARES, abs=5e-4), RAISE


def test_equal_seeds_are_equal_and_others_are_not():
    first = render_street(0, 0, 0).image.tobytes()
    assert first == render_street(0, 0, 0).image.tobytes()
    others = {render_street(*key).image.tobytes() for key in ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
    assert len(others | {first}) == 4


def test_scenes_are_what_a_camera_on_a_road_sees():
    streets = [render_street(3, 0, index) for index in range(20)]
    labels = np.stack([street.labels for street in streets])
    road, sky = STREET_CLASSES.index("road"), STREET_CLASSES.index("sky")
    assert (labels[:, -1] == road).mean() > 0.5
    assert (labels[:, :5] == road).sum() == 0
    assert (labels[:, -20:] == sky).sum() == 0
    for number in range(len(STREET_CLASSES)):
        assert (labels == number).any(axis=(1, 2)).sum() >= 8


def test_a_set_is_rendered_once_and_read_after(tmp_path):
    data = TASK.open(tmp_path, "train", SIZE)
    assert (len(data), data.skipped) == (4, ())
    inventory = json.loads((tmp_path / FOLDER / "complete.json").read_text())
    assert {part: row["num_files"] for part, row in inventory.items()} == {
        "train": 4,
        "trainannot": 4,
        "val": 3,
        "valannot": 3,
    }
    written = (tmp_path / FOLDER / "complete.json").stat().st_mtime_ns
    again = TASK.open(tmp_path, "train", SIZE)
    assert again.fingerprint == data.fingerprint
    assert (tmp_path / FOLDER / "complete.json").stat().st_mtime_ns == written
    assert TASK.open(tmp_path, "val", SIZE).fingerprint != data.fingerprint


def test_a_damaged_set_is_rendered_again(tmp_path):
    fingerprint = TASK.open(tmp_path, "val", SIZE).fingerprint
    path = tmp_path / FOLDER / "valannot" / "000002.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    assert TASK.open(tmp_path, "val", SIZE).fingerprint == fingerprint
    (tmp_path / FOLDER / "val" / "000001.jpg").unlink()
    assert TASK.open(tmp_path, "val", SIZE).fingerprint == fingerprint


def test_its_own_labels_are_perfect(tmp_path):
    TASK.open(tmp_path, "val", SIZE)
    folder = tmp_path / FOLDER
    results = TASK.score_files(folder, folder / "valannot")
    assert results.metrics["mIoU"] == 1
    assert results.image_names == ("000001", "000002", "000003")


def test_options_that_are_too_small():
    with pytest.raises(BranchworkError) as caught:
        SyntheticSegmentation(num_train=0, seed=-1)
    assert len(caught.value.problems) == 2


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(DataError, match="needs a folder to be kept in"):
        TASK.open(tmp_path / "file", "val", SIZE)
