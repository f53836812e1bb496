"""Boxes of a detector: crops, scores, suppression, protocols and what can be wrong with them."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from coco_folder import annotation_file, person, read, write_split

from blocks import DataError, ImageSize
from tasks import CocoKeypoints, collate
from tasks._crops import apply_affine

SIZE = ImageSize(64, 48)


def box(image_id, score=0.5, /, **changes):
    return {
        "image_id": image_id,
        "category_id": 1,
        "bbox": [10.0, 10.0, 40.0, 55.0],
        "score": score,
        **changes,
    }


def _opened(folder, boxes, **options):
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return CocoKeypoints(boxes="boxes.json", **options).open(folder, "val", SIZE)


def test_a_detector_s_box_is_not_cut_to_the_image(tmp_path):
    data = _opened(write_split(tmp_path), [box(1, bbox=[-20.0, 10.0, 90.0, 120.0])])
    to_image = data.eval_item(0).origin.to_image
    assert apply_affine(to_image, np.array([[6.0, 8.0]]))[0] == pytest.approx([25, 70])
    # As tall as the box and a quarter.
    assert to_image[1, 1] * 16 == pytest.approx(1.25 * 120)


def test_only_confident_boxes_of_people_in_these_images_are_shown(tmp_path):
    boxes = [
        box(1, 0.9),
        box(1, 0.1),
        box(2, 0.3),
        box(2, 0.9, category_id=18),
        box(99, 0.9),
        box(2, 0.9, bbox=[5.0, 5.0, 0.0, 0.0]),
    ]
    data = _opened(write_split(tmp_path), boxes, box_score=0.2)
    origins = [data.eval_item(index).origin for index in range(len(data))]
    assert [(one.image_id, one.box_score, one.annotation_id) for one in origins] == [
        (1, 0.9, None),
        (2, 0.3, None),
    ]
    assert data.eval_item(0).weight.sum() == 0
    # Learning is always from the annotations' boxes.
    folder = write_split(tmp_path, "train2017")
    assert len(CocoKeypoints(boxes="boxes.json").open(folder, "train", SIZE)) == 2


def test_confidence_is_that_of_peaks_times_that_of_the_box(tmp_path):
    folder = write_split(tmp_path)
    task = CocoKeypoints(flip_test=False)
    own = task.open(folder, "val", SIZE)
    found = _opened(folder, [box(1, 0.25)])

    class Network(torch.nn.Module):
        def forward(self, image):
            return torch.linspace(0, 1, 17)[:, None, None].expand(len(image), 17, 16, 12)

    whole, part = (
        task.predict(Network(), collate([data.eval_item(0)]))[0]["score"] for data in (own, found)
    )
    assert whole == pytest.approx(np.linspace(0, 1, 17)[4:].mean())
    assert part == pytest.approx(whole * 0.25)


def test_of_two_boxes_of_one_person_the_weaker_one_goes(tmp_path):
    folder = write_split(tmp_path)
    task = CocoKeypoints(boxes="boxes.json", nms=0.9)
    data = _opened(folder, [box(1, 0.9), box(1, 0.5), box(2, 0.4)])
    made = [
        {
            "image_id": image,
            "category_id": 1,
            "keypoints": [*keypoints],
            "score": score,
            "area_px": 900.0,
        }
        for image, keypoints, score in (
            (1, person(1, 1)["keypoints"], 0.5),
            (1, person(1, 1)["keypoints"], 0.9),
            (2, person(2, 2)["keypoints"], 0.4),
        )
    ]
    task.write_predictions(data, made, tmp_path / "made.json")
    kept = json.loads((tmp_path / "made.json").read_text())
    assert [(one["image_id"], one["score"]) for one in kept] == [(1, 0.9), (2, 0.4)]
    assert set(kept[0]) == {"image_id", "category_id", "keypoints", "score"}
    results = task.score(data, made)
    assert results.metrics["AP"] == 1
    again = CocoKeypoints().score_files(annotation_file(folder), tmp_path / "made.json")
    assert str(again.report()) == str(results.report())
    assert len(results.rankings["all"].scores) == 2


def test_boxes_make_a_protocol_of_their_own_and_other_data(tmp_path):
    folder = write_split(tmp_path)
    settings = CocoKeypoints().evaluation()
    assert (settings["boxes"], settings["nms"]) == ("ground_truth", "none")
    theirs = CocoKeypoints(boxes="a/boxes.json", nms=0.9, box_score=0.1).evaluation()
    assert (theirs["boxes"], theirs["nms_threshold"]) == ("boxes.json", 0.9)
    assert theirs["box_score_threshold"] == 0.1
    assert CocoKeypoints(decoding="dark").evaluation() == {**settings, "decoding": "dark"}
    prints = {
        CocoKeypoints().open(folder, "val", SIZE).fingerprint,
        _opened(folder, [box(1, 0.9)]).fingerprint,
        _opened(folder, [box(1, 0.8)]).fingerprint,
    }
    assert len(prints) == 3


@pytest.mark.parametrize(
    ("boxes", "rule"),
    [
        ({}, "a detector's boxes are a list of objects, got no list"),
        ([box("a")], "every box needs a whole-numbered image_id and category_id"),
        ([box(1), box(2, bbox=[1, 2, 3])], "4 finite numbers in bbox (left, top, width, height)"),
        ([box(1, float("nan"))], "4 finite numbers in bbox (left, top, width, height) and a score"),
        ([box(98), box(99)], "got 2 boxes, none of them for one of 2 images"),
        ([], "got 0 boxes, none of them for one of 2 images"),
    ],
)
def test_wrong_boxes_are_one_line(tmp_path, boxes, rule):
    folder = write_split(tmp_path)
    with pytest.raises(DataError) as caught:
        _opened(folder, boxes)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_boxes_is_one_line(tmp_path):
    folder = write_split(tmp_path)
    with pytest.raises(
        DataError, match=r"none\.json: a detector's boxes are one JSON file, got no"
    ):
        CocoKeypoints(boxes="none.json").open(folder, "val", SIZE)


def _secret(tmp_path):
    """A split as of COCO's test images: no labels, and images in test2017."""
    folder = write_split(tmp_path / "data")
    document = read(folder)
    info = folder / "annotations" / "image_info_test-dev2017.json"
    info.write_text(json.dumps({"images": document["images"]}))
    (folder / "val2017").rename(folder / "test2017")
    return folder


def test_a_split_with_secret_labels_is_submitted_and_not_scored(tmp_path):
    folder = _secret(tmp_path)
    (folder / "boxes.json").write_text(json.dumps([box(1, 0.9), box(2, 0.4)]))
    task = CocoKeypoints(val_split="test-dev2017", boxes="boxes.json", nms=0.9)
    data = task.open(folder, "val", SIZE)
    made = [
        {
            "image_id": number,
            "category_id": 1,
            "keypoints": (np.array(person(1, 1)["keypoints"]) + 1 / 3).tolist(),
            "score": 1 / 3,
            "area_px": 900.0,
        }
        for number in (1, 2)
    ]
    archive = task.write_submission(data, made, tmp_path / "my_net 18.json")
    name = "person_keypoints_test-dev2017_my-net-18_results"
    assert archive == tmp_path / f"{name}.zip"
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == [f"{name}.json"]
        rows = json.loads(file.read(f"{name}.json"))
    assert [set(row) for row in rows] == [{"image_id", "category_id", "keypoints", "score"}] * 2
    assert rows[0]["score"] == 0.33333
    assert rows[0]["keypoints"][:3] == [12.33, 14.33, 2.33]
    again = task.write_submission(data, made, tmp_path / f"{name}.json")
    assert again == archive
    with pytest.raises(DataError, match="got a split whose labels are secret"):
        task.score(data, made)


def test_a_split_with_secret_labels_needs_boxes(tmp_path):
    task = CocoKeypoints(val_split="test-dev2017")
    with pytest.raises(DataError, match="are found by a detector, got no file with its boxes"):
        task.open(_secret(tmp_path), "val", SIZE)
