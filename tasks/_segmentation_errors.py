"""What goes wrong with each class: what is missed, and what it is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ._diagnosis import Diagnosis
from ._results import FloatArray, ImageResults
from ._segmentation_results import SegmentationResults

_NO_CLASS = "no class"


@dataclass(frozen=True, kw_only=True)
class SegmentationErrors(Diagnosis):
    """Errors by class.

    Attributes:
        results: The confusion matrices that they are read from.
    """

    results: SegmentationResults

    @classmethod
    def of(cls, results: ImageResults) -> SegmentationErrors:
        """Returns the errors of results of a segmentation task."""
        assert isinstance(results, SegmentationResults)
        return cls(results=results)

    @property
    def convention(self) -> str:
        """Pixels of all images, by their true class."""
        return (
            "pixels of all images together; accuracy and confusions are fractions of a class's own "
            "(labelled) pixels; most confused: the class that its missed pixels mostly get"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """IoU, accuracy, and the class that it is mostly taken for."""
        return ("class", "pixels", "IoU", "accuracy", "most confused with", "share")

    def rows(self) -> list[tuple[str | float, ...]]:
        """Returns a row a class."""
        report = self.results.report()
        rows: list[tuple[str | float, ...]] = []
        for index, name in enumerate(self.results.labels.class_names):
            other, share = self._most_confused(index)
            iou, accuracy = report["class_iou"][name], report["class_accuracy"][name]
            rows.append(
                (
                    name,
                    int(self._confusion[index].sum()),
                    np.nan if iou is None else iou,
                    np.nan if accuracy is None else accuracy,
                    other or "-",
                    share,
                )
            )
        return rows

    def parts(self) -> Sequence[tuple[str, dict[str, float]]]:
        """Returns how much of every labelled class is right, most confused, or something else."""
        found = []
        for index, name in enumerate(self.results.labels.class_names):
            whole = self._confusion[index].sum()
            if not whole:
                continue
            right = float(self._confusion[index, index] / whole)
            other, share = self._most_confused(index)
            named = f"{name} (for {other})" if other else name
            found.append(
                (named, {"right": right, "most confused": share, "others": 1 - right - share})
            )
        return found

    def report(self) -> dict[str, Any]:
        """Returns the errors by class; None where a class does not occur."""
        return {
            "convention": self.convention,
            "per_class": {
                str(name): {
                    "num_pixels": pixels,
                    "iou": iou,
                    "accuracy": accuracy,
                    "most_confused_with": None if other == "-" else other,
                    "most_confused_share": share,
                }
                for name, pixels, iou, accuracy, other, share in self.rows()
            },
        }

    @cached_property
    def _confusion(self) -> FloatArray:
        """Pixels by true class and predicted class, a last column for what is no class."""
        ids = list(self.results.labels.class_ids)
        true = self.results.confusion.sum(axis=0)[ids]
        of_classes = true[:, ids]
        rest = true.sum(axis=1) - of_classes.sum(axis=1)
        confusion: FloatArray = np.column_stack([of_classes, rest]).astype(np.float64)
        return confusion

    def _most_confused(self, index: int) -> tuple[str | None, float]:
        """Returns what a class is most often taken for, and the fraction of its pixels."""
        row = self._confusion[index].copy()
        whole = row.sum()
        row[index] = 0
        if not whole:
            return None, float("nan")
        worst = int(np.argmax(row))
        names = (*self.results.labels.class_names, _NO_CLASS)
        return (names[worst], float(row[worst] / whole)) if row[worst] else (None, 0.0)
