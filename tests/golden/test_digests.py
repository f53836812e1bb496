"""Golden digests: no kind may compute something else without raising its revision.

A digest is a few sums over what a kind's module puts out in eval and train mode, with weights and
inputs that are functions of names and positions alone. After a deliberate change, with the
revision raised, ``python tests/golden/test_digests.py`` from the repository's root writes the
digests anew.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from layer_examples import Example, examples  # noqa: E402 - the file is a script, too

from blocks import SLOTS, ImageSize, layer_to_dict  # noqa: E402

DIGESTS = Path(__file__).with_name("digests.json")
SIZE = ImageSize(64, 96)
EXAMPLES = examples()


def key_of(example: Example) -> str:
    """The kind, its revision, and the fields of the example."""
    registry = SLOTS[example.slot]
    revision = registry.entry_of(type(example.layer)).revision
    fields = {k: v for k, v in layer_to_dict(registry, example.layer).items() if k != "kind"}
    return f"{example} r{revision} {json.dumps(fields, sort_keys=True)}"


def digest(example: Example) -> list[float]:
    """Three sums of each of: outputs in eval mode, in train mode, and buffers after that."""
    groups: tuple[list[Tensor], ...] = ([], [], [])
    for ins in example.ins:
        module = example.layer.build(ins).double()
        fill(module)
        inputs = [wave((2, *shape.at(SIZE)), str(index)) for index, shape in enumerate(ins)]
        with torch.no_grad():
            groups[0].extend(module.eval()(inputs))
            groups[1].extend(module.train()(inputs))
        groups[2].extend(buffer.double() for buffer in module.buffers())
    return [float(f"{value:.8g}") for group in groups for value in sums(group)]


def fill(module: nn.Module) -> None:
    """Sets parameters and buffers by their names; the order in which they are made is free."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            # Weights as large as usual, so that what they multiply keeps its size.
            fan_in = math.prod(value.shape[1:]) if value.dim() > 1 else 1
            value.copy_(wave(tuple(value.shape), name) / math.sqrt(fan_in))
        for name, value in module.named_buffers():
            if name.endswith("running_var"):
                value.copy_(1 + wave(tuple(value.shape), name).square())
            elif name.endswith("running_mean"):
                value.copy_(wave(tuple(value.shape), name))


def wave(shape: tuple[int, ...], name: str) -> Tensor:
    """Numbers between -2 and 2 that look random and are the same on every machine."""
    phase = zlib.crc32(name.encode()) % 997
    positions = torch.arange(math.prod(shape), dtype=torch.float64)
    return (torch.sin(positions * 1.7 + phase) + torch.cos(positions * 0.37 * phase)).view(shape)


def sums(tensors: list[Tensor]) -> Iterator[float]:
    values = torch.cat([tensor.flatten() for tensor in tensors]) if tensors else torch.zeros(1)
    yield values.sum().item()
    yield values.abs().sum().item()
    # Blind to no swap of positions or channels.
    yield (values.double() * wave(tuple(values.shape), "direction")).sum().item()


def differs(ours: list[float], golden: list[float]) -> bool:
    # float64 rounds differently from machine to machine, far below this.
    return ours != pytest.approx(golden, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("example", EXAMPLES, ids=key_of)
def test_numerics_are_those_of_the_revision(example: Example):
    golden = json.loads(DIGESTS.read_text(encoding="utf-8"))
    key = key_of(example)
    assert key in golden, f"write a digest for {key}: python tests/golden/test_digests.py"
    ours = digest(example)
    assert not differs(ours, golden[key]), (
        f"{key} computes something else than it did: raise the revision of {example} where it is "
        f"registered, then run python tests/golden/test_digests.py; "
        f"got {ours}, golden is {golden[key]}"
    )


def test_no_digest_is_left_over():
    golden = json.loads(DIGESTS.read_text(encoding="utf-8"))
    assert set(golden) == {key_of(example) for example in EXAMPLES}


def test_a_digest_sees_small_changes():
    example = next(e for e in EXAMPLES if e.kind == "ccw")
    golden = digest(example)
    assert not differs(digest(example), golden)
    nudged = [value * (1 + 1e-5) for value in golden]
    assert differs(nudged, golden)
    others = [digest(e) for e in EXAMPLES if e.kind == "ccw" and e is not example]
    assert all(differs(other, golden) for other in others)


def test_a_digest_stands_above_the_initialisation():
    example = EXAMPLES[0]
    torch.manual_seed(1)
    first = digest(example)
    torch.manual_seed(2)
    assert digest(example) == first


if __name__ == "__main__":
    rows = [f"{json.dumps(key_of(one))}: {json.dumps(digest(one))}" for one in EXAMPLES]
    DIGESTS.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
