"""Reads MPII Human Pose in the layout that HRNet's code uses: JSON of people, .mat of the truth."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat, savemat
from scipy.io.matlab import MatReadError

from blocks import BranchworkError, DataError, Problem, did_you_mean

from ._coco_entries import are_numbers, shortened
from ._coco_files import parse_json
from ._outputs import MPII_JOINTS
from ._pck import PckTruth
from ._results import FloatArray

_NUM_JOINTS = len(MPII_JOINTS)
_LONGEST = 120
_TRUTH_KEYS = ("jnt_missing", "pos_gt_src", "headboxes_src")
_UNNAMED = "arr_0"
_PREDICTION_KEYS = (
    *("preds", "pred_xy", "pred", "predictions", "coords", "all_preds", "keypoints", _UNNAMED),
)
_SUFFIXES = (".npz", ".mat")
_READ_SUFFIXES = (*_SUFFIXES, ".npy")
# What NumPy and SciPy raise for files that are not theirs, or not whole.
_READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    NotImplementedError,
    MatReadError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, kw_only=True)
class MpiiSplit:
    """One split's people, checked.

    Attributes:
        split: The split's name.
        path: The annotation file.
        content: Its bytes.
        image_folder: The folder with the images.
        people: The file's entries, in its order.
    """

    split: str
    path: Path
    content: bytes
    image_folder: Path
    people: tuple[dict[str, Any], ...]


def read_mpii_split(folder: Path, split: str) -> MpiiSplit:
    """Reads ``annot/SPLIT.json`` of a data folder in HRNet's layout; images lie in ``images/``.

    Raises:
        DataError: If a folder or the file is missing, or the file does not say what it must.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise _error(folder, "the data folder must exist", got, "give --data the folder's path")
    path = folder / "annot" / f"{split}.json"
    if not path.is_file():
        found = sorted(file.stem for file in path.parent.glob("*.json"))
        do = f"give --data a folder that holds annot/{path.name}"
        if found:
            do = (
                f"{did_you_mean(split, found)} The folder has the splits {', '.join(found)}: "
                "name them by the task's options train_split and val_split"
            )
        raise _error(path, f"split {split!r} needs its annotation file", "no such file", do)
    images = folder / "images"
    if not images.is_dir():
        raise _error(
            images, "MPII's images lie in images/", "no such folder", "unpack the images there"
        )
    content = path.read_bytes()
    return MpiiSplit(
        split=split,
        path=path,
        content=content,
        image_folder=images,
        people=_people(path, content),
    )


def _people(path: Path, content: bytes) -> tuple[dict[str, Any], ...]:
    document = parse_json(path, content, "an annotation file")
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        got = "a list of something else" if isinstance(document, list) else "no list"
        do = "use annot/train.json or annot/valid.json as HRNet's authors prepared them"
        raise _error(path, "an annotation file is a list of people", got, do)
    rules = (
        ("an image name", lambda one: isinstance(one.get("image"), str)),
        ("2 numbers in center", lambda one: are_numbers(one.get("center"), 2)),
        (
            "a scale over 0",
            lambda one: are_numbers([one.get("scale")], 1) and one["scale"] > 0,
        ),
        (
            f"{_NUM_JOINTS} pairs of numbers in joints",
            lambda one: _is_table(one.get("joints"), _NUM_JOINTS),
        ),
        (
            f"{_NUM_JOINTS} numbers in joints_vis",
            lambda one: are_numbers(one.get("joints_vis"), _NUM_JOINTS),
        ),
    )
    for what, holds in rules:
        wrong = [index for index, one in enumerate(document) if not holds(one)]
        if wrong:
            image = shortened(document[wrong[0]].get("image"))
            got = f"{len(wrong)} otherwise, the first being entry {wrong[0]} of image {image}"
            raise _error(path, f"every person needs {what}", got, "correct the entry")
    return tuple(document)


def _is_table(rows: object, num: int) -> bool:
    return isinstance(rows, list) and len(rows) == num and all(are_numbers(row, 2) for row in rows)


def read_truth(path: Path, names: Sequence[str] | None) -> PckTruth:
    """Reads ``gt_SPLIT.mat``: where the joints and the heads of a split are.

    Args:
        path: The file.
        names: The image of each person, in the file's order; None where it is not known, and
            every person counts as an image.

    Raises:
        DataError: If the file is missing, is no such file or is of other people.
    """
    if not path.is_file():
        raise _error(
            path,
            "PCKh is measured in sizes of heads, which only this file has",
            "no such file",
            "put the gt_valid.mat there that belongs to annot/valid.json",
        )
    arrays = _arrays(path)
    missing = [key for key in _TRUTH_KEYS if key not in arrays]
    if missing:
        got = f"none called {', '.join(missing)}"
        raise _error(
            path, f"the truth is the arrays {', '.join(_TRUTH_KEYS)}", got, "use a gt_valid.mat"
        )
    unseen, points, boxes = (_numbers(path, key, arrays[key]) for key in _TRUTH_KEYS)
    _check_finite(path, _TRUTH_KEYS[0], unseen)
    _check_finite(path, _TRUTH_KEYS[2], boxes)
    num = unseen.shape[-1] if unseen.ndim else 0
    shapes = ((_NUM_JOINTS, num), (_NUM_JOINTS, 2, num), (2, 2, num))
    for key, array, shape in zip(_TRUTH_KEYS, (unseen, points, boxes), shapes, strict=True):
        if array.shape != shape:
            raise _error(
                path, f"{key} is of shape {shape}", str(array.shape), "use MPII's own gt_valid.mat"
            )
    if names is not None and len(names) != num:
        raise _error(
            path,
            "the truth and the annotation file are of the same people",
            f"{num} people, and {len(names)} in the annotation file",
            "use the two files that belong together",
        )
    visible = unseen.T == 0
    points = points.transpose(2, 0, 1)
    _check_finite(path, _TRUTH_KEYS[1], points[visible])
    digits = len(str(num))
    return PckTruth(
        names=tuple(names or [f"person {index:0{digits}}" for index in range(num)]),
        # Some write NaN where nobody saw a joint; it counts nowhere.
        points_px=np.where(np.isfinite(points), points, 0.0),
        visible=visible,
        head_boxes_px=boxes.transpose(2, 0, 1),
    )


def read_truth_beside(path: Path, split: str) -> PckTruth:
    """Reads the truth of a split from a data folder, its ``annot`` folder, or a file in there.

    The file is ``gt_SPLIT.mat``, or ``SPLIT.json``, beside which that must lie. The names of the
    images, by which results are grouped, come from the latter, if it is there.

    Raises:
        DataError: If a file is missing or cannot be used.
    """
    if path.is_dir():
        annot = path / "annot"
        path = (annot if annot.is_dir() else path) / f"gt_{split}.mat"
    elif path.suffix.lower() == ".json":
        if not path.is_file():
            raise _error(path, "annotations are a file", "no such file", "check the path")
        path = path.with_name(f"gt_{path.stem}.mat")
    people = path.with_name(f"{path.stem.removeprefix('gt_')}.json")
    return read_truth(path, _image_names(people) if people.is_file() else None)


def _image_names(path: Path) -> list[str]:
    return [one["image"] for one in _people(path, path.read_bytes())]


def read_points(path: Path, truth: PckTruth) -> FloatArray:
    """Reads predicted joints, counted from 1 like MPII's own.

    Args:
        path: A .npz, .npy or .mat file with ``preds`` (or another usual name, or no other array
            of such a shape): P times 16 times x and y, and perhaps a score, or 16 times x and y
            times P as MPII has it; people in the order of the truth.
        truth: The people.

    Returns:
        Positions in pixels (P, 16, 2); NaN at most for joints that the means are not of.

    Raises:
        DataError: If the file is missing, holds something else or other people.
    """
    if not path.is_file() or path.suffix.lower() not in _READ_SUFFIXES:
        got = "no such file" if not path.exists() else f"{path.name!r}"
        rule = "predicted joints are one .npz, .npy or .mat file"
        raise _error(path, rule, got, "check the path")
    num_people = len(truth.names)
    shape, transposed = (num_people, _NUM_JOINTS, 2), (_NUM_JOINTS, 2, num_people)
    shapes = (shape, (*shape[:2], 3), transposed)
    arrays = _arrays(path)
    key = _prediction_key(path, arrays, shapes)
    points = _numbers(path, key, arrays[key])
    if points.shape not in shapes:
        raise _error(
            path,
            f"{key} holds x and y of {_NUM_JOINTS} joints of each of {num_people} people",
            f"shape {points.shape}",
            f"write an array of shape {shape}, people in the order of the truth",
        )
    if points.shape == transposed:
        points = points.transpose(2, 0, 1)
    _check_finite(path, key, points[truth.counted, :2])
    return points[..., :2]


def _prediction_key(
    path: Path, arrays: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]
) -> str:
    """Returns the name of the array that holds predicted joints.

    Raises:
        DataError: If none has a usual name, and none or several a fitting shape.
    """
    named = [key for key in _PREDICTION_KEYS if key in arrays]
    fitting = [key for key, array in arrays.items() if np.shape(array) in shapes]
    if named:
        return named[0]
    if len(fitting) == 1:
        return fitting[0]
    found = ", ".join(name for name in arrays if not name.startswith("__")) or "nothing"
    raise _error(
        path,
        f"predicted joints are an array called {_PREDICTION_KEYS[0]}",
        found,
        f"name it {_PREDICTION_KEYS[0]}",
    )


def write_points(path: Path, points_px: FloatArray, scores: FloatArray) -> None:
    """Writes predicted joints as ``read_points`` reads them, and how confident they are.

    Args:
        path: A .npz or .mat file.
        points_px: Positions, counted from 1 (P, 16, 2).
        scores: The peaks of the heat maps (P, 16).

    Raises:
        BranchworkError: If the file's name ends in something else.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise BranchworkError(
            Problem(
                where=str(path),
                rule="predicted joints are written as .npz or .mat",
                got=f"a file name that ends in {path.suffix!r}",
                do=f"write {path.with_suffix('.npz').name}",
            )
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"preds": points_px, "scores": scores}
    with path.open("wb") as file:
        if path.suffix.lower() == ".npz":
            np.savez(file, allow_pickle=False, **arrays)
        else:
            savemat(file, arrays)


def _arrays(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            if path.suffix.lower() in {".npz", ".npy"}:
                loaded = np.load(file, allow_pickle=False)
                return {_UNNAMED: loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
            arrays_of_mat: dict[str, Any] = loadmat(file)
            return arrays_of_mat
    except _READ_ERRORS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST]
        if "pickle" in reason:
            # NumPy goes on to say how to load such a file without any protection.
            reason = "Python objects, or bytes that are no arrays"
        raise _error(
            path,
            "arrays are read from a .npz or .npy file, or a .mat file of version 7 or before",
            reason,
            "restore the file, or save it with scipy.io.savemat",
        ) from None


def _numbers(path: Path, key: str, array: object) -> FloatArray:
    values: npt.NDArray[Any] = np.asarray(array)
    if values.dtype.kind not in "fiub":
        got = f"values of {values.dtype}"
        raise _error(path, f"{key} holds finite numbers", got, "correct the array")
    return values.astype(np.float64)


def _check_finite(path: Path, key: str, values: FloatArray) -> None:
    """Checks those values of an array that count.

    Raises:
        DataError: If one is NaN or infinite.
    """
    if not np.isfinite(values).all():
        got = "NaN or infinite ones where they count"
        raise _error(path, f"{key} holds finite numbers", got, "correct the array")


def _error(where: Path, rule: str, got: str, do: str) -> DataError:
    return DataError(Problem(where=str(where), rule=rule, got=got, do=do))
