"""What all segmentation tasks share: loss, prediction, scoring."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from blocks import BranchworkError, DataError, ImageSize, Problem

from ._batch import Batch
from ._label_files import (
    LabelImage,
    check_label_folder,
    decode_labels,
    encode_labels,
    is_png,
    label_error,
    read_labels,
)
from ._label_sets import IGNORED, LabelSet
from ._segmentation_data import SegmentationData, Shown
from ._segmentation_results import SegmentationResults, count_pixels
from ._task import TaskData

# Windows overlap by a third, as in the published evaluations.
_WINDOW_STEP = 2 / 3
# Online hard example mining: what counts as hard, and the least share of pixels that is learnt.
_HARD = 0.7
_HARD_SHARE = 1 / 16
_NUM_NAMED = 3
# What Cityscapes' tools write beside label ids.
_OTHER_ENDS = ("_color", "_labelTrainIds", "_instanceIds", "_instanceTrainIds")


def pixel_cross_entropy(
    outputs: Tensor, batch: Batch, *, class_weights: Sequence[float] = (), hard_only: bool = False
) -> Tensor:
    """Returns the cross entropy of the pixels that count, a weighted mean.

    The scores are upsampled to the labels' size first: bilinear, corners not aligned.

    Args:
        outputs: The network's scores (N, C, H/s, W/s).
        batch: With the classes (N, H, W), ``IGNORED`` where a pixel does not count.
        class_weights: How much a pixel of each class counts; none for equally much.
        hard_only: Whether only hard pixels count, to which the network gives its true class less
            than 0.7; at least a sixteenth of all, the hardest.

    Shape:
        (N, C, H/s, W/s) -> ().
    """
    target = batch.target
    scores = F.interpolate(
        outputs.float(), size=target.shape[1:], mode="bilinear", align_corners=False
    )
    weights = scores.new_tensor(class_weights) if class_weights else None
    losses = F.cross_entropy(scores, target, weights, ignore_index=IGNORED, reduction="none")
    counted = (target != IGNORED).float()
    if hard_only:
        counted = counted * _hard(scores.detach(), target)
    if weights is not None:
        # The mean of weighted losses is by weight; ignored pixels weigh nothing already.
        counted = counted * weights[target.clamp(max=len(weights) - 1)]
        return (losses * (counted > 0)).sum() / counted.sum().clamp(min=1e-6)
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def _hard(scores: Tensor, target: Tensor) -> Tensor:
    """Marks the pixels whose true class gets too little, or is among the least served."""
    known = target != IGNORED
    true = scores.softmax(1).gather(1, target.where(known, target.new_zeros(()))[:, None])[:, 0]
    true = true.where(known, true.new_ones(()))
    num_least = int(_HARD_SHARE * int(known.sum()))
    least = true.flatten().kthvalue(num_least).values if num_least else true.new_zeros(())
    return (true <= least.clamp(min=_HARD)).float()


@torch.inference_mode()
def predict_labels(
    module: nn.Module, batch: Batch, labels: LabelSet, *, flip_test: bool
) -> list[dict[str, Any]]:
    """Returns one label image a frame, in the frame's own size, as the bytes of a PNG.

    Scores are brought to the frame's pixels (bilinear, corners not aligned) before the best class
    is taken. With the flip test they are the mean of those of the image and its mirror image.
    """
    origins = cast("tuple[Shown, ...]", batch.origins)
    together = not any(one.alone for one in origins)
    all_scores = _scores(module, batch.image, flip_test=flip_test) if together else None
    predictions = []
    for index, origin in enumerate(origins):
        if all_scores is not None:
            scores = all_scores[index]
        else:
            shown = batch.image[index, :, : origin.shown.height, : origin.shown.width]
            scores = _window_scores(module, shown, origin.window, len(batch), flip_test=flip_test)
        at_pixels = scores_at_pixels(scores, origin)
        classes = at_pixels.argmax(0).to(torch.uint8).cpu().numpy()
        content = encode_labels(labels.to_labels(classes))
        predictions.append({"image": origin.name, "labels_png": content})
    return predictions


def scores_at_pixels(scores: Tensor, origin: Shown) -> Tensor:
    """Brings the scores of what was shown to the pixels of the frame.

    Shape:
        (C, h, w) -> (C, height, width).
    """
    factors = tuple(
        # A hair more, so that rounding costs no row; what is too much is cut off.
        (1 + 1e-9) * shown / (side * origin.scale)
        for shown, side in (
            (origin.shown.height, scores.shape[1]),
            (origin.shown.width, scores.shape[2]),
        )
    )
    scaled = F.interpolate(
        scores[None],
        scale_factor=factors,
        mode="bilinear",
        align_corners=False,
        recompute_scale_factor=False,
    )[0]
    return scaled[:, : origin.frame.height, : origin.frame.width]


def _scores(module: nn.Module, image: Tensor, *, flip_test: bool) -> Tensor:
    scores: Tensor = module(image)
    if flip_test:
        scores = (scores + module(image.flip(3)).flip(3)) / 2
    return scores.float()


def _window_scores(
    module: nn.Module, image: Tensor, window: ImageSize, num_together: int, *, flip_test: bool
) -> Tensor:
    """Returns the scores of one image, the mean over its windows where there are several.

    Shape:
        (3, H, W) -> (C, H/s, W/s) with one window, (C, H, W) with several.
    """
    height, width = image.shape[1:]
    places = [
        (top, left)
        for top in _window_starts(height, window.height)
        for left in _window_starts(width, window.width)
    ]
    if len(places) == 1:
        return _scores(module, image[None], flip_test=flip_test)[0]
    total = image.new_zeros(())
    counts = image.new_zeros((1, height, width))
    for start in range(0, len(places), num_together):
        some = places[start : start + num_together]
        windows = torch.stack(
            [image[:, top : top + window.height, left : left + window.width] for top, left in some]
        )
        scores = _scores(module, windows, flip_test=flip_test)
        if not start:
            total = scores.new_zeros((scores.shape[1], height, width))
        size = (window.height, window.width)
        for (top, left), one in zip(some, scores, strict=True):
            full = F.interpolate(one[None], size=size, mode="bilinear", align_corners=False)[0]
            total[:, top : top + window.height, left : left + window.width] += full
            counts[:, top : top + window.height, left : left + window.width] += 1
    return total / counts


def _window_starts(side: int, window: int) -> list[int]:
    """Returns where windows begin along one side; the last one ends with the image.

    >>> _window_starts(1024, 512)
    [0, 341, 512]
    """
    step = max(1, int(window * _WINDOW_STEP))
    num = -(-(side - window) // step) + 1
    return [min(index * step, side - window) for index in range(num)]


def score_predictions(data: TaskData, predictions: Sequence[dict[str, Any]]) -> SegmentationResults:
    """Scores predicted label images against the split's, on all pixels of every frame.

    Raises:
        DataError: If a frame has no prediction or several, or a prediction no frame, or if one
            has another size or unknown ids.
    """
    assert isinstance(data, SegmentationData), "predictions are scored on their own task's data"
    made = {one["image"]: one["labels_png"] for one in predictions}
    names = [frame.name for frame in data.frames]
    if len(made) != len(predictions) or set(made) != set(names):
        strays = sorted(set(made).symmetric_difference(names)) or ["one twice"]
        raise DataError(
            Problem(
                where="predictions",
                rule="every image of the split has one prediction",
                got=f"{len(predictions)} for {len(names)} images, not matching: {strays[0]}",
                do="score them on the split that they were made on",
            )
        )
    # One frame at a time: decoded, a split of large frames fits no memory.
    matrices = [
        _confusion(
            data.true_labels(frame),
            decode_labels(made[frame.name], frame.name),
            frame.name,
            data.labels,
        )
        for frame in data.frames
    ]
    return SegmentationResults(names=tuple(names), labels=data.labels, confusion=np.stack(matrices))


def score_label_files(
    pairs: Mapping[str, tuple[Path, Path]], labels: LabelSet
) -> SegmentationResults:
    """Scores files of predicted label images against files of true ones.

    Args:
        pairs: By name, the file with the true labels and that with the predicted ones.
        labels: The ids that they hold.

    Raises:
        DataError: If a file cannot be read, or if sizes or ids do not fit.
    """
    names = sorted(pairs)
    matrices = []
    for name in names:
        true, made = pairs[name]
        known = _checked(read_labels(true), true, labels)
        matrices.append(_confusion(known, read_labels(made), made, labels))
    return SegmentationResults(names=tuple(names), labels=labels, confusion=np.stack(matrices))


def _confusion(
    true: LabelImage, made: LabelImage, where: Path | str, labels: LabelSet
) -> npt.NDArray[np.int64]:
    if true.shape != made.shape:
        raise label_error(
            where,
            rule="a predicted label image is as large as the true one",
            got=f"{made.shape[0]}x{made.shape[1]} for {true.shape[0]}x{true.shape[1]}",
            do="predict every pixel of the original image",
        )
    return count_pixels(true, _checked(made, where, labels), labels.num_ids)


def _checked(image: LabelImage, where: Path | str, labels: LabelSet) -> LabelImage:
    largest = int(image.max(initial=0))
    if largest >= labels.num_ids:
        raise label_error(
            where,
            rule=f"label ids are 0 to {labels.num_ids - 1}",
            got=f"the unknown id {largest}",
            do="write the ids of the data set's own label images",
        )
    return image


def find_label_files(
    folder: Path, wanted: Sequence[str], name_of: Callable[[str], str]
) -> dict[str, Path]:
    """Finds one PNG for every wanted name, anywhere below a folder.

    Images of colours, train ids or instances, which Cityscapes' tools write too, are passed over.

    Args:
        folder: Where predictions lie.
        wanted: The names of the images.
        name_of: Tells which image a file is for, from the file's stem, if that is no name itself.

    Raises:
        DataError: If there is no such folder, or a name has no file or several.
    """
    rule = "there is a predicted label image (PNG) for every image"
    check_label_folder(folder, rule)
    names = set(wanted)
    found: dict[str, list[Path]] = {}
    num_others = 0
    for path in sorted(filter(is_png, folder.rglob("*"))):
        if path.stem in names:
            found.setdefault(path.stem, []).append(path)
        elif path.stem.endswith(_OTHER_ENDS):
            num_others += 1
        else:
            found.setdefault(name_of(path.stem), []).append(path)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise label_error(
            folder,
            rule=rule,
            got=f"none for {len(missing)} of {len(wanted)}: {', '.join(missing[:_NUM_NAMED])}"
            + (", ..." if len(missing) > _NUM_NAMED else "")
            + (f" ({num_others} files of colours, train ids or instances)" if num_others else ""),
            do="predict all images of the split, and name the files after them",
        )
    for name in wanted:
        if len(found[name]) > 1:
            raise label_error(
                folder,
                rule="there is one predicted label image for every image",
                got=f"{len(found[name])} for {name}: {found[name][0].name}, {found[name][1].name}",
                do="leave one of them",
            )
    return {name: found[name][0] for name in wanted}


def write_label_files(predictions: Sequence[dict[str, Any]], folder: Path, ending: str) -> None:
    """Writes predicted label images into a folder, one PNG for every image.

    Args:
        predictions: One an image, as ``predict_labels`` returns them.
        folder: Made if it does not exist; PNGs of other images stay where they are.
        ending: What follows the image's name in the file's stem.

    Raises:
        BranchworkError: If a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in predictions:
            (folder / f"{one['image']}{ending}.png").write_bytes(one["labels_png"])
    except OSError as error:
        raise _unwritable(folder, error) from None


def write_label_archive(predictions: Sequence[dict[str, Any]], archive: Path, ending: str) -> None:
    """Writes predicted label images into a ZIP archive, one PNG for every image.

    Args:
        predictions: One an image, as ``predict_labels`` returns them.
        archive: The file, which is replaced.
        ending: What follows the image's name in the file's stem.

    Raises:
        BranchworkError: If it cannot be written.
    """
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        # PNGs are compressed already.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for one in predictions:
                file.writestr(f"{one['image']}{ending}.png", one["labels_png"])
    except OSError as error:
        raise _unwritable(archive, error) from None


def _unwritable(path: Path, error: OSError) -> BranchworkError:
    return BranchworkError(
        Problem(
            where=str(path),
            rule="predictions need a place to be written to",
            got=str(error.strerror or error),
            do="name another one",
        )
    )
