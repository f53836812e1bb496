"""Latencies that a study predicts from calibrations instead of measuring them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.latency import Latency
from analysis.objectives import Objective, predicted_name
from blocks import ImageSize, Problem, StudyError
from networks import NetworkSpec

_THREADS = 1
_PREDICTED = "predicted"


@dataclass(frozen=True, kw_only=True)
class StudyCalibration:
    """A calibration that a study predicts from.

    Attributes:
        runtime: What it predicts.
        path: Its file.
        fingerprint: That of the file when the study began.
    """

    runtime: str
    path: Path
    fingerprint: str


class StudyPredictions:
    """Predicts latencies for a study.

    Args:
        calibrations: What it predicts from.
        size: The study's input size.

    Raises:
        BranchworkError: If a file is missing, or is no calibration.
    """

    def __init__(self, calibrations: Sequence[StudyCalibration], size: ImageSize) -> None:
        # Here, so that the processes that train need not import it.
        from analysis.calibration_files import read_calibration

        self._known = [read_calibration(each.path) for each in calibrations]
        self._size = size

    def latencies(self, spec: NetworkSpec) -> tuple[Latency, ...]:
        """Returns what is expected of a network, under names that say it was predicted."""
        return tuple(
            Latency(
                runtime=predicted_name(known.runtime),
                input=self._size,
                batch=1,
                threads=known.threads,
                dtype=known.dtype,
                num_runs=0,
                p50_ms=(time_ms := known.predict_ms(spec, self._size)),
                p90_ms=time_ms,
                min_ms=time_ms,
                verdict=_PREDICTED,
                version=f"{known.version}, calibration {known.fingerprint}",
            )
            for known in self._known
        )


def resolve_calibrations(
    written: Mapping[str, Any], objectives: Collection[Objective], folder: Path, runs: Path
) -> tuple[StudyCalibration, ...]:
    """Returns the calibrations that a study's objectives and limits need.

    Args:
        written: The table ``calibrations`` of its file: a file by runtime; a resolved study gives
            the fingerprint besides.
        objectives: The objectives and what is limited.
        folder: The study file's folder, where files may lie.
        runs: The run store's folder, where this machine's calibrations lie.

    Raises:
        StudyError: If the table names a runtime that the study predicts nothing of, or a
            calibration is not the one that the study began with.
        BranchworkError: If a file is missing, or is no calibration.
    """
    needed = tuple(dict.fromkeys(each.predicted for each in objectives if each.predicted))
    problems = [
        Problem(
            where=f"calibrations.{name}",
            rule="a calibration is named for an objective or limit predicted.RUNTIME",
            got=repr(name),
            do=f"add the objective {predicted_name(name)}, or take this line out",
        )
        for name in written
        if name not in needed
    ]
    if problems:
        raise StudyError(problems)
    return tuple(_resolved(name, written.get(name), folder, runs) for name in needed)


def _resolved(name: str, written: object, folder: Path, runs: Path) -> StudyCalibration:
    from analysis.calibration_files import default_path, read_calibration

    table = written if isinstance(written, Mapping) else {"file": written}
    named = table.get("file")
    if written is None:
        path = default_path(runs, name, _THREADS)
    elif isinstance(named, str):
        beside = folder / named
        path = beside if beside.is_file() else Path(named)
    else:
        raise StudyError(
            Problem(
                where=f"calibrations.{name}",
                rule="this is the path of a calibration",
                got=repr(written),
                do=f'write {name} = "my_calibration.json"',
            )
        )
    known = read_calibration(path)
    began_with = table.get("fingerprint", known.fingerprint)
    if known.runtime != name or known.fingerprint != began_with:
        raise StudyError(
            Problem(
                where=f"calibrations.{name}",
                rule="a study predicts one runtime from one calibration, from begin to end",
                got=f"{path}: {known.runtime}, {known.fingerprint} instead of {name}, {began_with}",
                do="put the calibration back, or start another study",
            )
        )
    return StudyCalibration(runtime=name, path=path.resolve(), fingerprint=known.fingerprint)
