"""Results of semantic segmentation: one confusion matrix an image, and what follows from it."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from ._label_files import LabelImage
from ._label_sets import LabelSet
from ._results import Arrays, FloatArray, ImageResults, checked_weights

METRICS = ("mIoU", "mAcc", "aAcc")


@dataclass(frozen=True, kw_only=True)
class SegmentationResults(ImageResults):
    """Confusion matrices of one network on one split, by image.

    Pixels whose true id is no class count for nothing. Of the others, a class's IoU is
    TP / (TP + FP + FN), over the pixels of all images; a pixel that is predicted as something
    that is no class is missed. Means skip classes that occur neither in the labels nor in the
    predictions (``mAcc``: in the labels), as the official script of Cityscapes does. ``mAcc`` is
    the mean over classes of the pixels that were found, ``aAcc`` the share of all pixels.

    Attributes:
        names: The images, in the order of the weights.
        labels: Which ids are classes.
        confusion: Pixels by image, true id and predicted id, int64 (I, num_ids, num_ids).
    """

    headline: ClassVar[str] = "mIoU"
    metric_names: ClassVar[tuple[str, ...]] = METRICS

    names: tuple[str, ...]
    labels: LabelSet
    confusion: npt.NDArray[np.int64]

    @property
    def image_names(self) -> tuple[str, ...]:
        """The images' names, sorted."""
        return self.names

    def score(self, image_weights: npt.ArrayLike, metric: str = "") -> FloatArray:
        """Returns a metric under each row of image weights; see ``ImageResults.score``."""
        weights = checked_weights(image_weights, self.num_images)
        matrices = self._weighed(weights)
        metric = metric or self.headline
        if metric == "aAcc":
            found, true, _ = self._pixels(matrices, self._groups())
            return _ratio(found.sum(axis=1), true.sum(axis=1))
        scores = {"mIoU": self._iou, "mAcc": self._accuracy}[metric]
        return _mean(scores(matrices))

    def beside(self, other: Self) -> Self:
        """Returns the results on these images and, after them, another network's on the same."""
        return dataclasses.replace(
            self,
            names=self.names + other.names,
            confusion=np.concatenate([self.confusion, other.confusion]),
        )

    def report(self) -> dict[str, Any]:
        """Returns IoU by class, and by category where there are any, as fractions.

        The keys are those of Cityscapes' official script; None stands for what is undefined.
        """
        matrices = self._weighed(np.ones((1, self.num_images)))
        metrics = self.metrics
        by_class = dict(zip(self.labels.class_names, self._iou(matrices)[0], strict=True))
        report: dict[str, Any] = {
            "class_iou": {name: _plain(value) for name, value in by_class.items()},
            "mean_iou_as_reported": _plain(metrics["mIoU"]),
        }
        if self.labels.categories:
            groups = self._categories()
            values = self._iou_of(matrices, list(groups.values()))
            by_category = dict.fromkeys(self.labels.void_categories, math.nan) | dict(
                zip(groups, values[0].tolist(), strict=True)
            )
            report["category_iou"] = {name: _plain(value) for name, value in by_category.items()}
            report["mean_category_iou"] = _plain(float(_mean(values)[0]))
        found = dict(zip(self.labels.class_names, self._accuracy(matrices)[0], strict=True))
        report["class_accuracy"] = {name: _plain(value) for name, value in found.items()}
        report["mean_accuracy"] = _plain(metrics["mAcc"])
        report["pixel_accuracy"] = _plain(metrics["aAcc"])
        return report

    @property
    def notes(self) -> tuple[str, ...]:
        """Says so if predictions look like train ids: numbers of classes instead of their ids."""
        made = np.flatnonzero(self.confusion.any(axis=(0, 1)))
        # Ids that are no class show nothing where ids and numbers are the same.
        numbered = self.labels.class_ids == tuple(range(self.labels.num_classes))
        strays = np.setdiff1d(made, self.labels.class_ids)
        if numbered or not strays.size or made.max() >= self.labels.num_classes:
            return ()
        note = (
            f"the predictions look like train ids: none is above {self.labels.num_classes - 1}, "
            f"and label ids {', '.join(map(str, strays.tolist()))} are no classes; they were "
            "scored as label ids: turn them into label ids first if they are train ids"
        )
        return (note,)

    def arrays(self) -> Arrays:
        """Returns all of it as arrays."""
        labels = self.labels
        return {
            "names": np.array(self.names, dtype=np.str_),
            "confusion": self.confusion,
            "num_ids": np.array(labels.num_ids),
            "class_names": np.array(labels.class_names, dtype=np.str_),
            "class_ids": np.array(labels.class_ids),
            "categories": np.array(labels.categories, dtype=np.str_),
            "void_categories": np.array(labels.void_categories, dtype=np.str_),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Makes results from their arrays."""
        return cls(
            names=tuple(arrays["names"].tolist()),
            confusion=arrays["confusion"],
            labels=LabelSet(
                num_ids=int(arrays["num_ids"]),
                class_names=tuple(arrays["class_names"].tolist()),
                class_ids=tuple(arrays["class_ids"].tolist()),
                categories=tuple(arrays["categories"].tolist()),
                void_categories=tuple(arrays["void_categories"].tolist()),
            ),
        )

    def _weighed(self, weights: FloatArray) -> FloatArray:
        """Returns the sum of the images' matrices under each row of weights (R, ids, ids)."""
        flat = self.confusion.reshape(self.num_images, -1)
        # Most pairs of ids never occur; the product of the others is much smaller.
        used = flat.any(axis=0)
        weighed = np.zeros((len(weights), flat.shape[1]))
        weighed[:, used] = weights @ flat[:, used].astype(np.float64)
        return weighed.reshape(len(weights), *self.confusion.shape[1:])

    def _groups(self) -> list[tuple[int, ...]]:
        return [(number,) for number in self.labels.class_ids]

    def _categories(self) -> dict[str, tuple[int, ...]]:
        pairs = list(zip(self.labels.categories, self.labels.class_ids, strict=True))
        return {
            name: tuple(number for other, number in pairs if other == name)
            for name in dict.fromkeys(self.labels.categories)
        }

    def _pixels(
        self, matrices: FloatArray, groups: Sequence[tuple[int, ...]]
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Returns each group's pixels: found, true, and predicted among all that count (R, G)."""
        counted = matrices[:, list(self.labels.class_ids)]
        found = [matrices[:, list(ids)][:, :, list(ids)].sum(axis=(1, 2)) for ids in groups]
        true = [matrices[:, list(ids)].sum(axis=(1, 2)) for ids in groups]
        made = [counted[:, :, list(ids)].sum(axis=(1, 2)) for ids in groups]
        return np.stack(found, axis=1), np.stack(true, axis=1), np.stack(made, axis=1)

    def _iou(self, matrices: FloatArray) -> FloatArray:
        return self._iou_of(matrices, self._groups())

    def _iou_of(self, matrices: FloatArray, groups: Sequence[tuple[int, ...]]) -> FloatArray:
        found, true, made = self._pixels(matrices, groups)
        return _ratio(found, true + made - found)

    def _accuracy(self, matrices: FloatArray) -> FloatArray:
        found, true, _ = self._pixels(matrices, self._groups())
        return _ratio(found, true)


def count_pixels(true: LabelImage, made: LabelImage, num_ids: int) -> npt.NDArray[np.int64]:
    """Returns the confusion matrix of one image (num_ids, num_ids).

    Args:
        true: Its label image, all ids below ``num_ids``.
        made: The prediction, of the same size, all ids below ``num_ids``.
        num_ids: Number of ids.
    """
    pairs = true.astype(np.intp) * num_ids + made
    counts = np.bincount(pairs.ravel(), minlength=num_ids**2)
    return counts.reshape(num_ids, num_ids).astype(np.int64)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    ratio: FloatArray = np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)
    return ratio


def _mean(values: FloatArray) -> FloatArray:
    with warnings.catch_warnings():
        # A row without any class has the mean NaN, which is what it means.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean: FloatArray = np.nanmean(values, axis=1)
    return mean


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
