"""The layout and the labels of Cityscapes."""

from __future__ import annotations

from pathlib import Path

from blocks import DataError, Problem, did_you_mean

from ._frames import Frame
from ._label_files import check_label_folder
from ._label_sets import LabelSet
from ._outputs import CITYSCAPES_CLASSES

CITYSCAPES_LABELS = LabelSet(
    num_ids=34,
    class_names=CITYSCAPES_CLASSES,
    class_ids=(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
    categories=(
        *("flat",) * 2,
        *("construction",) * 3,
        *("object",) * 3,
        *("nature",) * 2,
        "sky",
        *("human",) * 2,
        *("vehicle",) * 6,
    ),
    void_categories=("void",),
)
"""Cityscapes' 34 label ids, of which 19 are classes: the train ids, in their order."""

IMAGE_END = "_leftImg8bit"
"""What follows a frame's name in the stem of its image."""

_IMAGES, _LABELS = "leftImg8bit", "gtFine"
_LABEL_END = "_gtFine_labelIds"
_NUM_PARTS = 3
# By these names a folder is known to hold splits rather than cities.
_SPLITS = ("train", "val", "test")


def read_city_frames(folder: Path, split: str, *, labelled: bool = True) -> list[Frame]:
    """Returns a split's frames, by name.

    Args:
        folder: Holds ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` and
            ``gtFine/SPLIT/CITY/*_gtFine_labelIds.png``.
        split: The split's name.
        labelled: Whether frames have label images; those of the test split are secret.

    Raises:
        DataError: If the split has no images.
    """
    images = folder / _IMAGES / split
    paths = sorted(images.glob(f"*/*{IMAGE_END}.png"))
    if not paths:
        parent = folder / _IMAGES
        found = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
        raise DataError(
            Problem(
                where=str(folder),
                rule=f"images lie in {_IMAGES}/{split}/CITY/*{IMAGE_END}.png",
                got=f"the splits {', '.join(sorted(found))}" if found else f"no {_IMAGES}/",
                do=did_you_mean(split, found) if found else "give Cityscapes' folder with --data",
            )
        )
    return [
        Frame.of_files(
            frame_name(path.stem),
            path,
            folder / _LABELS / split / path.parent.name / f"{frame_name(path.stem)}{_LABEL_END}.png"
            if labelled
            else None,
            CITYSCAPES_LABELS.ids,
        )
        for path in paths
    ]


def find_true_labels(folder: Path, split: str) -> dict[str, Path]:
    """Returns the true label images of a split by the names of their frames.

    Args:
        folder: The data set's folder, its ``gtFine``, a split's folder in there, or a city's.
        split: The split to look for in the first two.

    Raises:
        DataError: If there is no such folder, split or label image, or two of one name.
    """
    check_label_folder(folder, f"true labels lie in CITY/*{_LABEL_END}.png")
    place = _split_folder(folder, split)
    found: dict[str, Path] = {}
    for path in sorted(place.rglob(f"*{_LABEL_END}.png")):
        if not path.is_file():
            continue
        name = frame_name(path.stem)
        if name in found:
            raise DataError(
                Problem(
                    where=str(place),
                    rule="every frame has one label image",
                    got=f"{path} beside {found[name]}",
                    do="give one split's folder",
                )
            )
        found[name] = path
    if not found:
        raise DataError(
            Problem(
                where=str(folder),
                rule=f"true labels lie in CITY/*{_LABEL_END}.png",
                got="none",
                do=f"give Cityscapes' folder, or its {_LABELS}/{split}",
            )
        )
    return found


def _split_folder(folder: Path, split: str) -> Path:
    """Returns the folder of a split's true labels; the folder itself if it holds no splits.

    Raises:
        DataError: If it holds other splits, which nobody asked for.
    """
    parent = folder / _LABELS if (folder / _LABELS).is_dir() else folder
    if (parent / split).is_dir():
        return parent / split
    found = sorted(path.name for path in parent.iterdir() if path.is_dir())
    if parent == folder and not set(_SPLITS).intersection(found):
        return folder
    raise DataError(
        Problem(
            where=str(parent),
            rule=f"the true labels of the split {split!r} lie in {split}/",
            got=f"the splits {', '.join(found)}" if found else "no split",
            do="name another split by the task's option val_split, or give a split's own folder",
        )
    )


def frame_name(stem: str) -> str:
    """Returns CITY_SEQUENCE_FRAME, with which all files of a frame begin.

    >>> frame_name("frankfurt_000000_000294_leftImg8bit")
    'frankfurt_000000_000294'
    """
    return "_".join(stem.split("_")[:_NUM_PARTS])
