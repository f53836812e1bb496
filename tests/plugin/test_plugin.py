"""A block in an installed package of a third party is found, checked and counted.

The package is laid out as an installer would leave it, so that no network is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from blocks import ENTRY_POINT_GROUP

DISTRIBUTION = Path(__file__).with_name("distribution")


def install(site: Path) -> None:
    """Lays the distribution out in ``site`` as an installer does."""
    project = tomllib.loads((DISTRIBUTION / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    ((group, points),) = project["entry-points"].items()
    assert group == ENTRY_POINT_GROUP
    for module in points.values():
        shutil.copy(DISTRIBUTION / f"{module}.py", site)
    write_metadata(site, project["name"], points)


def write_metadata(site: Path, name: str, points: dict[str, str]) -> None:
    info = site / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n", encoding="utf-8"
    )
    lines = [f"[{ENTRY_POINT_GROUP}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def run(root):
    def run(site: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(root)))}
        return subprocess.run(
            [sys.executable, *options, "-c", code],
            env=environment,
            cwd=site,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_the_block_is_registered_keeps_the_contract_and_is_counted(tmp_path, run):
    code = """
import json
from analysis.cost import measure_cost
from blocks import SLOTS, ImageSize, Slot
from blocks.testing import check_block
from networks import apply_choices, lite_hrnet_18, spec_from_dict, spec_to_dict

entry = SLOTS[Slot.BLOCK].get("layer_scale")
for activation in (True, False):
    check_block(entry.cls(activation=activation))
spec = spec_from_dict(apply_choices(spec_to_dict(lite_hrnet_18()), {"block": "layer_scale"}))
cost = measure_cost(spec, ImageSize(64, 64))
held = sum(parameter.numel() for parameter in spec.build().parameters())
print(json.dumps([entry.name, entry.revision, entry.summary, cost.params == held]))
"""
    install(tmp_path)
    result = run(tmp_path, code, "-W", "error:entry point")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [
        "scaled_residual",
        2,
        "Adds a depthwise convolution, each channel scaled by a learnable number.",
        True,
    ]


BROKEN = {
    "absent": ("import branchwork_is_not_this", "ModuleNotFoundError: No module named"),
    "leaves": ("raise SystemExit('goodbye\\nand hello')", "got SystemExit: goodbye and hello;"),
    "unread": ("def broken(:", "got SyntaxError: "),
    "taken": (
        "from blocks import register_block\n@register_block('ccw')\nclass Taken: ...",
        "every block kind is registered once, got 'ccw', held by blocks.ccw.",
    ),
    "late": (
        (DISTRIBUTION / "scaled_residual.py")
        .read_text(encoding="utf-8")
        .replace('"scaled_residual"', '"late"')
        .replace('"layer_scale"', '"too_late"')
        + "\nraise RuntimeError('too late')\n",
        "got RuntimeError: too late; mend or uninstall package-late",
    ),
}


def test_broken_packages_are_named_and_keep_nothing_from_starting(tmp_path, run):
    install(tmp_path)
    for name, (code, _) in BROKEN.items():
        (tmp_path / f"block_{name}.py").write_text(code, encoding="utf-8")
        write_metadata(tmp_path, f"package-{name}", {name: f"block_{name}"})
    result = run(
        tmp_path,
        """
import json
import blocks
try:
    blocks.load_installed_blocks()
except blocks.SpecError as error:
    kinds = [(entry.name, *entry.aliases) for entry in blocks.SLOTS[blocks.Slot.BLOCK]]
    print(json.dumps([kinds, [str(problem) for problem in error.problems]]))
""",
    )
    assert result.returncode == 0, result.stderr
    kinds, problems = json.loads(result.stdout)
    # The whole package is there; nothing that a broken one registered stays.
    assert ["scaled_residual", "layer_scale"] in kinds
    assert not {"late", "too_late"} & {name for names in kinds for name in names}
    assert len(problems) == len(BROKEN)
    for name, (_, said) in BROKEN.items():
        (problem,) = [text for text in problems if f" of package-{name}: " in text]
        assert problem.startswith(f"entry point {name} of ")
        assert said in problem
        assert "\n" not in problem
        # Starting up warned of it.
        assert problem in result.stderr
    assert "Traceback" not in result.stderr
