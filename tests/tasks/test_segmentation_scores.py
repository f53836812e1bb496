"""IoU: equal to the official script's, and under the weights of a bootstrap."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from street_folder import cityscapes_paths, write_camvid, write_cityscapes

from blocks import DataError
from tasks import CamVid, Cityscapes
from tasks._cityscapes_files import CITYSCAPES_LABELS
from tasks._label_sets import enumerated
from tasks._segmentation_results import SegmentationResults, count_pixels

PREDICTIONS = "data/eval_reference/cityscapes_iou"
TRUTH = "data/cityscapes_mini"
FEW = enumerated(("a", "b", "c"))


def _results(confusion, labels=FEW):
    names = tuple(f"image {index:03d}" for index in range(len(confusion)))
    return SegmentationResults(names=names, labels=labels, confusion=confusion)


def _drawn(seed, num_images, labels=FEW):
    """Random matrices in which some ids do not occur."""
    rng = np.random.default_rng(seed)
    shape = (num_images, labels.num_ids, labels.num_ids)
    confusion = rng.integers(0, 50, shape) * (rng.random(shape) < 0.4)
    gone = rng.random(labels.num_ids) < 0.3
    confusion[:, gone] = 0
    confusion[:, :, gone & (rng.random(labels.num_ids) < 0.5)] = 0
    return confusion


@pytest.mark.parametrize("below", ["", "gtFine", "gtFine/val"])
def test_the_official_numbers_of_the_reference(shared_file, below):
    folder = shared_file(PREDICTIONS)
    expected = json.loads((folder / "expected.json").read_text())
    results = Cityscapes().score_files(shared_file(TRUTH) / below, folder / "pred_labelIds")
    report = results.report()
    for key in ("class_iou", "category_iou"):
        assert list(report[key]) == list(expected[key])
        for name, value in expected[key].items():
            assert report[key][name] == (value if value is None else pytest.approx(value, abs=1e-9))
    for key in ("mean_iou_as_reported", "mean_category_iou"):
        assert report[key] == pytest.approx(expected[key], abs=1e-9)
    assert results.metrics["mIoU"] == report["mean_iou_as_reported"]
    counted = np.array(expected["confusion_gt_by_pred_34x34"])
    assert (results.confusion.sum(axis=0) == counted).all()
    assert results.image_names[-1] == "frankfurt_000000_000294"


def test_the_official_script_agrees(tmp_path):
    """Runs where cityscapesscripts is installed; it needs packages that Branchwork does not."""
    os.environ.setdefault("CITYSCAPES_RESULTS", str(tmp_path))
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
        reason="the official Cityscapes evaluator (package cityscapesscripts) is not installed",
    )
    for seed in range(20):
        confusion = _drawn(seed, 3, CITYSCAPES_LABELS)
        report = _results(confusion, CITYSCAPES_LABELS).report()
        total = confusion.sum(axis=0)
        args = official.args
        args.evalLabels = list(CITYSCAPES_LABELS.ids)
        by_class = {
            name: official.getIouScoreForLabel(number, total, args)
            for name, number in zip(
                CITYSCAPES_LABELS.class_names, CITYSCAPES_LABELS.class_ids, strict=True
            )
        }
        by_category = {
            name: official.getIouScoreForCategory(name, total, args)
            for name in report["category_iou"]
        }
        for ours, theirs in (
            (report["class_iou"], by_class),
            (report["category_iou"], by_category),
        ):
            values = [np.nan if value is None else value for value in ours.values()]
            assert values == pytest.approx(list(theirs.values()), abs=1e-12, nan_ok=True)
        assert report["mean_iou_as_reported"] == pytest.approx(np.nanmean(list(by_class.values())))


def _by_pixels(true, made, num_classes):
    """mIoU, mAcc and aAcc, said in words of pixels."""
    known = true < num_classes
    ious, accuracies = [], []
    for number in range(num_classes):
        mine, guessed = (true == number) & known, (made == number) & known
        if (mine | guessed).any():
            ious.append((mine & guessed).sum() / (mine | guessed).sum())
        if mine.any():
            accuracies.append((mine & guessed).sum() / mine.sum())
    right = ((true == made) & known).sum() / known.sum()
    return {"mIoU": np.mean(ious), "mAcc": np.mean(accuracies), "aAcc": right}


@given(seed=st.integers(0, 2**31), num=st.integers(1, 4))
def test_metrics_are_those_of_all_pixels_together(seed, num):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, rng.integers(1, 5), (num, 5, 7)).astype(np.uint8)
    made = rng.integers(0, 4, (num, 5, 7)).astype(np.uint8)
    true[0, 0, 0] = 0
    confusion = np.stack([count_pixels(t, m, 4) for t, m in zip(true, made, strict=True)])
    assert confusion.sum() == true.size
    assert _results(confusion).metrics == pytest.approx(_by_pixels(true, made, 3), abs=1e-12)


@given(seed=st.integers(0, 2**31), num=st.integers(1, 5))
def test_a_whole_weight_counts_an_image_so_often(seed, num):
    confusion = _drawn(seed, num)
    weights = np.random.default_rng(seed).integers(0, 4, num)
    results, copied = _results(confusion), np.repeat(confusion, weights, axis=0)
    for metric in ("mIoU", "mAcc", "aAcc"):
        scores = results.score([weights, np.ones(num)], metric)
        assert scores[1] == pytest.approx(results.metrics[metric], nan_ok=True)
        expected = _results(copied).metrics[metric] if len(copied) else np.nan
        assert scores[0] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_classes_that_do_not_occur_are_left_out_and_wrong_ones_are_not():
    confusion = np.zeros((1, 4, 4), dtype=np.int64)
    confusion[0, 0, 0] = 10
    assert _results(confusion).metrics == {"mIoU": 1.0, "mAcc": 1.0, "aAcc": 1.0}
    confusion[0, 3, 1] = 5
    assert _results(confusion).metrics["mIoU"] == 1.0
    confusion[0, 0, 1] = 10
    assert _results(confusion).metrics == {"mIoU": 0.25, "mAcc": 0.5, "aAcc": 0.5}
    # To call a pixel "unlabelled" finds nothing.
    confusion[0, 0, 3] = 20
    assert _results(confusion).metrics["aAcc"] == 0.25
    assert _results(confusion).report()["class_iou"]["c"] is None


def test_nothing_that_counts_is_no_score():
    results = _results(np.zeros((2, 4, 4), dtype=np.int64))
    assert all(np.isnan(value) for value in results.metrics.values())
    assert results.report()["mean_iou_as_reported"] is None


def test_weights_of_another_form_are_refused():
    with pytest.raises(ValueError, match=r"of shape \(R, 2\)"):
        _results(_drawn(0, 2)).score([[1, 1, 1]])


def test_two_networks_beside_each_other_are_weighed_as_one_data_set():
    first, second = _drawn(1, 6), _drawn(2, 6)
    both = _results(first).beside(_results(second))
    swapped = np.array([0, 1, 1, 0, 0, 1])
    mixed = _results(np.where(swapped[:, None, None], second, first))
    weights = np.concatenate([1 - swapped, swapped])[None]
    for metric in mixed.metrics:
        assert both.score(weights, metric)[0] == pytest.approx(mixed.metrics[metric], abs=1e-12)


def test_results_come_back_from_a_file_of_arrays(tmp_path):
    results = _results(_drawn(5, 4, CITYSCAPES_LABELS), CITYSCAPES_LABELS)
    np.savez(tmp_path / "results.npz", **results.arrays())
    with np.load(tmp_path / "results.npz", allow_pickle=False) as arrays:
        again = SegmentationResults.from_arrays(arrays)
    assert again.image_names == results.image_names
    assert again.labels == results.labels
    assert again.report() == results.report()


def _predicted(folder, out):
    """Copies the true labels of a made-up Cityscapes as predictions."""
    out.mkdir()
    for index in range(4):
        _, label = cityscapes_paths(folder, "val", index)
        (out / f"aachen_{index:06d}_000019_mine.png").write_bytes(label.read_bytes())
    return out


def test_predictions_are_found_by_their_names(tmp_path):
    folder = write_cityscapes(tmp_path / "data")
    made = _predicted(folder, tmp_path / "made")
    assert Cityscapes().score_files(folder, made).metrics["mIoU"] == 1
    (made / "aachen_000003_000019_mine.png").rename(made / "aachen_000003_000020_mine.png")
    with pytest.raises(DataError, match=r"got none for 1 of 4: aachen_000003_000019"):
        Cityscapes().score_files(folder, made)
    (made / "aachen_000003_000020_mine.png").rename(made / "aachen_000003_000019.png")
    (made / "again").mkdir()
    (made / "again" / "aachen_000002_000019_x.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"one predicted label image .* got 2 for aachen_000002"):
        Cityscapes().score_files(folder, made)


BAD_PREDICTIONS = {
    "another size": (lambda a: a[:-1], "as large as the true one, got 39x60 for 40x60"),
    "unknown id": (lambda a: a + 3 * (a == 26) + 200 * (a == 23), "got the unknown id 223"),
    "colours": (lambda a: np.stack([a] * 3, axis=2), r"got a colour image \(RGB\)"),
}


@pytest.mark.parametrize(("change", "said"), BAD_PREDICTIONS.values(), ids=BAD_PREDICTIONS)
def test_a_prediction_that_cannot_be_scored_is_one_line(tmp_path, change, said):
    folder = write_cityscapes(tmp_path / "data")
    made = _predicted(folder, tmp_path / "made")
    path = made / "aachen_000001_000019_mine.png"
    with Image.open(path) as image:
        labels = np.asarray(image)
    Image.fromarray(change(labels).astype(np.uint8)).save(path)
    with pytest.raises(DataError, match=said) as caught:
        Cityscapes().score_files(folder, made)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_folders_without_labels_or_predictions(tmp_path):
    folder = write_cityscapes(tmp_path / "data")
    with pytest.raises(DataError, match=r"there is a predicted label image .* got no such folder"):
        Cityscapes().score_files(folder, tmp_path / "nothing")
    with pytest.raises(DataError, match=r"true labels lie in CITY/.* got no such folder"):
        Cityscapes().score_files(tmp_path / "nothing", folder)
    (tmp_path / "file").write_bytes(b"")
    for task in (Cityscapes(), CamVid()):
        with pytest.raises(DataError, match="got a file; give the path of a folder"):
            task.score_files(tmp_path / "file", folder)
    with pytest.raises(DataError, match="got a file; give the path of a folder"):
        Cityscapes().score_files(folder, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got none for 4 of 4: aachen_000000_000019, "):
        Cityscapes().score_files(folder, tmp_path / "empty")


def test_a_split_that_is_not_there_is_not_made_up_of_the_others(tmp_path):
    folder = write_cityscapes(tmp_path / "data")
    made = _predicted(folder, tmp_path / "made")
    for truth in ("gtFine/val", "gtFine/val/aachen", "gtFine", ""):
        assert Cityscapes().score_files(folder / truth, made).num_images == 4
    (folder / "gtFine" / "val").rename(folder / "gtFine" / "test")
    for truth in (folder, folder / "gtFine"):
        said = r"gtFine: the true labels of the split 'val' lie in val/, got the splits test, train"
        with pytest.raises(DataError, match=said):
            Cityscapes().score_files(truth, made)
    assert Cityscapes(val_split="test").score_files(folder, made).metrics["mIoU"] == 1
    (folder / "gtFine").rename(folder / "other")
    with pytest.raises(DataError, match="got the splits test, train; name another split by"):
        Cityscapes().score_files(folder / "other", made)


def test_what_lies_beside_predictions_is_passed_over(tmp_path):
    folder = write_cityscapes(tmp_path / "data")
    made = _predicted(folder, tmp_path / "made")
    for end in ("_color", "_labelTrainIds", "_instanceIds"):
        (made / f"aachen_000000_000019{end}.png").write_bytes(b"")
    (made / "aachen_000001_000019_x.png").mkdir()
    (folder / "gtFine" / "val" / "aachen" / "b_0_1_gtFine_labelIds.png").mkdir()
    (made / "aachen_000002_000019_mine.png").rename(made / "aachen_000002_000019_mine.PNG")
    assert Cityscapes().score_files(folder, made).metrics["mIoU"] == 1
    (made / "aachen_000000_000019_mine.png").unlink()
    said = r"none for 1 of 4: aachen_000000_000019 \(3 files of colours, train ids or instances\)"
    with pytest.raises(DataError, match=said):
        Cityscapes().score_files(folder, made)


def test_train_ids_are_scored_as_they_are_with_a_note(tmp_path):
    folder = write_cityscapes(tmp_path / "data")
    made = _predicted(folder, tmp_path / "made")
    assert Cityscapes().score_files(folder, made).notes == ()
    for path in made.iterdir():
        with Image.open(path) as image:
            ids = CITYSCAPES_LABELS.to_target(np.asarray(image))
        Image.fromarray(ids).save(path)
    results = Cityscapes().score_files(folder, made)
    (note,) = results.notes
    assert "look like train ids: none is above 18, and label ids 0, 1, 2, 10 are no" in note
    assert results.metrics["mIoU"] < 0.1
    # Where ids are the classes' numbers, and for a network that knows nothing but roads.
    assert _results(_drawn(0, 2)).notes == ()
    roads = np.zeros((1, 34, 34), dtype=np.int64)
    roads[0, 7:20, 7] = 1
    assert _results(roads, CITYSCAPES_LABELS).notes == ()


def test_camvid_s_own_labels_are_perfect(tmp_path):
    folder = write_camvid(tmp_path)
    for truth in (folder, folder / "valannot"):
        results = CamVid().score_files(truth, folder / "valannot")
        assert results.metrics == {"mIoU": 1.0, "mAcc": 1.0, "aAcc": 1.0}
        assert results.image_names == ("000", "001", "002")
        assert results.confusion[:, 11].sum() > 0


def test_camvid_s_predictions_may_be_called_so(tmp_path):
    folder = write_camvid(tmp_path / "data")
    made = tmp_path / "made"
    made.mkdir()
    for path in (folder / "valannot").iterdir():
        (made / f"{path.stem}_pred.PNG").write_bytes(path.read_bytes())
    assert CamVid().score_files(folder, made).metrics["mIoU"] == 1
    (made / "001.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"got 2 for 001: 001.png, 001_pred.PNG"):
        CamVid().score_files(folder, made)
