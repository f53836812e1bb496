"""What COCO's evaluation server takes: a zip of one results file with a name of its form.

The form: https://cocodataset.org/#upload, ``person_keypoints_[testset]_[alg]_results.json``.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._coco_results import check_json_name, write_json

_PERSON = 1
_COORDINATE_DIGITS = 2
_SCORE_DIGITS = 5
# What the server's name is made of is parted by underscores.
_UNFIT = re.compile(r"[^A-Za-z0-9-]+")


def write_coco_submission(predictions: Sequence[dict[str, Any]], *, split: str, out: Path) -> Path:
    """Writes predictions for COCO's server.

    Args:
        predictions: In COCO's results form.
        split: The split's name, such as test-dev2017.
        out: A JSON file; if its name is not of the server's form, it becomes the algorithm's.

    Returns:
        The zip file to upload; the JSON file lies beside it.

    Raises:
        BranchworkError: If the file's name does not end in ``.json``.
    """
    check_json_name(out)
    prefix, suffix = f"person_keypoints_{split}_", "_results"
    algorithm = out.stem.removeprefix(prefix).removesuffix(suffix)
    path = out.with_name(
        f"{prefix}{_UNFIT.sub('-', algorithm).strip('-') or 'network'}{suffix}.json"
    )
    write_json(path, [_rounded(made) for made in predictions])
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path, path.name)
    return archive


def _rounded(made: dict[str, Any]) -> dict[str, Any]:
    return {
        "image_id": made["image_id"],
        "category_id": _PERSON,
        "keypoints": [round(number, _COORDINATE_DIGITS) for number in made["keypoints"]],
        "score": round(made["score"], _SCORE_DIGITS),
    }
