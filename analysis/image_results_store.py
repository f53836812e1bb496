"""Per-image results beside their records, so that networks can be compared without their data.

    RUNS/STUDY/results/ID.npz

Written before the record of the same id, whole or not at all; holds numbers and text alone.
"""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from typing import Protocol as StructuralType

import numpy as np
from numpy.typing import NDArray

from analysis.permutation import Pairable
from analysis.records import Record
from analysis.store import RunStore
from blocks import BranchworkError, Problem

Arrays = Mapping[str, NDArray[Any]]
"""Named arrays of numbers or text."""

P_co = TypeVar("P_co", bound=Pairable, covariant=True)


class ResultsType(StructuralType[P_co]):
    """The type of a task's per-image results, which only the task's package knows."""

    def from_arrays(self, arrays: Arrays, /) -> P_co:
        """Makes results from their arrays.

        Raises:
            KeyError: If an array is missing.
        """
        ...


ReadResults = Callable[[Record], Pairable | None]
"""Returns the per-image results of a record, None where there are none that can be read."""


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

    def results(self, record: Record, kind: ResultsType[P_co]) -> P_co:
        """Returns the per-image results of a record as its task weighs them.

        Args:
            record: A scored record.
            kind: The type of its task's results.

        Raises:
            BranchworkError: If there are none, or if the file cannot be read or lacks a part.
        """
        arrays = self.read(record)
        try:
            return kind.from_arrays(arrays)
        except KeyError as error:
            raise BranchworkError(
                Problem(
                    where=record.reference,
                    rule=f"per-image results hold everything that {record.task} is scored by",
                    got=f"no array {error.args[0]!r}",
                    do="train the network again",
                )
            ) from None

    def reader(self, kind_of: Callable[[str], ResultsType[Pairable]]) -> ReadResults:
        """Returns a function that reads what there is, for texts that can do without.

        Args:
            kind_of: Gives the type of results of a task's name.
        """

        def read(record: Record) -> Pairable | None:
            try:
                return self.results(record, kind_of(record.task))
            except BranchworkError:
                return None

        return read
