"""The run store: a folder of studies, each a folder of records.

    RUNS/STUDY/records/ID.json
    RUNS/STUDY/study.toml        the resolved study file, where the study is a search

Records are written under a temporary name and renamed, so that a killed process leaves whole
records or none.
"""

from __future__ import annotations

import json
import math
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.records import Record, Status, record_from_dict, record_to_dict
from blocks import BranchworkError, Problem, StudyError, did_you_mean

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class RunStore:
    """Reads and writes the records below one folder.

    Attributes:
        root: The folder; it need not exist before something is written.
    """

    root: Path
    _known: dict[Path, tuple[tuple[int, int], Record]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def study_folder(self, study: str) -> Path:
        """Returns the folder of a study.

        Raises:
            StudyError: If the name could not be a folder's.
        """
        if not _NAME.fullmatch(study):
            raise StudyError(
                Problem(
                    where="study name",
                    rule="a name has letters, digits, '_', '-' and '.', and begins with no dot",
                    got=repr(study),
                    do="choose a name such as pose_widths",
                )
            )
        return self.root / study

    def studies(self) -> tuple[str, ...]:
        """Returns the names of all studies that hold records or a study file."""
        if not self.root.is_dir():
            return ()
        return tuple(
            sorted(
                path.name
                for path in self.root.iterdir()
                if (path / "records").is_dir() or (path / "study.toml").is_file()
            )
        )

    def require_study(self, study: str) -> Path:
        """Returns the folder of a study that exists.

        Raises:
            StudyError: If there is none of that name.
        """
        if study not in self.studies():
            raise StudyError(
                Problem(
                    where=str(self.root),
                    rule="the study must be in the run store",
                    got=repr(study),
                    do=did_you_mean(study, self.studies()),
                )
            )
        return self.study_folder(study)

    def write(self, record: Record) -> Path:
        """Writes a record, whole or not at all; an existing one is never overwritten.

        Returns:
            Its file.

        Raises:
            StudyError: If there is a record of that id already.
        """
        folder = self.study_folder(record.study) / "records"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{record.record_id}.json"
        text = record_text(record)
        temporary = folder / f".{record.record_id}.{uuid.uuid4().hex}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            _rename_to_new(temporary, path)
        except FileExistsError:
            raise StudyError(
                Problem(
                    where=str(path),
                    rule="a record is never changed",
                    got="another of the same id",
                    do="choose another study name",
                )
            ) from None
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def read(self, path: Path) -> Record:
        """Reads one record; a file that did not change since is not read again.

        Raises:
            BranchworkError: If the file is no record.
        """
        try:
            stat = path.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            known = self._known.get(path)
            if known is not None and known[0] == version:
                return known[1]
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BranchworkError(
                Problem(
                    where=str(path),
                    rule="a record is readable JSON",
                    got=f"{type(error).__name__}: {error}",
                    do="restore the file, or delete it",
                )
            ) from None
        record = record_from_dict(data, str(path))
        self._known[path] = (version, record)
        return record

    def load(self, study: str) -> Loaded:
        """Reads all records of a study; files that are none are named, not fatal."""
        records, broken = [], []
        folder = self.study_folder(study) / "records"
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            try:
                records.append(self.read(path))
            except BranchworkError as error:
                broken.append(str(error))
        return Loaded(records=tuple(records), broken=tuple(broken))

    def all_records(self) -> Iterator[Record]:
        """Iterates over the readable records of all studies."""
        for study in self.studies():
            yield from self.load(study).records

    def find_spec(self, spec_id: str) -> Record | None:
        """Returns some record of a network, None if the store has none."""
        # A record of choices that fit no network has no id.
        return next((r for r in self.all_records() if r.spec_id and r.spec_id == spec_id), None)

    def find_score(
        self, spec_id: str, protocol_id: str, input_size: str, seed: int
    ) -> Record | None:
        """Returns the record in which exactly this was trained before, None if there is none."""
        for record in self.all_records():
            score = record.score
            if (
                record.status is Status.TRAINED
                and record.spec_id == spec_id
                and str(record.input) == input_size
                and score is not None
                and (score.protocol_id, score.seed) == (protocol_id, seed)
                and not record.reused_from
            ):
                return record
        return None


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What reading a study gave.

    Attributes:
        records: The records.
        broken: One line for each file that is none.
    """

    records: tuple[Record, ...]
    broken: tuple[str, ...]


def record_text(record: Record) -> str:
    """Returns what a record's file holds."""
    return json.dumps(finite(record_to_dict(record)), indent=1, sort_keys=True) + "\n"


def _rename_to_new(temporary: Path, path: Path) -> None:
    """Renames a file without ever replacing another, which a plain rename would do in silence.

    Raises:
        FileExistsError: If there is a file of that name.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no hard links. There, the name is taken first.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        temporary.replace(path)


def finite(value: Any) -> Any:  # noqa: ANN401 - a tree of data
    """Returns data with NaN and infinity as None: JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
