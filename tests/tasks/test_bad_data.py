"""Every way in which data can be wrong: one clear line, of the right class."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
import torch
from coco_folder import annotation_file, person, read, rewrite, write_split
from PIL import Image

from blocks import BranchworkError, DataError, ImageSize, check_image_size
from tasks import (
    TASKS,
    CocoKeypoints,
    SyntheticKeypoints,
    find_task,
    make_task,
)
from tasks import _images as images_module

SIZE = ImageSize(64, 48)


def open_val(folder, **options):
    return CocoKeypoints(**options).open(folder, "val", SIZE)


def refused(folder, **options):
    with pytest.raises(DataError) as caught:
        open_val(folder, **options)
    assert len(caught.value.problems) == 1
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    return line


def test_no_folder(tmp_path):
    assert refused(None) == (
        "coco_keypoints: the task needs a data folder, got none; give one with --data"
    )
    assert refused(tmp_path / "nowhere") == (
        f"{tmp_path / 'nowhere'}: the data folder must exist, got no such folder; "
        "give --data the folder's path"
    )
    (tmp_path / "file").write_text("")
    assert "got a file" in refused(tmp_path / "file")


def test_a_wrong_folder(tmp_path):
    assert "got no folder 'annotations'; give --data a folder that holds annotations/" in refused(
        tmp_path
    )
    (tmp_path / "annotations").mkdir()
    assert "got no person_keypoints_*.json in that folder" in refused(tmp_path)


def test_a_wrong_split(tmp_path):
    folder = write_split(tmp_path)
    line = refused(folder, val_split="vla2017")
    assert line.startswith(str(annotation_file(folder, "vla2017")))
    assert "did you mean 'val2017'? The folder has the splits val2017" in line


def test_a_split_without_its_images(tmp_path):
    folder = write_split(tmp_path)
    (folder / "val2017").rename(folder / "elsewhere")
    assert "split 'val2017' needs its images in val2017/ or images/val2017/" in refused(folder)


BYTES = {
    "empty": (b"", "Expecting value at line 1, column 1"),
    "cut off": (b'{"images": [', "Expecting value at line 1, column 13"),
    "binary": (b"\xff\xd8\xff\xe0", "other bytes"),
    "deep": (b"[" * 100_000, "other bytes"),
    "huge number": (b"[" + b"9" * 5000 + b"]", "other bytes"),
    "list": (b"[]", "a list"),
    "nothing in it": (b"{}", "none"),
    "words": (b'{"images": [], "annotations": ["a"]}', "something else"),
}


@pytest.mark.parametrize(("content", "got"), BYTES.values(), ids=BYTES)
def test_a_broken_annotation_file(tmp_path, content, got):
    folder = write_split(tmp_path)
    annotation_file(folder).write_bytes(content)
    line = refused(folder)
    assert line.startswith(f"{annotation_file(folder)}: an annotation file must")
    assert f"got {got}; " in line


ENTRIES = {
    "annotation without image": ({"image_id": 999}, "image_id must be among the images"),
    "no image id": ({"image_id": None}, "image_id must be among the images"),
    "listed image id": ({"image_id": [1]}, "image_id must be among the images"),
    "no id": ({"id": None}, "needs a whole-numbered id"),
    "fraction as id": ({"id": 1.5}, "needs a whole-numbered id"),
    "too large an id": ({"id": 2**70}, "needs a whole-numbered id"),
    "no category": ({"category_id": "person"}, "needs a whole-numbered id and category_id"),
    "no key points": ({"keypoints": None}, "51 numbers in keypoints"),
    "few key points": ({"keypoints": [1.0, 2.0, 2]}, "51 numbers in keypoints"),
    "words as key points": ({"keypoints": ["a"] * 51}, "51 numbers in keypoints"),
    "NaN": ({"keypoints": [math.nan] * 51}, "51 numbers in keypoints"),
    "infinite": ({"keypoints": [math.inf] * 51}, "51 numbers in keypoints"),
    "huge": ({"keypoints": [10**400] * 51}, "51 numbers in keypoints"),
    "short box": ({"bbox": [1, 2, 3]}, "4 numbers in bbox"),
    "no area": ({"area": None}, "4 numbers in bbox (left, top, width, height) and an area"),
}


@pytest.mark.parametrize(("changes", "rule"), ENTRIES.values(), ids=ENTRIES)
def test_a_wrong_annotation(tmp_path, changes, rule):
    people = [person(1, 1), person(7, 2, **changes)]
    line = refused(write_split(tmp_path, annotations=people))
    assert rule in line
    assert "got 1 otherwise, the first being annotation" in line


def test_annotations_without_images_name_the_first(tmp_path):
    people = [person(1, 1), person(31, 888), person(32, 999)]
    line = refused(write_split(tmp_path, annotations=people))
    assert "got 2 otherwise, the first being annotation 31 with image_id 888; " in line


def test_ids_that_stand_twice(tmp_path):
    people = [person(1, 1), person(1, 2)]
    assert "an id that stands twice" in refused(write_split(tmp_path, annotations=people))
    folder = write_split(tmp_path)
    document = read(folder)
    document["images"][1]["id"] = 1
    document["annotations"] = document["annotations"][:1]
    rewrite(folder, document)
    assert "2 images with 1 ids" in refused(folder)


@pytest.mark.parametrize(
    "changes",
    [{"id": "1"}, {"width": 0}, {"height": None}, {"file_name": 3}, {"width": 60.0}],
    ids=str,
)
def test_a_wrong_image_entry(tmp_path, changes):
    folder = write_split(tmp_path)
    document = read(folder)
    document["images"][0] |= changes
    rewrite(folder, document)
    assert "every image needs a whole-numbered id, width and height, and a file_name" in refused(
        folder
    )


def test_nobody_to_learn_from(tmp_path):
    line = refused(write_split(tmp_path, annotations=[person(1, 1, iscrowd=1)]))
    assert "needs a person with a labelled key point" in line
    assert "got nobody; " in line
    folder = write_split(tmp_path / "b", num_images=1)
    (folder / "val2017" / "0001.jpg").write_bytes(b"")
    assert "(unreadable: 0001.jpg: bytes that are no image, or not all of one)" in refused(folder)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


BROKEN = {
    "cut off": (_cut, "bytes that are no image, or not all of one"),
    "empty": (lambda _: b"", "bytes that are no image, or not all of one"),
    "text": (lambda _: b"<html>not found</html>", "bytes that are no image, or not all of one"),
    "missing": (None, "no such file"),
}


def _break(folder, number, how, split="val2017"):
    path = folder / split / f"{number:04d}.jpg"
    if how is None:
        path.unlink()
    else:
        path.write_bytes(how(path.read_bytes()))


@pytest.mark.parametrize(("how", "got"), BROKEN.values(), ids=BROKEN)
def test_one_bad_image_is_named_and_skipped_however_few_there_are(tmp_path, how, got):
    folder = write_split(tmp_path, num_images=3)
    _break(folder, 2, how)
    data = open_val(folder)
    assert data.skipped == (f"0002.jpg: {got}",)
    assert (len(data), data.num_images) == (2, 2)
    assert [data.eval_item(index).origin.image_id for index in range(2)] == [1, 3]
    predictions = [
        {"image_id": 1, "category_id": 1, "keypoints": [0.0] * 51, "score": 0.5},
    ]
    assert CocoKeypoints().score(data, predictions).num_images == 2


def _saved(folder, image, **options):
    path = folder / "val2017" / "0001.jpg"
    image.save(path, quality=95, **options)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_images_become_colours(tmp_path, mode):
    folder = write_split(tmp_path)
    ramp = np.tile(np.linspace(40, 200, 60).astype(np.uint8), (80, 1))
    _saved(folder, Image.fromarray(ramp).convert(mode))
    data = open_val(folder)
    assert data.skipped == ()
    red, green, blue = data.eval_item(0).image * torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    inside = slice(20, 40), slice(14, 34)
    mean = torch.tensor([0.485, 0.456, 0.406])
    assert ((red + mean[0]) - (green + mean[1]))[inside].abs().max() < 0.03
    assert ((red + mean[0]) - (blue + mean[2]))[inside].abs().max() < 0.03
    assert (red[30, 34] - red[30, 14]) > 0.1


def test_an_image_is_read_as_it_is_stored_whatever_its_exif_says(tmp_path):
    folder = write_split(tmp_path)
    plain = open_val(folder).eval_item(0).image
    image = Image.open(folder / "val2017" / "0001.jpg")
    image.load()
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by a quarter: key points are of the stored pixels.
    _saved(folder, image, exif=exif)
    data = open_val(folder)
    assert data.skipped == ()
    assert (data.eval_item(0).image - plain).abs().mean() < 0.1


def test_key_points_outside_the_image_weigh_nothing_in_learning_but_are_scored(tmp_path):
    far = [5000.0, -4000.0, 2] * 17
    people = [person(1, 1, keypoints=far), person(2, 2)]
    data = open_val(write_split(tmp_path, annotations=people))
    assert data.eval_item(0).weight.sum() == 0
    assert data.eval_item(1).weight.sum() == 17
    made = [
        {"image_id": number, "category_id": 1, "keypoints": entry["keypoints"], "score": 0.5}
        for number, entry in enumerate(people, 1)
    ]
    assert CocoKeypoints().score(data, made).metrics["AP"] == 1
    assert CocoKeypoints().score(data, made[1:]).metrics["AR"] == 0.5


def test_an_image_of_another_size_counts_as_unreadable(tmp_path):
    folder = write_split(tmp_path)
    document = read(folder)
    document["images"][0]["width"] = 61
    rewrite(folder, document)
    assert open_val(folder).skipped == ("0001.jpg: 80x60 where its annotations say 80x61",)


@pytest.mark.parametrize("name", ["", "a\0b.jpg", "../../0001.jpg", "x" * 5000])
def test_a_strange_file_name_is_an_unreadable_image(tmp_path, name):
    folder = write_split(tmp_path)
    document = read(folder)
    document["images"][0]["file_name"] = name
    rewrite(folder, document)
    data = open_val(folder)
    assert len(data.skipped) == 1
    assert len(data) == 1


def test_two_bad_images_of_few_are_fatal(tmp_path):
    folder = write_split(tmp_path, num_images=60)
    _break(folder, 2, _cut)
    _break(folder, 9, None)
    line = refused(folder)
    assert line.startswith(str(folder / "val2017"))
    assert "at most 1 % of a split's images, or one, may be missing or unreadable" in line
    assert "got 2 of 60: 0002.jpg (bytes that are no image, or not all of one), " in line
    assert "0009.jpg (no such file); restore the files" in line


def test_one_per_cent_of_many_is_not(tmp_path):
    folder = write_split(tmp_path, num_images=300)
    for number in (1, 2, 3):
        _break(folder, number, None)
    assert len(open_val(folder).skipped) == 3
    _break(folder, 4, None)
    assert "got 4 of 300: 0001.jpg (no such file), 0002.jpg" in refused(folder)
    assert "0003.jpg (no such file) and 1 more" in refused(folder)


def test_a_missing_image_without_people_counts_too(tmp_path):
    folder = write_split(tmp_path, num_images=3, annotations=[person(1, 1), person(2, 2)])
    _break(folder, 3, None)
    data = open_val(folder)
    assert data.skipped == ("0003.jpg: no such file",)
    assert data.num_images == 2


def test_a_split_that_does_not_fit_memory_is_looked_at_from_its_ends(tmp_path, monkeypatch):
    folder = write_split(tmp_path, num_images=4)
    _break(folder, 2, _cut)
    real = images_module.ImageStore
    monkeypatch.setattr("tasks._keypoints.ImageStore", lambda: real(cache_bytes=20_000))
    data = open_val(folder)
    assert data.skipped == ("0002.jpg: bytes that are no image, or not all of one",)
    for _ in range(2):
        assert [data.eval_item(index).origin.image_id for index in range(3)] == [1, 3, 4]
    # Broken later, it is named when it is needed and not in memory.
    _break(folder, 4, None)
    with pytest.raises(DataError, match=r"0004\.jpg: an image must be readable, got no such file"):
        data.eval_item(2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"junk that is no image" * 200, "bytes that are no image, or not all of one"),
        (cv2.imencode(".png", np.zeros((9, 7, 3), np.uint8))[1].tobytes(), "9x7 where its"),
    ],
)
def test_nor_does_a_large_split_take_other_bytes_for_images(tmp_path, monkeypatch, content, said):
    folder = write_split(tmp_path, num_images=4)
    next(folder.rglob("0002.jpg")).write_bytes(content)
    real = images_module.ImageStore
    monkeypatch.setattr("tasks._keypoints.ImageStore", lambda: real(cache_bytes=20_000))
    (skipped,) = open_val(folder).skipped
    assert skipped.startswith(f"0002.jpg: {said}")


def test_extra_fields_are_no_fault(tmp_path):
    folder = write_split(tmp_path)
    document = read(folder)
    document |= {"info": {}, "licenses": []}
    document["images"][0]["flickr_url"] = "x"
    document["annotations"][0]["segmentation"] = [[1, 2]]
    rewrite(folder, document)
    assert len(open_val(folder)) == 2


@pytest.mark.parametrize("option", ["num_train", "num_val"])
def test_options_of_the_synthetic_people_are_checked(option):
    with pytest.raises(BranchworkError, match=f"^synthetic_keypoints.{option}: .* got 0; "):
        SyntheticKeypoints(**{option: 0})


def test_a_task_that_cannot_be_trained_is_one_line():
    assert find_task("coco_keypoints") is CocoKeypoints
    with pytest.raises(BranchworkError, match="did you mean 'coco_keypoints'"):
        find_task("coco_keypoint")
    names = ("coco_keypoints", "mpii_keypoints", "cityscapes", "camvid")
    assert [find_task(name)().num_outputs for name in names] == [17, 16, 19, 11]
    with pytest.raises(BranchworkError, match="did you mean 'camvid'"):
        find_task("camvids")


def test_evaluation_settings_are_plain_data_and_tell_protocols_apart():
    settings = [
        CocoKeypoints().evaluation(),
        CocoKeypoints(flip_test=False).evaluation(),
        SyntheticKeypoints().evaluation(),
    ]
    texts = [json.dumps(one, sort_keys=True) for one in settings]
    assert len(set(texts)) == 3
    assert settings[0]["boxes"] == "ground_truth"
    assert not any(isinstance(value, np.generic) for one in settings for value in one.values())


def test_options_of_a_task_are_made_from_what_a_user_writes():
    task = make_task(CocoKeypoints, {"val_split": "val", "flip_test": False}, "task.")
    assert task == CocoKeypoints(val_split="val", flip_test=False)
    with pytest.raises(BranchworkError) as caught:
        make_task(CocoKeypoints, {"val_splits": "val", "flip_test": 1}, "task.")
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "task.val_splits: the task has the options flip_test, decoding, train_split, val_split"
    )
    assert first.endswith("did you mean 'val_split'?")
    assert second.startswith("task.flip_test: the option is of the kind of true, got 1;")


def test_every_task_says_what_its_networks_put_out_and_look_at():
    for entry in TASKS:
        task = entry.cls()
        assert task.name == entry.name
        assert task.num_outputs == len(set(task.outputs)) > 1
        assert task.metric in task.results.metric_names
        check_image_size("input", task.default_input, 32)
