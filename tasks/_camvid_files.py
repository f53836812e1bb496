"""The layout of CamVid as SegNet's authors made it: images, label images, lists of pairs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from blocks import DataError, Problem

from ._frames import Frame
from ._label_files import check_label_folder, is_png
from ._label_sets import LabelSet
from ._segmentation import find_label_files

_IMAGES = (".png", ".jpg", ".jpeg")
_PREDICTION_END = "_pred"


def read_pairs(folder: Path, split: str, labels: LabelSet) -> list[Frame]:
    """Returns a split's frames, by name.

    ``SPLIT.txt`` names an image and its label image a line, of which the last two parts of each
    path count; without it every image in ``SPLIT/`` belongs to the label image of the same name
    in ``SPLITannot/``.

    Args:
        folder: The data set's folder.
        split: The split's name.
        labels: The ids of the label images.

    Raises:
        DataError: If the split is not there, or its list is not made of pairs.
    """
    listed = folder / f"{split}.txt"
    if listed.is_file():
        pairs = _listed(listed)
    elif (folder / split).is_dir():
        pairs = [
            (path, folder / f"{split}annot" / f"{path.stem}.png")
            for path in (folder / split).iterdir()
            if path.suffix.lower() in _IMAGES
        ]
    else:
        pairs = []
    if not pairs:
        raise DataError(
            Problem(
                where=str(folder),
                rule=f"the split {split!r} is listed in {split}.txt, or its images lie in {split}/",
                got="neither" if not listed.is_file() else f"an empty {split}.txt",
                do="give CamVid's folder with --data, or name another split",
            )
        )
    frames = [Frame.of_files(image.stem, image, label, labels.ids) for image, label in pairs]
    frames.sort(key=lambda frame: frame.name)
    twice = [one.name for one, two in pairwise(frames) if one.name == two.name]
    if twice:
        raise DataError(
            Problem(
                where=str(folder),
                rule="every image of a split has a name of its own",
                got=f"{twice[0]!r} twice",
                do="rename one, or list it once",
            )
        )
    return frames


def _true_label_files(folder: Path, split: str, labels: LabelSet) -> dict[str, Path]:
    """Returns the true label images of a split by the names of their images.

    Args:
        folder: The data set's folder, or the folder of the label images themselves.
        split: The split to look for in the first.
        labels: The ids of the label images.

    Raises:
        DataError: If there is none, or no such folder.
    """
    check_label_folder(folder, "true label images lie in a folder of the data set")
    beside = {path.stem: path for path in sorted(folder.iterdir()) if is_png(path)}
    if beside:
        return beside
    frames = read_pairs(folder, split, labels)
    return {frame.name: frame.label.path for frame in frames if frame.label is not None}


def pair_label_files(
    annotations: Path, predictions: Path, split: str, labels: LabelSet
) -> dict[str, tuple[Path, Path]]:
    """Returns, by image, the file of true labels and that of predicted ones.

    Args:
        annotations: The data folder, or the folder of the true label images.
        predictions: A folder in which, at any depth, there is one PNG of labels for every true
            label image, of the same name; ``_pred`` may follow it.
        split: The split.
        labels: The ids of the label images.

    Raises:
        DataError: If a file is missing.
    """
    true = _true_label_files(annotations, split, labels)
    made = find_label_files(predictions, list(true), _image_name)
    return {name: (path, made[name]) for name, path in true.items()}


def _image_name(stem: str) -> str:
    """Returns the name of the image that a file of predicted labels is for.

    >>> _image_name("0016E5_07959_pred")
    '0016E5_07959'
    """
    return stem.removesuffix(_PREDICTION_END)


def _listed(listed: Path) -> list[tuple[Path, Path]]:
    folder = listed.parent
    pairs = []
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:  # noqa: PLR2004 - a pair
            raise DataError(
                Problem(
                    where=f"{listed}, line {number}",
                    rule="a line names an image and its label image",
                    got=repr(line[:80]),
                    do="write train/NAME.png trainannot/NAME.png, for example",
                )
            )
        # The lists in circulation hold the folders of the machine that they were made on.
        image, label = (folder.joinpath(*Path(word).parts[-2:]) for word in words)
        pairs.append((image, label))
    return pairs
