"""Per-image results beside their records, so that networks can be compared without their data.

    RUNS/STUDY/results/ID.npz

Written before the record of the same id, whole or not at all; holds numbers and text alone.
"""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.records import Record
from analysis.store import RunStore
from blocks import BranchworkError, Problem

Arrays = Mapping[str, NDArray[Any]]
"""Named arrays of numbers or text."""


@dataclass(frozen=True)
class ImageResultsStore:
    """Reads and writes the per-image results of a run store.

    Attributes:
        store: The run store.
    """

    store: RunStore

    def write(self, study: str, record_id: str, arrays: Arrays) -> None:
        """Keeps the per-image results of one record.

        Args:
            study: The record's study.
            record_id: Its id.
            arrays: The results.
        """
        folder = self.store.study_folder(study) / "results"
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{record_id}.{uuid.uuid4().hex}.tmp"
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
            temporary.replace(folder / f"{record_id}.npz")
        finally:
            temporary.unlink(missing_ok=True)

    def read(self, record: Record) -> dict[str, NDArray[Any]]:
        """Returns the per-image results of a record; those of another if it took its score over.

        Raises:
            BranchworkError: If there are none, or if the file cannot be read.
        """
        study, _, record_id = (record.reused_from or record.reference).rpartition("/")
        path = self.store.study_folder(study) / "results" / f"{record_id}.npz"
        if not path.is_file():
            raise BranchworkError(
                Problem(
                    where=record.reference,
                    rule="networks are compared by the per-image results beside their records",
                    got=f"no file {path.name} in {path.parent}",
                    do="train the network again; older versions did not keep them",
                )
            )
        try:
            # NumPy leaves a file open that is no archive, unless it was opened before.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise BranchworkError(
                Problem(
                    where=str(path),
                    rule="per-image results are a readable .npz file",
                    got=f"{type(error).__name__}: {error}",
                    do="restore the file, or train the network again",
                )
            ) from None
