"""What all tests share: where outside files lie, one thread, reproducible property tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

torch.set_num_threads(1)

settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=int(os.environ.get("BRANCHWORK_EXAMPLES", "25")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("tests")

_WHERE = "data that is not ours to ship lies in the folder BRANCHWORK_SHARED (default ../shared)"


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_file() -> Callable[[str], Path]:
    """Returns the path of a file or folder of ``../shared``; the test skips where it is absent."""

    def find(name: str) -> Path:
        path = _shared_folder() / name
        if not path.exists():
            pytest.skip(f"no {name}: {_WHERE}")
        return path

    return find


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``../shared``, or the one that BRANCHWORK_SHARED names; skips where absent."""
    folder = _shared_folder()
    if not folder.is_dir():
        pytest.skip(f"no {folder.name}: {_WHERE}")
    return folder


def _shared_folder() -> Path:
    return (ROOT / os.environ.get("BRANCHWORK_SHARED", "../shared")).resolve()
