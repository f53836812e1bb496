"""Frames: what a network is shown of them, how scores come back, and what cannot be read."""

from __future__ import annotations

import io
import pickle
import zipfile

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from street_folder import cityscapes_paths, write_camvid, write_cityscapes, write_frame
from torch import nn

from blocks import BranchworkError, DataError, ImageSize
from tasks import CamVid, Cityscapes, collate
from tasks._frames import FrameVariation, View
from tasks._label_files import decode_labels
from tasks._label_sets import IGNORED
from tasks._segmentation import pixel_cross_entropy, predict_labels, scores_at_pixels
from tasks._segmentation_data import Shown
from training.loop import evaluate

SIZE = ImageSize(32, 64)


class _Oracle(nn.Module):
    """Gives back scores that name the class whose colour a pixel has."""

    def __init__(self, colours: np.ndarray, stride: int = 1) -> None:
        super().__init__()
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        rows = (colours / 255 - mean) / deviation
        self.register_buffer("colours", torch.tensor(rows, dtype=torch.float32))
        self.stride = stride
        self.seen: list[tuple[int, ...]] = []

    def forward(self, image):
        self.seen.append(tuple(image.shape))
        image = image[:, :, :: self.stride, :: self.stride]
        return -(image[:, None] - self.colours[None, :, :, None, None]).square().sum(2)


def _oracle(task, ids, stride=1):
    """Knows the colours of ``street_folder``'s ids, which are stored as blue, green, red."""
    palette = np.random.default_rng(99).integers(0, 256, (256, 3))
    colours = np.full((task.num_outputs, 3), 1e4)
    for number, label in ids.items():
        colours[number] = palette[label][::-1]
    return _Oracle(colours, stride)


CITY_IDS = {0: 7, 1: 8, 2: 11, 10: 23, 13: 26}


@pytest.mark.parametrize("inference", ["whole", "sliding"])
@pytest.mark.parametrize("size", [(40, 60), (32, 64), (50, 130)])
def test_frames_of_their_own_size_come_back_pixel_by_pixel(tmp_path, inference, size):
    folder = write_cityscapes(tmp_path, size=size)
    task = Cityscapes(inference=inference, flip_test=True)
    data = task.open(folder, "val", SIZE)
    module = _oracle(task, CITY_IDS)
    assert evaluate(module, task, data, 2).metrics["mIoU"] == 1
    shapes = {shape[2:] for shape in module.seen}
    rows, columns = -(-size[0] // 32) * 32, -(-size[1] // 64) * 64
    assert shapes == ({(32, 64)} if inference == "sliding" else {(rows, columns)})


def test_frames_that_fit_the_input_exactly_come_back_pixel_by_pixel(tmp_path):
    folder = write_camvid(tmp_path, size=(36, 64))
    task = CamVid()
    data = task.open(folder, "val", ImageSize(64, 64))
    module = _oracle(task, {0: 0, 1: 1, 3: 3, 8: 8})
    results = evaluate(module, task, data, 2)
    # Pixels that are unlabelled count for nothing, whatever they were taken for.
    assert results.metrics["mIoU"] == 1
    assert results.confusion.sum() == 3 * 36 * 64
    assert module.seen == [(2, 3, 64, 64), (1, 3, 64, 64)]


@pytest.mark.parametrize("size", [ImageSize(32, 64), ImageSize(20, 40), ImageSize(96, 96)])
def test_half_resolution_is_scored_on_the_original_pixels(tmp_path, size):
    folder = tmp_path
    for split in ("train", "val"):
        image, label = cityscapes_paths(folder, split, 0)
        write_frame(image, label, size=(4, 8))
        for path in (image, label):
            with Image.open(path) as small:
                large = small.resize((128, 64), Image.Resampling.NEAREST)
            large.save(path)
    task = Cityscapes()
    results = evaluate(_oracle(task, CITY_IDS), task, task.open(folder, "val", size), 2)
    assert results.confusion.sum() == 64 * 128
    assert results.metrics["mIoU"] > 0.75


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    stride=st.sampled_from([4, 8]),
)
def test_scores_come_to_every_pixel_of_a_frame(height, width, rows, columns, stride):
    shown = ImageSize(16 * rows, 16 * columns)
    scale = min(shown.height / height, shown.width / width)
    origin = Shown(
        name="a",
        frame=ImageSize(height, width),
        scale=scale,
        shown=shown,
        window=shown,
        alone=False,
    )
    # A plane: scores that are the position in the input, which bilinear upsampling keeps.
    centres = (torch.arange(shown.width // stride) + 0.5) * stride
    plane = centres.expand(1, shown.height // stride, -1)
    back = scores_at_pixels(plane, origin)
    assert back.shape == (1, height, width)
    expected = (torch.arange(width) + 0.5) * scale
    inner = (expected > centres[0]) & (expected < centres[-1])
    assert torch.allclose(back[0, 0][inner], expected[inner], atol=1e-3)


@given(seed=st.integers(0, 2**31))
def test_image_and_target_are_varied_alike(seed):
    rng = np.random.default_rng(seed)
    frame = ImageSize(int(rng.integers(20, 80)), int(rng.integers(20, 80)))
    left = rng.random() < 0.5
    classes = np.zeros((frame.height, frame.width), dtype=np.uint8)
    classes[:, : frame.width // 2] = left
    classes[: frame.height // 2] += 2
    pixels = np.repeat(classes[..., None], 3, axis=2) * 60
    view = FrameVariation().draw(frame, 1.0, SIZE, rng)
    image, target = view.image(pixels, SIZE), view.target(classes, SIZE)
    assert image.shape == (3, 32, 64)
    assert target.shape == (32, 64)
    assert target.dtype == np.int64
    plain = (image[0] - view.brightness) / view.contrast * 0.229 + 0.485
    guessed = np.round(plain * 255 / 60)
    inside = target != IGNORED
    eroded = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
    # Away from edges, where colours are mixed.
    same = cv2.morphologyEx(target.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((5, 5))) == 0
    checked = eroded & same
    assert (guessed[checked] == target[checked]).all()
    area = inside.mean()
    share = min(1, view.scale * frame.height / 32) * min(1, view.scale * frame.width / 64)
    assert area == pytest.approx(share, abs=0.12)


def test_a_view_in_its_own_size_is_the_frame(tmp_path):
    write_frame(tmp_path / "a.png", tmp_path / "b.png", size=(32, 64))
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    image = View(scale=1.0).image(pixels, SIZE)
    back = (image.transpose(1, 2, 0) * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]) * 255
    assert np.abs(back - pixels).max() < 1e-3
    mirrored = View(scale=1.0, mirrored=True).image(pixels, SIZE)
    assert (mirrored == image[:, :, ::-1]).all()


def test_training_items_repeat_with_their_seed_and_differ_without(tmp_path):
    data = Cityscapes().open(write_cityscapes(tmp_path), "train", SIZE)
    one, again, other = (data.train_item(1, seed) for seed in (5, 5, 6))
    assert torch.equal(one.image, again.image)
    assert torch.equal(one.target, again.target)
    assert not torch.equal(one.image, other.image)
    assert set(one.target.unique().tolist()) <= {*CITY_IDS, IGNORED}
    batch = collate([one, other])
    assert batch.target.shape == (2, 32, 64)
    assert len(pickle.loads(pickle.dumps(data))) == 4


def test_frames_of_several_sizes_share_a_batch(tmp_path):
    folder = write_cityscapes(tmp_path, num=2)
    write_frame(*cityscapes_paths(folder, "val", 7), size=(33, 130), seed=9)
    for inference in ("fit", "whole", "sliding"):
        task = Cityscapes(inference=inference)
        data = task.open(folder, "val", SIZE)
        results = evaluate(_oracle(task, CITY_IDS), task, data, 3)
        assert results.confusion.sum(axis=(1, 2)).tolist() == [2400, 2400, 33 * 130]
        if inference != "fit":
            assert results.metrics["mIoU"] == 1


def test_real_frames_load(shared_file):
    for task, name, numbers in (
        (Cityscapes(), "data/cityscapes_mini", (16, 9)),
        (CamVid(), "data/camvid", (367, 101)),
    ):
        for split, number in zip(("train", "val"), numbers, strict=True):
            data = task.open(shared_file(name), split, ImageSize(96, 128))
            assert len(data) == data.num_images == number
            assert data.skipped == ()
            item = data.eval_item(number - 1)
            assert item.image.shape == (3, 96, 128)
            assert 0 < (item.target != IGNORED).float().mean() <= 1


def test_the_loss_is_that_of_the_pixels_that_count():
    torch.manual_seed(0)
    outputs = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.randint(0, 3, (2, 8, 8))
    target[0] = IGNORED
    batch = _batch(target)
    scores = nn.functional.interpolate(outputs, size=(8, 8), mode="bilinear")
    expected = nn.functional.cross_entropy(scores[1:], target[1:])
    assert pixel_cross_entropy(outputs, batch).item() == pytest.approx(expected.item())
    weights = (1.0, 2.0, 0.5)
    weighed = nn.functional.cross_entropy(scores[1:], target[1:], torch.tensor(weights))
    ours = pixel_cross_entropy(outputs, batch, class_weights=weights)
    assert ours.item() == pytest.approx(weighed.item())
    nothing = pixel_cross_entropy(outputs, _batch(torch.full_like(target, IGNORED)))
    nothing.backward()
    assert nothing == 0
    assert outputs.grad.abs().max() == 0


def test_hard_pixels_only():
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[0, 0] = IGNORED
    sure = torch.zeros(1, 2, 8, 8)
    sure[:, 0] = 5.0
    unsure = sure.clone()
    unsure[:, 0, 1] = -1.0
    plain, hard = (
        pixel_cross_entropy(unsure, _batch(target), hard_only=only) for only in (False, True)
    )
    assert hard == pytest.approx(float(np.log1p(np.e)), rel=1e-5)
    assert plain < 0.3 * hard
    # Where all is easy, the hardest sixteenth is learnt still.
    assert pixel_cross_entropy(sure, _batch(target), hard_only=True) > 0


def _batch(target):
    from tasks import Batch

    num = len(target)
    image = torch.zeros(num, 3, *target.shape[1:])
    return Batch(image=image, target=target, weight=torch.ones(num), origins=(None,) * num)


def _broken(path, label):
    path.write_bytes(path.read_bytes()[:200])


def _rewritten(change):
    def rewrite(path, label):
        with Image.open(path) as image:
            changed = change(image.copy())
        changed.save(path, format="PNG")

    return rewrite


def _with_id(number):
    def rewrite(path, label):
        with Image.open(label) as image:
            labels = np.asarray(image).copy()
        labels[3, 3] = number
        Image.fromarray(labels).save(label)

    return rewrite


BAD_FRAMES = {
    "broken image": (_broken, "bytes that are no image, or not all of one"),
    "no label image": (lambda _, label: label.unlink(), "no such file"),
    "broken label image": (lambda _, label: _broken(label, label), "bytes that are no image"),
    "smaller label image": (
        lambda _, label: _rewritten(lambda i: i.resize((30, 20)))(label, label),
        "20x30 for an image of 40x60",
    ),
    "unknown id": (_with_id(77), "the unknown id 77"),
    "colours for ids": (
        lambda _, label: _rewritten(lambda i: i.convert("RGB"))(label, label),
        "a colour image (RGB)",
    ),
}


@pytest.mark.parametrize(("spoil", "said"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_one_frame_that_cannot_be_used_is_named_and_left_out(tmp_path, spoil, said):
    folder = write_cityscapes(tmp_path)
    whole = Cityscapes().open(folder, "val", SIZE)
    spoil(*cityscapes_paths(folder, "val", 1))
    data = Cityscapes().open(folder, "val", SIZE)
    assert len(data) == 3
    assert len(data.skipped) == 1
    assert "aachen_000001_000019" in data.skipped[0]
    assert said in data.skipped[0]
    assert data.fingerprint != whole.fingerprint


@pytest.mark.parametrize(("spoil", "said"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_two_of_them_are_one_line(tmp_path, spoil, said):
    folder = write_cityscapes(tmp_path)
    for index in (1, 2):
        spoil(*cityscapes_paths(folder, "val", index))
    with pytest.raises(DataError) as caught:
        Cityscapes().open(folder, "val", SIZE)
    assert said in str(caught.value)
    assert "aachen_000002_000019" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_of_a_palette_are_the_places_in_it(tmp_path):
    folder = write_cityscapes(tmp_path)
    before = Cityscapes().open(folder, "val", SIZE).eval_item(0).target
    for index in range(4):
        _, label = cityscapes_paths(folder, "val", index)
        with Image.open(label) as image:
            palette = Image.fromarray(np.asarray(image))
        palette.putpalette(
            np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes()
        )
        palette.save(label)
        with Image.open(label) as image:
            assert image.mode == "P"
    assert torch.equal(Cityscapes().open(folder, "val", SIZE).eval_item(0).target, before)


def test_grey_and_cmyk_images_become_colours(tmp_path):
    folder = write_camvid(tmp_path)
    for index, mode in enumerate(("L", "CMYK", "RGBA")):
        path = folder / "val" / f"{index:03d}.png"
        with Image.open(path) as image:
            changed = image.convert(mode)
        path.unlink()
        if mode == "RGBA":
            changed.save(path)
        else:
            changed.save(path.with_suffix(".jpg"), quality=95)
    data = CamVid().open(folder, "val", SIZE)
    assert data.skipped == ()
    for index in range(3):
        item = data.eval_item(index)
        assert torch.isfinite(item.image).all()
        assert item.image.shape == (3, 32, 64)
    shown = data.eval_item(0).image * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    grey = shown + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    inside = data.eval_item(0).target != IGNORED
    assert (grey[0] - grey[1])[inside].abs().max() < 1e-3


def test_odd_frames_are_padded(tmp_path):
    folder = write_camvid(tmp_path, size=(37, 51))
    task = CamVid()
    data = task.open(folder, "val", ImageSize(64, 64))
    item = data.eval_item(0)
    inside = item.target != IGNORED
    # 51 columns fill the 64 of the input, 37 rows come to 46.4.
    assert not inside[47:].any()
    assert item.image[:, 48:].abs().max() < 0.02
    module = _oracle(task, {0: 0, 1: 1, 3: 3, 8: 8}, stride=4)
    results = evaluate(module, task, data, 2)
    assert results.confusion.sum(axis=(1, 2)).tolist() == [37 * 51] * 3


def test_lists_name_pairs_by_the_last_parts_of_their_paths(tmp_path):
    folder = write_camvid(tmp_path)
    (folder / "val.txt").write_text(
        "/SegNet/CamVid/val/002.png /SegNet/CamVid/valannot/002.png\n\n"
        "val/000.png valannot/000.png\n"
    )
    data = CamVid().open(folder, "val", SIZE)
    assert [frame.name for frame in data.frames] == ["000", "002"]
    (folder / "val.txt").write_text("val/000.png\n")
    with pytest.raises(DataError, match=r"val\.txt, line 1: a line names an image and its label"):
        CamVid().open(folder, "val", SIZE)
    (folder / "val.txt").write_text("val/0.png valannot/0.png\n" * 2)
    with pytest.raises(DataError, match="has a name of its own"):
        CamVid().open(folder, "val", SIZE)


def test_splits_that_are_not_there(tmp_path):
    folder = write_cityscapes(tmp_path / "city")
    with pytest.raises(DataError, match=r"got the splits train, val; did you mean 'val'\?"):
        Cityscapes(val_split="vals").open(folder, "val", SIZE)
    with pytest.raises(DataError, match="got no leftImg8bit/"):
        Cityscapes().open(tmp_path, "val", SIZE)
    with pytest.raises(DataError, match=r"the split 'val' is listed in val\.txt"):
        CamVid().open(tmp_path, "val", SIZE)
    with pytest.raises(DataError, match="give one with --data"):
        CamVid().open(None, "val", SIZE)


def test_an_unknown_inference():
    with pytest.raises(BranchworkError, match="one of fit, whole, sliding, got 'slide'"):
        Cityscapes(inference="slide")


def test_the_test_split_is_opened_without_labels_and_submitted(tmp_path):
    folder = write_cityscapes(tmp_path / "data")
    for path in (folder / "leftImg8bit", folder / "gtFine"):
        (path / "val").rename(path / "test")
    task = Cityscapes(val_split="test", inference="whole")
    data = task.open(folder, "val", SIZE)
    module = _oracle(task, CITY_IDS).eval()
    batch = collate([data.eval_item(index) for index in range(4)])
    assert (batch.target == IGNORED).all()
    predictions = task.predict(module, batch)
    with pytest.raises(DataError, match="a frame without one"):
        task.score(data, predictions)
    archive = task.write_submission(data, predictions, tmp_path / "out" / "mine")
    assert archive == tmp_path / "out" / "mine.zip"
    with zipfile.ZipFile(archive) as file:
        assert sorted(file.namelist()) == sorted(
            path.name for path in folder.glob("leftImg8bit/test/*/*.png")
        )
        content = file.read("aachen_000002_000019_leftImg8bit.png")
    labels = np.asarray(Image.open(io.BytesIO(content)))
    _, true = cityscapes_paths(folder, "test", 2)
    assert (labels == np.asarray(Image.open(true))).all()


def test_predictions_that_were_written_are_scored_as_those_that_were_not(tmp_path):
    folder = write_cityscapes(tmp_path / "data")
    task = Cityscapes()
    data = task.open(folder, "val", SIZE)
    module = _oracle(task, CITY_IDS, stride=4)
    predictions = predict_labels(
        module, collate([data.eval_item(i) for i in range(4)]), data.labels, flip_test=False
    )
    task.write_predictions(data, predictions, tmp_path / "made")
    results = task.score(data, predictions)
    assert 0 < results.metrics["mIoU"] < 1
    assert task.score_files(folder, tmp_path / "made").report() == results.report()
    with pytest.raises(DataError, match="every image of the split has one prediction"):
        task.score(data, predictions[1:])
    (tmp_path / "file").write_text("")
    with pytest.raises(BranchworkError, match="predictions need a place"):
        task.write_predictions(data, predictions, tmp_path / "file")


def test_a_split_that_does_not_fit_memory_is_looked_at_from_its_ends(tmp_path, monkeypatch):
    from tasks._images import ImageStore

    monkeypatch.setattr("tasks._segmentation_data.ImageStore", lambda: ImageStore(cache_bytes=3000))
    folder = write_cityscapes(tmp_path)
    _, label = cityscapes_paths(folder, "val", 1)
    _rewritten(lambda image: image.resize((30, 20)))(label, label)
    data = Cityscapes().open(folder, "val", SIZE)
    assert len(data.skipped) == 1
    # What its ends do not tell is told when it is first used.
    _, label = cityscapes_paths(folder, "val", 2)
    _with_id(99)(label, label)
    data = Cityscapes().open(folder, "val", SIZE)
    with pytest.raises(DataError, match="the unknown id 99"):
        data.eval_item(1)


def test_deep_label_images_are_read_and_ids_beyond_a_byte_are_unknown():
    buffer = io.BytesIO()
    Image.fromarray(np.array([[7, 300], [33, 0]], dtype=np.uint16)).save(buffer, format="PNG")
    assert decode_labels(buffer.getvalue(), "a.png").tolist() == [[7, 255], [33, 0]]
