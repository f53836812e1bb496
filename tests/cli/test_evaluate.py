"""``branchwork evaluate``: files and networks, JSON and tables, and what users get wrong."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.store import RunStore
from cli.networks import find_networks
from networks import initialise, spec_id, spec_to_dict
from training import Checkpoint, RunIdentity, save_checkpoint

COCO = "data/eval_reference/coco_val2017_507"
MPII = "data/eval_reference/mpii_val_pckh"
CITYSCAPES = "data/eval_reference/cityscapes_iou"


def _json(result):
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_coco_results_print_the_keys_of_the_official_numbers(command, shared_file):
    folder = shared_file(COCO)
    data = _json(
        command(
            *("evaluate", "coco_keypoints", "--json", "--seed", "3"),
            *("--annotations", folder / "gt.json"),
            *("--predictions", folder / "keypoint_predictions.json"),
        )
    )
    expected = json.loads((folder / "expected.json").read_text())
    for key in ("keypoint_stats", "keypoint_AP_per_oks_threshold_0.50_to_0.95"):
        assert data[key] == pytest.approx(expected[key], abs=1e-9)
    assert data["mean_oks"] is None
    assert data["PCK@0.1"] is None
    bootstrap = data["bootstrap"]
    assert (bootstrap["metric"], bootstrap["seed"], data["num_images"]) == ("AP", 3, 507)
    assert bootstrap["low"] < data["keypoint_stats"]["AP"] < bootstrap["high"]


def test_joints_and_label_images_do_too(command, shared_file):
    folder = shared_file(MPII)
    data = _json(
        command(
            *("evaluate", "mpii_keypoints", "--json"),
            *("--annotations", folder / "gt_valid.mat"),
            *("--predictions", folder / "mpii_val_2958.npz"),
        )
    )
    assert data["PCKh@0.5"]["Mean"] == pytest.approx(82.3367161, abs=1e-4)
    assert data["bootstrap"]["unit"] == "fraction"
    assert data["bootstrap"]["value"] == pytest.approx(data["PCKh@0.5"]["Mean"] / 100)
    assert "notes" not in data
    folder = shared_file(CITYSCAPES)
    data = _json(
        command(
            *("evaluate", "cityscapes", "--json"),
            *("--annotations", shared_file("data/cityscapes_mini")),
            *("--predictions", folder / "pred_labelIds"),
        )
    )
    expected = json.loads((folder / "expected.json").read_text())
    for key in ("class_iou", "mean_iou_as_reported", "category_iou", "mean_category_iou"):
        assert data[key] == pytest.approx(expected[key], abs=1e-9)


def test_people_get_a_table_with_units_and_the_interval(command, shared_file):
    folder = shared_file(COCO)
    result = command(
        *("evaluate", "coco_keypoints", "--nms", "0.5"),
        *("--annotations", folder / "gt.json"),
        *("--predictions", folder / "keypoint_predictions.json"),
    )
    assert result.code == 0
    assert "AP 0.3497 on 507 images, 95 % bootstrap interval over images 0.3" in result.out
    assert "fraction, 0 to 1" in result.out


def test_what_looks_odd_is_noted_beside_the_numbers(command, tmp_path):
    for folder, number in (("true", 7), ("made", 0)):
        (tmp_path / folder).mkdir()
        for name in ("a_0_0_gtFine_labelIds.png", "a_0_1_gtFine_labelIds.png"):
            Image.new("L", (4, 4), number).save(tmp_path / folder / name)
    arguments = ("evaluate", "cityscapes", "--annotations", "true", "--predictions", "made")
    result = command(*arguments, "--json")
    assert "note: the predictions look like train ids" in result.err
    assert _json(result)["notes"][0].startswith("the predictions look like train ids")
    result = command(*arguments)
    assert (result.code, "look like train ids" in result.err) == (0, True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained network, as a training run would have kept it."""
    folder = tmp_path_factory.mktemp("run")
    names = {"task": "synthetic_keypoints", "changes": None, "store": RunStore(folder)}
    spec = find_networks(["lite_hrnet_18"], **names)[0].spec
    module = spec.build()
    initialise(module, "kaiming", 0)
    path = folder / "last.ckpt"
    save_checkpoint(
        path,
        Checkpoint(
            identity=RunIdentity(
                spec_id=spec_id(spec),
                task="synthetic_keypoints",
                input="64x64",
                schedule={},
                data={},
                seed=0,
            ),
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


@pytest.fixture
def synthetic(tmp_path, monkeypatch):
    """A folder for rendered people, and the options of a small set."""
    monkeypatch.setenv("BRANCHWORK_CACHE", str(tmp_path / "cache"))
    return ("--option", "num_train=1", "--option", "num_val=3")


def test_a_network_s_predictions_score_the_same_from_their_file(
    command, checkpoint, synthetic, tmp_path
):
    data = _json(
        command(
            *("evaluate", "synthetic_keypoints", "--checkpoint", checkpoint, *synthetic),
            *("--save-predictions", "out/made.json", "--no-flip", "--json"),
        )
    )
    assert (data["num_images"], data["num_predictions"]) == (3, 3)
    assert data["input"] == "64x64"
    assert data["evaluation"]["flip_test"] is False
    assert data["mean_oks"] is not None
    assert 0 <= data["PCK@0.1"] <= 1
    truth = next((tmp_path / "cache").rglob("person_keypoints_val.json"))
    again = _json(
        command(
            *("evaluate", "synthetic_keypoints", "--annotations", truth),
            *("--predictions", "out/made.json", "--json"),
        )
    )
    for key in ("keypoint_stats", "mean_oks", "PCK@0.1", "bootstrap"):
        assert again[key] == data[key]


def test_the_network_s_own_split_and_its_training_split(command, checkpoint, synthetic):
    made = ("evaluate", "synthetic_keypoints", "--checkpoint", checkpoint, *synthetic, "--json")
    assert _json(command(*made, "--split", "train"))["num_images"] == 1
    result = command(*made, "--split", "test")
    assert result.code == 2
    assert "--split: the task has the splits train and val, got 'test'" in result.err
    named = _json(command(*made, "--network", "lite_hrnet_18", "--input", "32x32"))
    assert (named["network"], named["input"]) == ("lite_hrnet_18", "32x32")


def test_a_detector_s_boxes_dark_and_a_submission(command, checkpoint, shared_file, tmp_path):
    folder = shared_file("data/coco_mini")
    made = (
        *("evaluate", "coco_keypoints", "--checkpoint", checkpoint, "--data", folder),
        *("--boxes", "COCO_val2017_detections_AP_H_56_person.json", "--no-flip"),
        *("--option", "box_score=0.99", "--decoding", "dark", "--input", "32x32", "--json"),
    )
    data = _json(command(*made))
    settings = data["evaluation"]
    assert settings["boxes"] == "COCO_val2017_detections_AP_H_56_person.json"
    assert (settings["nms_threshold"], settings["decoding"]) == (0.9, "dark")
    assert data["num_images"] == 72
    data = _json(command(*made, "--submission", "sub/mine.json"))
    archive = tmp_path / data["submission"]
    assert archive.name == "person_keypoints_val2017_mine_results.zip"
    assert "keypoint_stats" not in data
    with zipfile.ZipFile(archive) as file:
        rows = json.loads(file.read(file.namelist()[0]))
    assert 0 < len(rows) <= data["num_predictions"]
    assert all(len(row["keypoints"]) == 51 and np.isfinite(row["score"]) for row in rows)


def test_what_users_get_wrong_is_one_line(command, checkpoint, synthetic, tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    (tmp_path / "a.json").write_text("[]")
    (tmp_path / "empty.json").write_text('{"images": [], "annotations": []}')
    base = ("evaluate", "synthetic_keypoints", *synthetic)
    for arguments, said in (
        (("evaluate", "coco_keypoint"), "did you mean 'coco_keypoints'"),
        (base, "either --annotations and --predictions are scored, or a --checkpoint, got none"),
        ((*base, "--annotations", "a.json"), "got --annotations; name two files"),
        (
            (*base, "--annotations", "a.json", "--predictions", "a.json", "--network", "x"),
            "got --annotations, --predictions, --network; name two files",
        ),
        (
            (*base, "--annotations", "none.json", "--predictions", "a.json"),
            "none.json: annotations are one JSON file in COCO's form, got no such file",
        ),
        (
            (*base, "--annotations", "empty.json", "--predictions", "a.json"),
            "empty.json: an annotation file needs at least one image, got none",
        ),
        ((*base, "--checkpoint", "none.ckpt"), "none.ckpt: a checkpoint is a file, got no such"),
        ((*base, "--checkpoint", "broken.pth"), "name the network with --network"),
        (
            (*base, "--checkpoint", "broken.pth", "--network", "lite_hrnet_18"),
            "broken.pth: a checkpoint is a file that torch.load opens",
        ),
        (
            (*base, "--checkpoint", checkpoint, "--network", "lite_hrnet_30"),
            "the checkpoint must be of lite_hrnet_30",
        ),
        (
            ("evaluate", "mpii_keypoints", "--checkpoint", checkpoint, "--data", "."),
            "the task needs a network with 16 outputs, got 17",
        ),
        (
            (*base, "--checkpoint", checkpoint, "--save-predictions", "a.txt"),
            "a.txt: predictions of the task are a file that ends in .json",
        ),
        ((*base, "--checkpoint", checkpoint, "--input", "30x30"), "--input"),
        ((*base, "--checkpoint", checkpoint, "--boxes", "b.json"), "--option boxes: the task has"),
        ((*base, "--checkpoint", checkpoint, "--accelerator", "gpu"), "one of auto, cpu, cuda"),
        (
            (*base, "--checkpoint", checkpoint, "--submission", "s.json"),
            "--submission: predictions are submitted where the labels of a split are secret",
        ),
    ):
        result = command(*arguments)
        assert result.code == 2, arguments
        assert said in result.err, result.err
        assert "Traceback" not in result.err
        assert result.out == ""
