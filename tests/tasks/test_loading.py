"""Real people: every one loads, and his key points come back out of the targets."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from coco_folder import annotation_file, person, read, rewrite, write_split

from blocks import BranchworkError, ImageSize
from tasks import CocoKeypoints, collate
from tasks._crops import apply_affine
from tasks._heatmaps import decode
from tasks._keypoint_predictions import heat_maps
from tasks._keypoints import KeypointData, mirrored_joints
from tasks._outputs import COCO_JOINTS

MIRRORED_JOINTS = mirrored_joints(COCO_JOINTS)

SETS = {
    "coco_mini train": ("data/coco_mini", "train2017", 143),
    "coco_mini val": ("data/coco_mini", "val2017", 128),
    "coco_mini extra": ("data/coco_mini", "extra2017", 86),
    "lspet val": ("data/lspet_coco", "val", 997),
}


@dataclass
class _Labels:
    points: np.ndarray
    labelled: np.ndarray


def _labels(folder, split):
    entries = json.loads(annotation_file(folder, split).read_text())["annotations"]
    found = {}
    for entry in entries:
        points = np.array(entry["keypoints"], dtype=float).reshape(17, 3)
        found[entry["id"]] = _Labels(points[:, :2], points[:, 2] > 0)
    return found


def _check_way_back(item, labels, size):
    """Targets, decoded and mapped to the image, are the labels up to half a heat-map pixel."""
    height, width = size.height // 4, size.width // 4
    points, _ = decode(item.target[None].numpy())
    back = apply_affine(item.origin.to_image, points)[0]
    inverse = np.linalg.inv(item.origin.to_image[:, :2])
    errors = np.abs((back - labels.points) @ inverse.T)
    on_map = (labels.points - item.origin.to_image[:, 2]) @ inverse.T
    inside = np.all((on_map >= 0) & (on_map <= [width - 1, height - 1]), axis=1)
    checked = labels.labelled & inside
    assert (item.weight.numpy() <= labels.labelled).all()
    assert (item.weight.numpy()[checked] == 1).all()
    assert (errors[checked] <= 0.5 + 1e-6).all()
    return int(checked.sum())


@pytest.mark.parametrize(("name", "split", "num_people"), SETS.values(), ids=SETS)
def test_every_person_loads_and_comes_back(shared_file, name, split, num_people):
    folder, size = shared_file(name), ImageSize(96, 64)
    data = CocoKeypoints(val_split=split).open(folder, "val", size)
    labels = _labels(folder, split)
    assert len(data) == num_people
    assert data.skipped == ()
    num_checked = num_labelled = 0
    for index in range(len(data)):
        item = data.eval_item(index)
        assert item.image.shape == (3, 96, 64)
        assert item.image.dtype == item.target.dtype == item.weight.dtype == torch.float32
        assert torch.isfinite(item.image).all()
        assert item.image.std() > 0.02
        num_checked += _check_way_back(item, labels[item.origin.annotation_id], size)
        num_labelled += int(labels[item.origin.annotation_id].labelled.sum())
    assert num_checked > 0.98 * num_labelled


def test_augmented_people_come_back_too(shared_file):
    folder, size = shared_file("data/coco_mini"), ImageSize(128, 96)
    data = CocoKeypoints().open(folder, "train", size)
    labels = _labels(folder, "train2017")
    num_checked = num_mirrored = 0
    for index in range(len(data)):
        item = data.train_item(index, 5)
        mirrored = bool(np.linalg.det(item.origin.to_image[:, :2]) < 0)
        mine = labels[item.origin.annotation_id]
        if mirrored:
            order = list(MIRRORED_JOINTS)
            mine = _Labels(mine.points[order], mine.labelled[order])
        num_mirrored += mirrored
        num_checked += _check_way_back(item, mine, size)
    assert num_checked > 1000
    assert 40 < num_mirrored < 110


def test_the_train_split_of_the_sports_people_opens(shared_file):
    task = CocoKeypoints(train_split="train", val_split="val")
    data = task.open(shared_file("data/lspet_coco"), "train", ImageSize(64, 48))
    assert (len(data), data.num_images, data.skipped) == (4973, 4973, ())
    assert all(data.train_item(index, 0).weight.sum() > 0 for index in range(0, 4973, 250))
    # Face points are never labelled there.
    assert data.eval_item(0).weight[:5].sum() == 0


def test_a_seed_gives_one_item_and_another_seed_another(tmp_path):
    data = CocoKeypoints().open(write_split(tmp_path), "val", ImageSize(64, 48))
    assert torch.equal(data.train_item(0, 7).image, data.train_item(0, 7).image)
    assert not torch.equal(data.train_item(0, 7).image, data.train_item(0, 8).image)
    assert not np.array_equal(
        data.train_item(0, 7).origin.to_image, data.train_item(1, 7).origin.to_image
    )
    assert torch.equal(data.eval_item(1).target, data.eval_item(1).target)


def test_left_and_right_change_places():
    assert sorted(MIRRORED_JOINTS) == list(range(17))
    for joint, other in enumerate(MIRRORED_JOINTS):
        assert MIRRORED_JOINTS[other] == joint
        swapped = COCO_JOINTS[joint].replace("left", "?").replace("right", "left")
        assert COCO_JOINTS[other] == swapped.replace("?", "right")


def test_the_flip_test_of_a_symmetric_network_finds_what_one_pass_finds(tmp_path):
    # A "network" that knows the target, and its mirror image as HRNet's shift expects it.
    data = CocoKeypoints().open(write_split(tmp_path), "val", ImageSize(64, 48))
    batch = collate([data.eval_item(0), data.eval_item(1)])

    class Oracle(torch.nn.Module):
        def forward(self, image):
            if torch.equal(image, batch.image):
                return batch.target
            assert torch.equal(image, batch.image.flip(3))
            maps = batch.target[:, list(MIRRORED_JOINTS)]
            return torch.cat([maps[..., 1:], maps[..., -1:]], dim=3).flip(3)

    single = heat_maps(Oracle(), batch.image, flip_test=False, mirrored=MIRRORED_JOINTS)
    both = heat_maps(Oracle(), batch.image, flip_test=True, mirrored=MIRRORED_JOINTS)
    assert torch.equal(single, batch.target)
    assert torch.allclose(both[..., 1:], single[..., 1:], atol=1e-6)


@pytest.mark.parametrize("flip_test", [False, True])
def test_a_network_that_knows_the_answer_scores_one(shared_file, flip_test):
    task = CocoKeypoints(flip_test=flip_test)
    data = task.open(shared_file("data/coco_mini"), "val", ImageSize(256, 192))
    predictions = []
    for index in range(len(data)):
        batch = collate([data.eval_item(index)])
        straight, target = batch.image, batch.target

        class Oracle(torch.nn.Module):
            def forward(self, image, straight=straight, target=target):
                if torch.equal(image, straight):
                    return target
                maps = target[:, list(MIRRORED_JOINTS)]
                return torch.cat([maps[..., 1:], maps[..., -1:]], dim=3).flip(3)

        predictions += task.predict(Oracle(), batch)
    metrics = task.score(data, predictions).metrics
    # Heat maps cannot name key points to more than half of their pixels.
    assert metrics["AP"] > 0.95
    assert metrics["AP50"] == pytest.approx(1, abs=0.005)
    assert metrics["mean_oks"] > 0.94


def test_labels_as_predictions_score_one(shared_file):
    task = CocoKeypoints()
    data = task.open(shared_file("data/coco_mini"), "val", ImageSize(64, 48))
    assert isinstance(data, KeypointData)
    predictions = [
        {**entry, "annotation_id": entry["id"], "score": 1 - index * 1e-4}
        for index, entry in enumerate(data.truth.coco.annotations)
        if entry["num_keypoints"] and not entry["iscrowd"]
    ]
    metrics = task.score(data, predictions).metrics
    assert metrics["AP"] == metrics["AR"] == metrics["mean_oks"] == 1


def test_crowds_empty_boxes_and_people_without_labels_are_scored_but_not_shown(tmp_path):
    blank = [0] * 51
    people = [
        person(1, 1),
        person(2, 1, iscrowd=1),
        person(3, 1, num_keypoints=0, keypoints=blank),
        person(4, 2, bbox=[70, 90, 10, 10]),
        person(5, 2, bbox=[10, 10, 0, 0]),
        person(6, 2, area=0),
        person(7, 2, bbox=[-20, -10, 500, 500]),
        person(8, 2, bbox=[30, 30, 20, 49.5]),
    ]
    data = CocoKeypoints().open(write_split(tmp_path, annotations=people), "val", ImageSize(64, 48))
    shown = [data.eval_item(index).origin.annotation_id for index in range(len(data))]
    assert shown == [1, 7, 8]
    assert isinstance(data, KeypointData)
    assert [entry["id"] for entry in data.truth.coco.annotations] == list(range(1, 9))
    assert data.num_images == 2


def test_number_of_key_points_is_counted_where_it_is_not_said(tmp_path):
    one = person(1, 1)
    del one["num_keypoints"]
    data = CocoKeypoints().open(write_split(tmp_path, annotations=[one]), "val", ImageSize(64, 48))
    assert isinstance(data, KeypointData)
    assert data.truth.coco.annotations[0]["num_keypoints"] == 17


def test_images_may_lie_under_images(tmp_path):
    folder = write_split(tmp_path)
    (folder / "images").mkdir()
    (folder / "val2017").rename(folder / "images" / "val2017")
    assert len(CocoKeypoints().open(folder, "val", ImageSize(64, 48))) == 2


def test_the_fingerprint_tells_data_apart_wherever_they_lie(tmp_path):
    def fingerprint(folder):
        return CocoKeypoints().open(folder, "val", ImageSize(64, 48)).fingerprint

    first = fingerprint(write_split(tmp_path / "a"))
    assert first == fingerprint(write_split(tmp_path / "elsewhere" / "b"))
    changed = write_split(tmp_path / "c")
    document = read(changed)
    document["annotations"][0]["keypoints"][0] += 1
    rewrite(changed, document)
    assert fingerprint(changed) != first
    (tmp_path / "a" / "val2017" / "0001.jpg").unlink()
    assert fingerprint(tmp_path / "a") != first


def test_an_input_that_heat_maps_do_not_divide_is_refused(tmp_path):
    with pytest.raises(BranchworkError, match="66x48"):
        CocoKeypoints().open(write_split(tmp_path), "val", ImageSize(66, 48))
