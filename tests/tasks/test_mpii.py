"""MPII: people and crops as HRNet has them, training, PCKh, and every way it can be wrong."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from mpii_folder import mpii_person, write_mpii, write_truth
from scipy.io import savemat

from blocks import DataError, ImageSize
from networks import lite_hrnet_18
from tasks import MpiiKeypoints, collate
from tasks._crops import apply_affine
from tasks._mpii_errors import diagnose_points
from tasks._outputs import MPII_JOINTS
from tasks._pck import PckTruth, score_points
from training import Schedule, train

SIZE = ImageSize(64, 64)


def _perfect(data, offset_px=(0.0, 0.0)):
    """The labels as predictions, in pixels from 0, moved a little."""
    made = []
    for index in range(len(data)):
        item = data.eval_item(index)
        row = item.origin.annotation_id
        points = data.truth.points_px[row] - 1 + np.array(offset_px)
        keypoints = np.column_stack([points, np.ones(len(points))])
        made.append(
            {
                "image_id": item.origin.image_id,
                "annotation_id": row,
                "keypoints": keypoints.ravel().tolist(),
                "score": 1.0,
            }
        )
    return made


def test_a_crop_is_hrnet_s(tmp_path):
    data = MpiiKeypoints().open(write_mpii(tmp_path / "mpii"), "train", SIZE)
    to_image = data.eval_item(0).origin.to_image
    # The centre counted from 0 and moved down by 15 times the scale; 1.25 * 200 px * the scale.
    middle = apply_affine(to_image, np.array([[8.0, 8.0]]))[0]
    assert middle == pytest.approx([40.0, 50 + 15 * 0.3])
    assert to_image[0, 0] * 16 == pytest.approx(1.25 * 200 * 0.3)


def test_left_and_right_of_a_mirrored_person_change_places(tmp_path):
    joints_vis = [int(name.startswith("left")) for name in MPII_JOINTS]
    people = [mpii_person("001.jpg", joints_vis=joints_vis)] * 2
    folder = write_mpii(tmp_path / "mpii", {"train": people, "valid": people})
    data = MpiiKeypoints().open(folder, "train", SIZE)
    seen = set()
    for seed in range(20):
        item = data.train_item(0, seed)
        mirrored = np.linalg.det(item.origin.to_image[:, :2]) < 0
        side = "right" if mirrored else "left"
        weighed = {MPII_JOINTS[joint] for joint in item.weight.nonzero().ravel().tolist()}
        assert weighed
        assert all(name.startswith(side) for name in weighed)
        seen.add(bool(mirrored))
    assert seen == {True, False}


def test_labels_score_one_and_those_just_too_far_do_not(tmp_path):
    task = MpiiKeypoints()
    data = task.open(write_mpii(tmp_path / "mpii"), "val", SIZE)
    assert (len(data), data.num_images) == (3, 2)
    # A head is 30 px long: 0.6 times the diagonal of its box.
    for offset_px, near, nearer in (
        (0, 1, 1),
        (2.9, 1, 1),
        (3.1, 1, 0),
        (14.9, 1, 0),
        (15.1, 0, 0),
    ):
        results = task.score(data, _perfect(data, (offset_px, 0)))
        assert results.metrics["PCKh@0.5"] == near
        assert results.metrics["PCKh@0.1"] == nearer
    assert results.image_names == ("005.jpg", "006.jpg")
    assert results.num_visible[:, 0].tolist() == [2, 1]


def test_images_weigh_by_their_visible_joints(tmp_path):
    few = [1] * 4 + [0] * 12
    people = [mpii_person("005.jpg"), mpii_person("006.jpg", joints_vis=few)]
    task = MpiiKeypoints()
    folder = write_mpii(tmp_path / "mpii", {"train": people, "valid": people})
    data = task.open(folder, "val", SIZE)
    made = _perfect(data)
    made[1]["keypoints"] = [0.0] * 48
    results = task.score(data, made)
    # 14 joints count of the first; pelvis and thorax do not.
    assert results.metrics["PCKh@0.5"] == pytest.approx(14 / 18)
    weights = [[1, 1], [2, 1], [0, 1], [0, 0]]
    assert results.score(weights) == pytest.approx([14 / 18, 28 / 32, 0, np.nan], nan_ok=True)
    both = results.beside(task.score(data, _perfect(data)))
    assert both.score([[1, 0, 0, 1]])[0] == 1
    again = type(results).from_arrays(results.arrays())
    assert str(again.report()) == str(results.report())


@pytest.mark.parametrize("name", ["made.npz", "made.mat"])
def test_predictions_come_back_from_their_file_with_the_same_score(tmp_path, name):
    task = MpiiKeypoints()
    folder = write_mpii(tmp_path / "mpii")
    data = task.open(folder, "val", SIZE)
    made = _perfect(data, (3.1, 0))[::-1]
    task.write_predictions(data, made, tmp_path / "out" / name)
    for truth in (folder, folder / "annot", folder / "annot" / "gt_valid.mat"):
        results = task.score_files(truth, tmp_path / "out" / name)
        assert results.report() == task.score(data, made).report()
        assert results.image_names == ("005.jpg", "006.jpg")


def test_a_made_up_set_can_be_learnt(tmp_path):
    task = MpiiKeypoints(flip_test=False)
    folder = write_mpii(tmp_path / "mpii")
    run = train(
        lite_hrnet_18().with_outputs(task.num_outputs),
        task,
        task_name="mpii_keypoints",
        train_data=task.open(folder, "train", SIZE),
        val_data=task.open(folder, "val", SIZE),
        size=SIZE,
        schedule=Schedule(steps=2, batch=2, lr=1e-3, num_evals=1),
        seed=0,
        checkpoint_path=tmp_path / "last.ckpt",
    )
    assert len(run.losses) == 2
    assert 0 <= run.results.metrics["PCKh@0.5"] <= 1


def test_the_real_five_people_load_and_come_back(shared_file):
    task = MpiiKeypoints()
    data = task.open(shared_file("data/mpii_mini"), "val", ImageSize(256, 256))
    assert (len(data), data.skipped) == (5, ())
    batch = collate([data.eval_item(index) for index in range(len(data))])

    class Oracle(torch.nn.Module):
        def forward(self, image):
            return batch.target

    results = task.score(data, MpiiKeypoints(flip_test=False).predict(Oracle(), batch))
    assert results.metrics["PCKh@0.5"] == 1


def _refused(folder, split="val"):
    with pytest.raises(DataError) as caught:
        MpiiKeypoints().open(folder, split, SIZE)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_mat_is_one_line_and_only_where_it_is_needed(tmp_path):
    folder = write_mpii(tmp_path / "mpii")
    (folder / "annot" / "gt_valid.mat").unlink()
    assert len(MpiiKeypoints().open(folder, "train", SIZE)) == 4
    line = _refused(folder)
    assert line.startswith(str(folder / "annot" / "gt_valid.mat"))
    assert "PCKh is measured in sizes of heads, which only this file has, got no such file" in line
    np.savez(tmp_path / "made.npz", preds=np.zeros((3, 16, 2)))
    with pytest.raises(DataError, match=r"gt_valid\.mat: PCKh is measured"):
        MpiiKeypoints().score_files(folder, tmp_path / "made.npz")


def test_a_broken_mat_is_one_line(tmp_path):
    folder = write_mpii(tmp_path / "mpii")
    path = folder / "annot" / "gt_valid.mat"
    for content in (b"", b"no matrix at all", path.read_bytes()[:200]):
        path.write_bytes(content)
        assert "arrays are read from a .npz or .npy file, or a .mat file" in _refused(folder)
    savemat(path, {"jnt_missing": np.zeros((16, 3))})
    assert "got none called pos_gt_src, headboxes_src" in _refused(folder)
    write_truth(folder, "valid", [mpii_person("005.jpg")])
    assert "got 1 people, and 3 in the annotation file" in _refused(folder)


def test_a_wrong_folder_or_split_is_one_line(tmp_path):
    assert "the data folder must exist, got no such folder" in _refused(tmp_path / "none")
    folder = write_mpii(tmp_path / "mpii")
    with pytest.raises(DataError, match="did you mean 'valid'"):
        MpiiKeypoints(val_split="vaild").open(folder, "val", SIZE)
    (folder / "images").rename(folder / "elsewhere")
    assert "MPII's images lie in images/, got no such folder" in _refused(folder)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"image": 3}, "an image name"),
        ({"center": [1.0]}, "2 numbers in center"),
        ({"center": [math.nan, 1.0]}, "2 numbers in center"),
        ({"scale": 0}, "a scale over 0"),
        ({"joints": [[1.0, 2.0]] * 14}, "16 pairs of numbers in joints"),
        ({"joints_vis": None}, "16 numbers in joints_vis"),
    ],
)
def test_a_wrong_person_is_one_line(tmp_path, changes, rule):
    folder = write_mpii(tmp_path / "mpii")
    path = folder / "annot" / "train.json"
    people = json.loads(path.read_text())
    people[2] |= changes
    path.write_text(json.dumps(people))
    line = _refused(folder, "train")
    assert f"every person needs {rule}, got 1 otherwise, the first being entry 2" in line


def test_an_unreadable_image_is_skipped_by_name_and_no_file_is_written_without_it(tmp_path):
    people = [mpii_person(f"{number:03d}.jpg") for number in range(3)]
    folder = write_mpii(tmp_path / "mpii", {"train": people, "valid": people})
    (folder / "images" / "001.jpg").write_bytes(b"none")
    task = MpiiKeypoints()
    data = task.open(folder, "val", SIZE)
    assert data.skipped == ("001.jpg: bytes that are no image, or not all of one",)
    results = task.score(data, _perfect(data))
    assert results.metrics["PCKh@0.5"] == 1
    assert results.image_names == ("000.jpg", "002.jpg")
    with pytest.raises(DataError, match="has a row for everyone, got 1 unreadable images"):
        task.write_predictions(data, _perfect(data), tmp_path / "made.npz")
    with pytest.raises(DataError, match="everyone in the split has one prediction, got 1"):
        task.score(data, _perfect(data)[:1])


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ({"other": np.zeros((3, 14, 2))}, "predicted joints are an array called preds, got other"),
        ({"preds": np.zeros((2, 16, 2))}, "got shape (2, 16, 2); write an array of shape (3, 16"),
        ({"preds": np.zeros((3, 14, 2))}, "got shape (3, 14, 2)"),
        ({"preds": np.full((3, 16, 2), np.nan)}, "preds holds finite numbers, got NaN or infinite"),
        ({"preds": np.full((3, 16, 2), "a")}, "preds holds finite numbers, got values of <U1"),
    ],
)
def test_a_wrong_file_of_joints_is_one_line(tmp_path, arrays, rule):
    folder = write_mpii(tmp_path / "mpii")
    np.savez(tmp_path / "made.npz", **arrays)
    with pytest.raises(DataError) as caught:
        MpiiKeypoints().score_files(folder, tmp_path / "made.npz")
    assert rule in str(caught.value)


def test_a_missing_or_broken_file_of_joints_is_one_line(tmp_path):
    folder = write_mpii(tmp_path / "mpii")
    with pytest.raises(DataError, match="got no such file; check the path"):
        MpiiKeypoints().score_files(folder, tmp_path / "made.npz")
    objects = np.empty((3, 16, 2), dtype=object)
    np.savez(tmp_path / "objects.npz", preds=objects)
    content = (tmp_path / "objects.npz").read_bytes()
    for broken in (b"PK nothing", b"", b"nothing at all", content[: len(content) // 2], content):
        (tmp_path / "made.npz").write_bytes(broken)
        with pytest.raises(DataError, match=r"arrays are read from a \.npz or") as caught:
            MpiiKeypoints().score_files(folder, tmp_path / "made.npz")
        assert "unsafe" not in str(caught.value)
        assert "pickle" not in str(caught.value)
    (tmp_path / "made.txt").write_bytes(b"1 2 3")
    with pytest.raises(DataError, match=r"one \.npz, \.npy or \.mat file, got 'made.txt'"):
        MpiiKeypoints().score_files(folder, tmp_path / "made.txt")


@pytest.fixture
def files(tmp_path):
    """A folder, its true joints (3, 16, 2) and a function that scores arrays from a file."""
    folder = write_mpii(tmp_path / "mpii")
    truth = MpiiKeypoints().open(folder, "val", SIZE).truth.points_px

    def score(name="made.npz", **arrays):
        path = tmp_path / name
        with path.open("wb") as file:
            if path.suffix == ".npy":
                np.save(file, arrays["array"])
            else:
                np.savez(file, **arrays)
        return MpiiKeypoints().score_files(folder, path).metrics["PCKh@0.5"]

    return folder, truth, score


def test_joints_are_found_by_other_names_and_by_their_shape(files):
    _, truth, score = files
    for name in ("pred", "predictions", "coords", "all_preds", "keypoints", "arr_0", "any"):
        assert score(**{name: truth, "scores": np.ones((3, 16))}) == 1
        assert score(**{name: truth.transpose(1, 2, 0)}) == 1
    assert score(any=np.dstack([truth, np.full((3, 16), np.nan)])) == 1
    assert score("made.npy", array=truth) == score("made.NPZ", preds=truth) == 1
    with pytest.raises(DataError, match="are an array called preds, got one, two; name it preds"):
        score(one=truth, two=truth)
    with pytest.raises(DataError, match=r"arr_0 holds x and y .* got shape \(2, 16, 2\)"):
        score("made.npy", array=truth[:2])


def test_the_annotation_file_finds_the_truth_beside_it(files, tmp_path):
    folder, truth, _ = files
    np.savez(tmp_path / "made.npz", preds=truth)
    results = MpiiKeypoints().score_files(folder / "annot" / "valid.json", tmp_path / "made.npz")
    assert results.image_names == ("005.jpg", "006.jpg")
    for name, said in (
        ("none.json", "none.json: annotations are a file, got no such file"),
        ("train.json", "gt_train.mat: PCKh is measured in sizes of heads"),
    ):
        with pytest.raises(DataError, match=said):
            MpiiKeypoints().score_files(folder / "annot" / name, tmp_path / "made.npz")


def test_nan_is_fine_where_it_counts_for_nothing(tmp_path):
    unseen, pelvis = 0, MPII_JOINTS.index("pelvis")
    person = mpii_person("005.jpg", joints_vis=[int(joint != unseen) for joint in range(16)])
    folder = write_mpii(tmp_path / "mpii", {"train": [person], "valid": [person]})
    made = np.array([person["joints"]])
    made[0, [unseen, pelvis]] = np.nan
    person["joints"][unseen] = [np.nan, np.nan]
    write_truth(folder, "valid", [person])
    np.savez(tmp_path / "made.npz", preds=made)
    task = MpiiKeypoints()
    results = task.score_files(folder, tmp_path / "made.npz")
    report = results.report()["PCKh@0.5"]
    assert (report["Mean"], report["per_joint"]["pelv"], report["per_joint"]["thor"]) == (
        100,
        0,
        100,
    )
    errors = task.diagnose_files(folder, tmp_path / "made.npz", results)
    assert dict(errors.parts())["pelvis"]["miss"] == 1
    made[0, MPII_JOINTS.index("head_top")] = np.nan
    np.savez(tmp_path / "made.npz", preds=made)
    with pytest.raises(DataError, match="preds holds finite numbers, got NaN or infinite"):
        task.score_files(folder, tmp_path / "made.npz")
    person["joints"][pelvis] = [np.nan, np.nan]
    write_truth(folder, "valid", [person])
    with pytest.raises(DataError, match="pos_gt_src holds finite numbers, got NaN or infinite"):
        task.score_files(folder, tmp_path / "made.npz")


def test_near_an_empty_head_box_is_only_what_lies_in_place():
    points = np.zeros((1, 16, 2))
    truth = PckTruth(
        names=("a",),
        points_px=points,
        visible=np.ones((1, 16), dtype=bool),
        head_boxes_px=np.full((1, 2, 2), 7.0),
    )
    assert score_points(truth, points).metrics["PCKh@0.5"] == 1
    assert score_points(truth, points + 0.01).metrics["PCKh@0.5"] == 0
    diagnose_points(truth, points + 0.01)
