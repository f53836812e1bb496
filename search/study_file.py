"""Study files: read from TOML, and kept beside the results as they were resolved."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from analysis.store import RunStore
from blocks import BranchworkError, Problem, StudyError
from networks import spec_to_dict
from search.journal import JOURNAL_FILE
from search.lock import is_searched
from search.resolving import resolve_study
from search.study import Study

STUDY_FILE = "study.toml"


def read_study(path: Path, *, store: RunStore, data: Path | None = None) -> Study:
    """Reads and resolves a study file.

    Args:
        path: The TOML file.
        store: Where a base that is a ``spec_id`` is looked up.
        data: The data folder; None takes the file's.

    Raises:
        StudyError: With everything that is wrong.
    """
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(
            Problem(
                where=str(path),
                rule="a study file is readable TOML",
                got=f"{type(error).__name__}: {error}",
                do="mend the file; configs/studies holds examples",
            )
        ) from None
    try:
        return resolve_study(written, folder=path.parent, store=store, data=data)
    except BranchworkError as error:
        problems = [
            dataclasses.replace(problem, where=f"{path}: {problem.where}")
            for problem in error.problems
        ]
        raise StudyError(problems) from None


def write_study(study: Study, path: Path) -> None:
    """Writes a resolved study: globs, ``"all"`` and edges written out, choices sorted."""
    data: dict[str, Any] = {
        "study": {
            "name": study.name,
            "base": spec_to_dict(study.space.base),
            "task": study.task_name,
            "input": str(study.input),
            "schedule": study.schedule.settings(),
            "objectives": [item.name for item in study.objectives],
            "sampler": study.sampler,
            "trials": study.trials,
            "seed": study.seed,
            "workers": study.workers,
        },
        "task": dataclasses.asdict(study.task),
        "limits": {limit.objective.name: limit.largest for limit in study.limits},
        "free": {
            dimension.address: list(dimension.choices) for dimension in study.space.dimensions
        },
    }
    if study.strata is not None:
        data["strata"] = {"by": study.strata.by, "edges": list(study.strata.edges)}
    if study.calibrations:
        data["calibrations"] = {
            each.runtime: {"file": str(each.path), "fingerprint": each.fingerprint}
            for each in study.calibrations
        }
    if study.data is not None:
        data["study"]["data"] = str(study.data.resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(tomli_w.dumps(data), encoding="utf-8")
    temporary.replace(path)


def start_search(study: Study, store: RunStore) -> None:
    """Makes the folder of a new study, with its resolved file.

    A study that came to no record, because its limits or its data were wrong, begins anew.

    Raises:
        StudyError: If a study of that name has results already, or is being searched.
    """
    folder = store.study_folder(study.name)
    if any((folder / "records").glob("*.json")) or is_searched(folder):
        raise StudyError(
            Problem(
                where=str(folder),
                rule="a new study needs a new name",
                got=f"{study.name!r}, which has results or is being searched",
                do=f"go on with 'branchwork search resume {study.name}', or change study.name",
            )
        )
    (folder / JOURNAL_FILE).unlink(missing_ok=True)
    write_study(study, folder / STUDY_FILE)


def load_search(name: str, store: RunStore, data: Path | None = None) -> Study:
    """Reads the resolved file of a study that was started before.

    Raises:
        StudyError: If there is none of that name.
    """
    folder = store.require_study(name)
    if not (folder / STUDY_FILE).is_file():
        raise StudyError(
            Problem(
                where=str(folder),
                rule="a search that goes on has a resolved study file",
                got=f"no {STUDY_FILE}",
                do="start a search with 'branchwork search start'",
            )
        )
    return read_study(folder / STUDY_FILE, store=store, data=data)
