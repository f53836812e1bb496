"""What the key-point tasks share whose files have COCO's form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ._coco_form import COCO_FORM, CocoForm
from ._coco_people import (
    diagnose_people,
    diagnose_people_files,
    keep_best,
    score_people,
    score_people_files,
    write_people,
)
from ._diagnosis import Diagnosis
from ._keypoint_task import KeypointTask
from ._oks import COCO_SIMILARITY, KeypointResults, Similarity
from ._oks_suppression import KEEP_ALL
from ._results import ImageResults
from ._task import TaskData


@dataclass(frozen=True, kw_only=True)
class CocoFormTask(KeypointTask):
    """Key points in COCO's form, scored by object key-point similarity."""

    results: ClassVar[type[ImageResults]] = KeypointResults
    metric: ClassVar[str] = KeypointResults.headline
    prediction_suffixes: ClassVar[tuple[str, ...]] = (".json",)

    form: ClassVar[CocoForm] = COCO_FORM
    """How the annotation files are laid out."""

    similarity: ClassVar[Similarity] = COCO_SIMILARITY
    """How similar a prediction is to a person."""

    @property
    def most_similar(self) -> float:
        """The similarity above which the less confident of two predictions goes; 1 keeps all."""
        return KEEP_ALL

    def suppressed(self, predictions: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        """Returns predictions without the weaker ones of the same person."""
        return keep_best(predictions, self.most_similar, self.similarity)

    def score(self, data: TaskData, predictions: Sequence[dict[str, Any]]) -> ImageResults:
        """Scores predictions by COCO's key-point metrics.

        Raises:
            DataError: If a prediction is for an image that the split does not have.
        """
        return score_people(data, self.suppressed(predictions), self.similarity)

    def score_files(self, annotations: Path, predictions: Path) -> ImageResults:
        """Scores a file in COCO's results form.

        Args:
            annotations: The annotation file of a split.
            predictions: A JSON list of image_id, category_id, score, and three numbers a key
                point in keypoints.

        Raises:
            DataError: If a file is missing or cannot be used, or if the two do not fit.
        """
        return score_people_files(
            annotations,
            predictions,
            form=self.form,
            nms=self.most_similar,
            similarity=self.similarity,
        )

    def write_predictions(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], out: Path
    ) -> None:
        """Writes predictions in COCO's results form, those that suppression leaves.

        Raises:
            BranchworkError: If the file's name does not end in ``.json``.
        """
        del data
        write_people(self.suppressed(predictions), out)

    def diagnose(
        self, data: TaskData, predictions: Sequence[dict[str, Any]], results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every key point: jitter, inversion, swap or miss."""
        del results
        return diagnose_people(data, self.suppressed(predictions), self.similarity)

    def diagnose_files(
        self, annotations: Path, predictions: Path, results: ImageResults
    ) -> Diagnosis:
        """Returns what went wrong with every key point of a file in COCO's results form."""
        del results
        return diagnose_people_files(
            annotations,
            predictions,
            form=self.form,
            nms=self.most_similar,
            similarity=self.similarity,
        )
