"""Reads the run store, each file once: records never change, so what was read stays true."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import streamlit as st

from analysis.records import Record
from analysis.store import Loaded, RunStore

RUNS_VARIABLE = "BRANCHWORK_RUNS"
_DEFAULT_RUNS = "runs"
_MAX_STUDIES = 64

_Seen = dict[Path, tuple[tuple[int, int], Record | str]]


def run_store() -> RunStore:
    """Returns the run store that the environment names, ``./runs`` by default."""
    return RunStore(Path(os.environ.get(RUNS_VARIABLE) or _DEFAULT_RUNS))


def newest_studies(store: RunStore) -> list[str]:
    """Returns the names of all studies, the one that was written to last first."""

    def last_written(study: str) -> int:
        folder = store.root / study
        return max(
            path.stat().st_mtime_ns for path in (folder, folder / "records") if path.is_dir()
        )

    return sorted(store.studies(), key=last_written, reverse=True)


def read_records(store: RunStore, study: str) -> Loaded:
    """Reads a study's records; of files that were read before, only those that changed.

    Returns:
        The records, and a line for each file that is none.
    """
    seen = _seen(str(store.root.resolve()), study)
    records, broken = [], []
    for path in sorted((store.root / study / "records").glob("*.json")):
        found = _read(store, path, seen)
        if isinstance(found, str):
            broken.append(found)
        else:
            records.append(found)
    return Loaded(records=tuple(records), broken=tuple(broken))


def search_settings(store: RunStore, study: str) -> str:
    """Returns how a study searches, in one line; "" where it is no search."""
    try:
        text = (store.root / study / "study.toml").read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, ValueError):
        return ""
    search, limits = data.get("study"), data.get("limits")
    parts = []
    if isinstance(search, dict):
        objectives = search.get("objectives")
        if isinstance(objectives, list):
            parts.append(f"objectives {', '.join(map(str, objectives))}")
        parts += [f"{key} {search[key]}" for key in ("sampler", "trials", "seed") if key in search]
    if isinstance(limits, dict) and limits:
        written = (
            f"{key} at most {value:,.10g}" for key, value in limits.items() if _number(value)
        )
        parts.append(f"limits {', '.join(written)}")
    return "; ".join(parts)


def _read(store: RunStore, path: Path, seen: _Seen) -> Record | str:
    try:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        if path not in seen or seen[path][0] != stamp:
            seen[path] = (stamp, store.read(path))
    except OSError as error:
        return f"{path}: {error.strerror}"
    except ValueError as error:
        seen[path] = (stamp, str(error))
    return seen[path][1]


@st.cache_resource(max_entries=_MAX_STUDIES, show_spinner=False)
def _seen(root: str, study: str) -> _Seen:
    """What was read of a study so far: shared by all sessions, filled by ``read_records``."""
    del root, study
    return {}


def _number(value: object) -> bool:
    return isinstance(value, int | float)
