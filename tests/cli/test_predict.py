"""``branchwork predict`` and ``evaluate --errors``: what a network sees, and what goes wrong."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from analysis.store import RunStore
from cli.networks import find_networks
from networks import initialise, spec_id, spec_to_dict
from training import Checkpoint, RunIdentity, save_checkpoint

KEY_POINTS = "configs/networks/small_lite_hrnet.json"
SEGMENTATION = "configs/networks/small_lite_hrnet_seg.json"


def _untrained(folder, network, task, size):
    spec = find_networks([str(network)], task=task, changes=None, store=RunStore(folder))[0].spec
    module = spec.build()
    initialise(module, "kaiming", 0)
    identity = RunIdentity(
        spec_id=spec_id(spec), task=task, input=size, schedule={}, data={}, seed=0
    )
    path = folder / "last.ckpt"
    save_checkpoint(
        path,
        Checkpoint(
            identity=identity,
            spec=spec_to_dict(spec),
            step=0,
            model=module.state_dict(),
            optimiser={},
            rng=torch.get_rng_state(),
            curve=[],
            losses=[],
            elapsed_s=0.0,
        ),
    )
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory, root):
    """An untrained network for key points."""
    folder = tmp_path_factory.mktemp("p")
    return _untrained(folder, root / KEY_POINTS, "coco_keypoints", "64x64")


@pytest.fixture(scope="module")
def streets(tmp_path_factory, root):
    """An untrained network for segmentation."""
    folder = tmp_path_factory.mktemp("s")
    return _untrained(folder, root / SEGMENTATION, "synthetic_segmentation", "96x128")


@pytest.fixture
def photos(tmp_path):
    """Images of several kinds: two of one name, a grey one, a CMYK one, a broken one."""
    rng = np.random.default_rng(0)
    for name, size in (("a/x.jpg", (90, 120)), ("b/x.jpg", (60, 50)), ("b/grey.png", (40, 70))):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = () if "grey" in name else (3,)
        cv2.imwrite(str(path), rng.integers(0, 256, (*size, *channels), np.uint8))
    inks = rng.integers(0, 256, (30, 44, 4), np.uint8)
    Image.fromarray(inks, mode="CMYK").save(tmp_path / "photos" / "cmyk.jpeg")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    return tmp_path / "photos"


def _json(result):
    assert result.code == 0, result.err
    return json.loads(result.out)


def _size(path):
    with Image.open(path) as image:
        return image.size


def test_every_image_gets_an_overlay_of_its_size(command, people, photos, tmp_path):
    data = _json(command("predict", "-", people, photos, "--no-flip", "--out", "seen", "--json"))
    names = {one["image"].rpartition("photos/")[2]: one["overlay"] for one in data["images"]}
    assert names == {
        "a/x.jpg": "seen/a_x_jpg.jpg",
        "b/x.jpg": "seen/b_x_jpg.jpg",
        "b/grey.png": "seen/grey.png",
        "cmyk.jpeg": "seen/cmyk.jpg",
    }
    for name, overlay in names.items():
        assert _size(tmp_path / overlay) == _size(photos / name)
    assert len(data["skipped"]) == 1
    assert "broken.jpg: an image must be readable" in data["skipped"][0]
    assert (data["task"], data["input"]) == ("coco_keypoints", "64x64")
    assert data["evaluation"]["flip_test"] is False
    rows = json.loads((tmp_path / "seen" / "predictions.json").read_text())
    assert rows == data["predictions"]
    assert sorted(row["image"] for row in rows) == ["cmyk.jpeg", "grey.png", "x.jpg", "x.jpg"]
    assert len({row["name"] for row in rows}) == 4
    assert all(len(row["keypoints"]) == 51 and row["category_id"] == 1 for row in rows)


def test_without_boxes_it_says_so_and_with_them_people_are_where_they_say(
    command, people, photos, root, tmp_path
):
    image = photos / "a" / "x.jpg"
    result = command("predict", root / KEY_POINTS, people, image)
    assert result.code == 0
    assert "every image is taken for one person's box" in result.err
    assert (tmp_path / "predictions" / "x.jpg").is_file()
    boxes = ("--box", "10,20,30,40", "--box", "70,5,20,30")
    result = command("predict", "-", people, image, *boxes, "--json")
    assert "is taken for one" not in result.err
    first, second = (
        np.array(row["keypoints"]).reshape(17, 3)[:, :2] for row in _json(result)["predictions"]
    )
    # A square crop of 1.25 times the longer side around the box's centre.
    assert (np.abs(first - (25, 40)) <= 25 + 1).all()
    assert (np.abs(second - (80, 20)) <= 18.75 + 1).all()


def _box_files(folder):
    annotations = {
        "images": [{"id": 7, "file_name": "x.jpg"}, {"id": 8, "file_name": "sub/none.jpg"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 40, 40]},
            {"image_id": 7, "category_id": 1, "bbox": [50, 20, 40, 60]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 90, 90], "iscrowd": 1},
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(annotations))
    found = [
        {"image_id": 139, "category_id": 1, "bbox": [0, 0, 40, 40], "score": 0.9},
        {"image_id": 139, "category_id": 1, "bbox": [0, 0, 40, 40], "score": 0.2},
        {"image_id": 139, "category_id": 3, "bbox": [0, 0, 40, 40], "score": 0.9},
        {"image_id": 140, "category_id": 1, "bbox": [0, 0, 40, 40], "score": 0.9},
    ]
    (folder / "detections.json").write_text(json.dumps(found))


def test_boxes_come_from_annotations_or_a_detector_by_the_file_s_name(
    command, people, photos, tmp_path
):
    _box_files(tmp_path)
    image = photos / "a" / "x.jpg"
    (photos / "none.jpg").write_bytes(image.read_bytes())
    (photos / "000000000139.jpg").write_bytes(image.read_bytes())
    made = ("predict", "-", people, image, photos / "none.jpg", "--json")
    data = _json(command(*made, "--boxes", "annotations.json"))
    assert [row["image_id"] for row in data["predictions"]] == [7, 7]
    assert [one["num_predictions"] for one in data["images"]] == [2, 0]
    made = ("predict", "-", people, photos / "000000000139.jpg", "--json", "--boxes")
    data = _json(command(*made, "detections.json"))
    assert [row["image_id"] for row in data["predictions"]] == [139]
    assert len(_json(command(*made, "detections.json", "--box-score", "0"))["predictions"]) == 2


def test_label_images_score_as_the_network_does(command, streets, tmp_path, monkeypatch):
    monkeypatch.setenv("BRANCHWORK_CACHE", str(tmp_path / "cache"))
    few = ("--option", "num_train=1", "--option", "num_val=3")
    made = ("evaluate", "synthetic_segmentation", "--checkpoint", streets, *few, "--errors")
    expected = _json(command(*made, "--errors-plot", "errors.svg", "--json"))
    assert (tmp_path / "errors.svg").stat().st_size
    (images,) = (path for path in (tmp_path / "cache").rglob("val") if path.is_dir())
    data = _json(command("predict", "-", streets, images, "--out", "seen", "--json"))
    assert (data["task"], len(data["images"])) == ("synthetic_segmentation", 3)
    for row in data["predictions"]:
        assert (tmp_path / "seen" / row["labels"]).is_file()
        assert sum(row["class_shares"].values()) == pytest.approx(1)
    assert _size(data["images"][0]["overlay"]) == (128, 96)
    assert (tmp_path / data["legend"]).is_file()
    again = _json(
        command(
            *("evaluate", "synthetic_segmentation", "--annotations", images.parent, "--json"),
            *("--predictions", "seen/labels", "--errors"),
        )
    )
    for key in ("class_iou", "mean_iou_as_reported", "errors"):
        assert again[key] == expected[key]
    for name, row in again["errors"]["per_class"].items():
        assert row["iou"] == again["class_iou"][name]


def test_errors_of_a_network_are_those_of_its_file(command, people, tmp_path, monkeypatch):
    monkeypatch.setenv("BRANCHWORK_CACHE", str(tmp_path / "cache"))
    few = ("--option", "num_train=1", "--option", "num_val=4")
    base = ("evaluate", "synthetic_keypoints", "--errors", "--json")
    made = (*base, "--checkpoint", people, *few, "--no-flip", "--save-predictions", "made.json")
    errors = _json(command(*made))["errors"]
    assert "Ronchi and Perona" in errors["convention"]
    assert (errors["num_matched_people"], errors["num_unmatched_people"]) == (4, 0)
    kinds = ("good", "jitter", "inversion", "swap", "miss")
    assert sum(errors["all"][kind] for kind in kinds) == pytest.approx(1)
    truth = next((tmp_path / "cache").rglob("person_keypoints_val.json"))
    made = (*base, "--annotations", truth, "--predictions", "made.json")
    assert _json(command(*made))["errors"] == errors
    result = command(*made[:-5], "--annotations", truth, "--predictions", "made.json")
    assert "left_wrist" in result.out
    assert "jitter" in result.out


def test_what_users_get_wrong_is_one_line(command, people, streets, photos, tmp_path):
    _box_files(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.json").write_text("{}")
    image = photos / "a" / "x.jpg"
    base = ("predict", "-", people)
    for arguments, said in (
        ((*base, "none.jpg"), "none.jpg: an image must exist, got no such file"),
        ((*base, "empty"), "empty: images end in .jpg"),
        ((*base, photos / "broken.jpg"), "broken.jpg: an image must be readable"),
        ((*base, image, "--box", "1,2,3"), "a box is left, top, width and height in pixels"),
        ((*base, image, "--box", "1,2,0,4"), "a box has a width and a height"),
        ((*base, image, "--box", "500,2,4,4"), "a box lies in the image, at least in part"),
        ((*base, image, "--boxes", "detections.json"), "boxes of none of the 1 images"),
        ((*base, image, "--boxes", "none.json"), "boxes are one JSON file, got no such file"),
        ((*base, image, "--boxes", "text.json"), "boxes are an annotation file in COCO's form"),
        (
            (*base, image, "--boxes", "annotations.json", "--box", "1,2,3,4"),
            "boxes come from a file, or are written down, got both",
        ),
        ((*base, image, "--out", photos / "a"), "overlays do not replace the images"),
        ((*base, image, "--out", "text.json"), "--out is a folder that can be written to"),
        ((*base, image, "--input", "30x30"), "--input"),
        ((*base, image, "--set", "branches=3"), "a network that is named can be changed"),
        ((*base, image, "--task", "mpii_keypoints"), "a network with 16 outputs, got 17"),
        ((*base, image, "--task", "coco_keypoint"), "did you mean 'coco_keypoints'"),
        (("predict", "-", "none.ckpt", image), "none.ckpt: a checkpoint is a file"),
        (("predict", "lite_hrnet_30", people, image), "the checkpoint must be of lite_hrnet_30"),
        (
            ("predict", "-", streets, image, "--box", "1,2,3,4"),
            "whole images are shown to this task's networks, got boxes",
        ),
        (
            ("evaluate", "coco_keypoints", "--checkpoint", people, "--errors-plot", "a.txt"),
            "a picture's name ends in .svg, .pdf, .png",
        ),
        (
            (
                *("evaluate", "coco_keypoints", "--checkpoint", people, "--errors"),
                *("--submission", "a.json"),
            ),
            "errors are seen where there are labels",
        ),
    ):
        result = command(*arguments)
        assert result.code == 2, (arguments, result.out)
        assert said in result.err, result.err
        assert "Traceback" not in result.err
        assert result.out == ""
