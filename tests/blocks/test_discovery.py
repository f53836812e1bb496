"""A new block is one new file: in ``blocks/``, or in a folder that the user names."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import blocks
from analysis.cost import measure_cost
from blocks import (
    SLOTS,
    BranchworkError,
    ImageSize,
    Slot,
    SpecError,
    load_block_folder,
)
from blocks.testing import check_block
from networks import SpecSpace, apply_choices, lite_hrnet_18, spec_from_dict, spec_to_dict

BLOCK = '''"""A block from outside."""

from __future__ import annotations

from dataclasses import dataclass

from blocks import BranchBlock, Chain, choice, pointwise, register_block


@register_block("outside", aliases=("elsewhere",))
@dataclass(frozen=True, kw_only=True)
class Outside(BranchBlock):
    """Pointwise convolutions in a row."""

    num_convs: int = choice(1, among=(1, 2), help="how many")

    def build_branch(self, shape):
        return self._chain(shape.channels).build()

    def trace_branch(self, tape, shape, x):
        return self._chain(shape.channels).trace(tape, x)

    def _chain(self, channels):
        return Chain((pointwise(channels, channels, "relu"),) * self.num_convs)
'''


@pytest.fixture(autouse=True)
def _as_it_was():
    """Takes out what a test registers and imports."""
    registered = {slot: {entry.name for entry in registry} for slot, registry in SLOTS.items()}
    modules = set(sys.modules)
    yield
    for slot, registry in SLOTS.items():
        for name in {entry.name for entry in registry} - registered[slot]:
            registry.remove(name)
    for name in set(sys.modules) - modules:
        if name.startswith("_branchwork_blocks_"):
            del sys.modules[name]


def kinds() -> list[str]:
    return [entry.name for entry in SLOTS[Slot.BLOCK]]


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_public_file_but_testing_is_a_block():
    folder = Path(blocks.__file__).parent
    public = {i.name for i in pkgutil.iter_modules([str(folder)]) if not i.name.startswith("_")}
    files = {
        entry.cls.__module__ for entry in SLOTS[Slot.BLOCK] if entry.cls.__module__ != "__main__"
    }
    assert {f"blocks.{name}" for name in public - {"testing"}} == files


def test_the_shipped_blocks_are_there():
    shipped = {"basic", "bottleneck", "ccw", "conv1x1_shuffle", "depthwise_separable"}
    assert shipped | {"inverted_residual"} <= set(kinds())


def test_one_file_makes_a_block_for_every_use(tmp_path):
    write(tmp_path, "outside.py", BLOCK)
    assert load_block_folder(tmp_path) == ("outside",)
    entry = SLOTS[Slot.BLOCK].get("elsewhere")
    check_block(entry.cls())
    check_block(entry.cls(num_convs=2))
    data = apply_choices(spec_to_dict(lite_hrnet_18()), {"block": "outside"})
    spec = spec_from_dict(data)
    cost = measure_cost(spec, ImageSize(64, 64))
    assert cost.params == sum(parameter.numel() for parameter in spec.build().parameters())
    space = SpecSpace.resolve(spec, {"block": "all", "stages.0.units.0.body.0.block": "all"})
    assert "outside" in space.dimensions[0].choices


def test_a_folder_named_twice_is_loaded_once(tmp_path, monkeypatch):
    write(tmp_path / "mine", "outside.py", BLOCK)
    load_block_folder(tmp_path / "mine")
    cls = SLOTS[Slot.BLOCK].get("outside").cls
    monkeypatch.chdir(tmp_path)
    load_block_folder(Path("mine"))
    load_block_folder(Path("mine/../mine"))
    assert SLOTS[Slot.BLOCK].get("outside").cls is cls


def test_private_files_and_other_files_are_left_alone(tmp_path):
    write(tmp_path, "_private.py", "raise RuntimeError")
    write(tmp_path, "notes.txt", "no block")
    assert load_block_folder(tmp_path) == ()


def test_a_folder_that_is_none_is_refused(tmp_path):
    path = write(tmp_path, "outside.py", BLOCK)
    for folder in (tmp_path / "absent", path):
        with pytest.raises(BranchworkError, match="--blocks: block files are read from a folder"):
            load_block_folder(folder)


BROKEN = {
    "raises": (BLOCK + "\nraise RuntimeError('two\\nlines')\n", "RuntimeError: two lines;"),
    "does not parse": ("def broken(:\n", "SyntaxError: "),
    "misses a package": ("import no_such_package\n", "ModuleNotFoundError: No module named"),
    "exits": (BLOCK + "\nraise SystemExit(0)\n", "got SystemExit: 0;"),
    "takes a held name": (BLOCK.replace('"outside"', '"ccw"'), "registered once, got 'ccw', held"),
    "takes a held alias": (BLOCK.replace('"elsewhere"', '"basic"'), "got 'basic', held by blocks."),
    "declares a wrong field": (
        BLOCK.replace("    num_convs", "    mutable: list = []\n    num_convs"),
        "ValueError: mutable default",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_and_leaves_nothing_behind(tmp_path, case):
    text, said = BROKEN[case]
    path = write(tmp_path, "broken.py", text)
    before, modules = kinds(), set(sys.modules)
    with pytest.raises(SpecError) as caught:
        load_block_folder(tmp_path)
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}: ")
    assert said in str(problem)
    assert "\n" not in str(problem)
    assert kinds() == before
    assert not [name for name in set(sys.modules) - modules if "broken" in name]
    # Once mended it loads.
    path.write_text(BLOCK, encoding="utf-8")
    load_block_folder(tmp_path)
    assert "outside" in SLOTS[Slot.BLOCK]


def test_files_before_a_broken_one_stay(tmp_path):
    write(tmp_path, "a.py", BLOCK)
    write(tmp_path, "b.py", "raise RuntimeError")
    with pytest.raises(SpecError, match=r"b\.py"):
        load_block_folder(tmp_path)
    assert "outside" in SLOTS[Slot.BLOCK]


def test_a_file_added_to_the_blocks_folder_needs_no_other_edit(tmp_path, root):
    """The package is copied, so that no other test sees the file."""
    copy = tmp_path / "blocks"
    copy.mkdir()
    for path in (root / "blocks").glob("*.py"):
        write(copy, path.name, path.read_text(encoding="utf-8"))
    write(copy, "outside.py", BLOCK)
    asks = "import blocks; print([e.name for e in blocks.SLOTS[blocks.Slot.BLOCK]])"
    result = subprocess.run(
        [sys.executable, "-c", asks],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "'outside'" in result.stdout
