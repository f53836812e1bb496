"""Small data folders in HRNet's layout of MPII."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

NUM_JOINTS = 16


def mpii_person(image: str, /, **changes: Any) -> dict[str, Any]:
    """Someone whose joints lie on a slanted line, in pixels counted from 1."""
    return {
        "image": image,
        "center": [41.0, 51.0],
        "scale": 0.3,
        "joints": [[21.0 + 2 * joint, 31.0 + 3 * joint] for joint in range(NUM_JOINTS)],
        "joints_vis": [1] * NUM_JOINTS,
        **changes,
    }


def write_mpii(folder: Path, people: dict[str, list[dict[str, Any]]] | None = None) -> Path:
    """Writes splits and their truth; by default 4 people to learn from and 3 to be scored on."""
    if people is None:
        people = {
            "train": [mpii_person(f"{number:03d}.jpg") for number in (1, 2, 3, 4)],
            "valid": [mpii_person("005.jpg"), mpii_person("005.jpg"), mpii_person("006.jpg")],
        }
    (folder / "annot").mkdir(parents=True)
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for split, entries in people.items():
        (folder / "annot" / f"{split}.json").write_text(json.dumps(entries))
        for name in {entry["image"] for entry in entries}:
            pixels = cv2.resize(rng.integers(0, 256, (9, 8, 3), np.uint8), (80, 90))
            cv2.imwrite(str(folder / "images" / name), pixels)
    write_truth(folder, "valid", people["valid"])
    return folder


def write_truth(folder: Path, split: str, people: list[dict[str, Any]]) -> None:
    """Writes gt_SPLIT.mat: heads of 30 x 40 pixels, so 30 pixels long."""
    points = np.array([entry["joints"] for entry in people])
    seen = np.array([entry["joints_vis"] for entry in people])
    boxes = np.tile(np.array([[10.0, 10.0], [40.0, 50.0]])[..., None], len(people))
    savemat(
        folder / "annot" / f"gt_{split}.mat",
        {
            "pos_gt_src": points.transpose(1, 2, 0),
            "jnt_missing": 1 - seen.T,
            "headboxes_src": boxes,
        },
    )
