"""Calibration of a device that is not this machine: a folder to copy there, a table that returns.

The folder has ONNX models, what they are, and a script with two modules that need neither PyTorch
nor this package. What the script writes is a calibration but for what was learned from it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from analysis.calibration_files import read_calibration
from analysis.calibration_networks import ANCHOR, DrawnNetwork, draw_networks
from analysis.calibrations import Calibration
from analysis.latency import random_module
from blocks import BranchworkError, Problem
from networks import spec_to_dict

COPIED_SCRIPT = "measure.py"
_FILES = {
    "calibration_script.py": COPIED_SCRIPT,
    "calibration_profiles.py": "calibration_profiles.py",
    "calibration_turns.py": "calibration_turns.py",
}
"""What goes along, and how it is called there."""
_INDEX = "networks.json"


def export_calibration(
    folder: Path,
    *,
    num_networks: int,
    seed: int = 0,
    on_progress: Callable[[float, str], None] = lambda _done, _text: None,
) -> int:
    """Writes the folder that goes to another device.

    Args:
        folder: The folder; it must be empty or new.
        num_networks: How many networks are measured there.
        seed: What they are drawn from.
        on_progress: Is told how many are written, and what comes next.

    Returns:
        Bytes of all models.

    Raises:
        BranchworkError: If the folder has files, or ONNX models cannot be written.
    """
    from networks.deploy.onnx_writing import check_onnx_is_installed, to_onnx

    check_onnx_is_installed()
    if folder.exists() and any(folder.iterdir()):
        raise BranchworkError(
            Problem(
                where=str(folder),
                rule="networks are exported into a folder of their own",
                got="a folder with files in it",
                do="name another folder",
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    num_bytes = 0

    def write(name: str, network: DrawnNetwork) -> dict[str, Any]:
        nonlocal num_bytes
        model = to_onnx(random_module(network.spec), network.size).SerializeToString()
        (folder / name).write_bytes(model)
        num_bytes += len(model)
        return {"file": name, "spec": spec_to_dict(network.spec), "input": str(network.size)}

    entries = []
    for index, network in enumerate(itertools.islice(draw_networks(seed), num_networks)):
        on_progress(index, "writing networks")
        entries.append(write(f"network_{index:03}.onnx", network))
    contents = {"anchor": write("anchor.onnx", ANCHOR), "networks": entries}
    (folder / _INDEX).write_text(json.dumps(contents), encoding="utf-8")
    for ours, theirs in _FILES.items():
        text = files("analysis").joinpath(ours).read_text(encoding="utf-8")
        # There they lie side by side.
        (folder / theirs).write_text(text.replace("from analysis.", "from "), encoding="utf-8")
    return num_bytes


def import_table(path: Path) -> Calibration:
    """Reads the table that the script wrote on another device.

    Raises:
        BranchworkError: If it is missing, or is no such table.
    """
    return read_calibration(path)
