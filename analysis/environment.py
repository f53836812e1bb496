"""The conditions under which a number was measured."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

_PACKAGES = ("branchwork", "torch", "numpy", "optuna", "pycocotools")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A machine and its software, without anything that names the machine.

    Attributes:
        cpu: CPU model.
        num_cores: Cores that this process may use.
        memory_bytes: Main memory.
        system: Operating system and architecture.
        python: Python's version.
        packages: Versions of the packages that numbers depend on.
        accelerator: GPU model, "" without one.
    """

    cpu: str
    num_cores: int
    memory_bytes: int
    system: str
    python: str
    packages: dict[str, str]
    accelerator: str = ""


@cache
def current_environment() -> Environment:
    """Returns the environment of this process."""
    return Environment(
        cpu=_cpu_model(),
        num_cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else (os.cpu_count() or 1),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        accelerator=_accelerator(),
    )


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown CPU"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _accelerator() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""
