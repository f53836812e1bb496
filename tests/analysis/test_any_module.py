"""Modules of others: counted without values, marked where something is missing."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from analysis.any_module import import_network, is_import_path, profile_module
from analysis.conventions import CONVENTIONS, OF_PUBLISHED_CODE
from blocks import ImageSize, SpecError, record

SIZE = ImageSize(32, 32)


class Mixed(nn.Module):
    """Convolutions whose weights are computed, matrix products with weights on either side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3, 2, 1))
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2, groups=2)
        self.left = nn.Parameter(torch.randn(5, 32))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.unused = nn.Linear(3, 4)

    def forward(self, x):
        x = self.up(self.conv(x)).relu()
        rows = self.left @ x
        tokens = rows.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0], x.softmax(1)


def test_multiply_accumulates_are_torch_s_own_formulas():
    module = Mixed().eval()
    image = torch.empty(1, 3, 32, 32, device="meta")
    profiled = profile_module(module, SIZE)
    with FlopCounterMode(display=False) as count, torch.no_grad():
        module.to("meta")(image)
    assert profiled.cost.macs * 2 == count.get_total_flops() > 0
    assert profiled.cost.conventions["torch"] == count.get_total_flops()
    assert not profiled.is_partial
    assert set(profiled.cost.conventions) == set(CONVENTIONS) - OF_PUBLISHED_CODE


def test_parts_add_up_and_parameters_that_are_never_used_count():
    module = Mixed()
    profiled = profile_module(module, SIZE)
    held = sum(parameter.numel() for parameter in module.parameters())
    assert profiled.cost.params == profiled.cost.conventions["params"] == held
    for name in profiled.cost.conventions:
        parts = sum(part.conventions[name] for part in profiled.parts)
        assert parts == profiled.cost.conventions[name], name
    unused = next(part for part in profiled.parts if part.name == "unused")
    assert (unused.params, unused.macs) == (16, 0)


class Asks(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else x + 1


def test_dynamic_control_flow_is_told_by_module_and_what_ran_before_counts():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), Asks()), nn.Conv2d(4, 4, 3))
    profiled = profile_module(module, SIZE, "mine:Net")
    assert profiled.is_partial
    assert profiled.cost.macs == 4 * 27 * 30 * 30
    said = str(profiled.problem)
    assert said.startswith("mine:Net, 1.1 (Asks): a module runs on meta tensors")
    assert "item() cannot be called on meta tensors" in said
    assert "the 4 operations before it are counted" in said


class Tries(nn.Module):
    """Survives a failure inside, then fails itself."""

    def __init__(self) -> None:
        super().__init__()
        self.asks = Asks()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        try:
            x = self.asks(x)
        except RuntimeError:
            x = self.conv(x)
        raise KeyError("no such scale")


def test_the_module_that_failed_is_named_not_one_that_was_caught():
    profiled = profile_module(Tries(), SIZE, "mine:Tries")
    assert str(profiled.problem).startswith("mine:Tries (Tries): ")
    assert "KeyError: 'no such scale'" in str(profiled.problem)
    assert profiled.cost.macs == 9 * 32 * 32


class Leaves(nn.Module):
    def __init__(self, leave) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.leave = leave

    def forward(self, x):
        return self.leave(self.conv(x))


def _quit(x):
    raise SystemExit(3)


def _while_positive(x):
    while x.sum() > 0:
        x = x - 1
    return x


@pytest.mark.parametrize(
    ("leave", "said"),
    [
        (lambda x: x.sum().item(), "item() cannot be called on meta tensors"),
        (lambda x: x.numpy(), "can't convert meta device type tensor to numpy"),
        (lambda x: x[x > 0], "nonzero"),
        (_while_positive, "meta tensors"),
        (_quit, "SystemExit: 3"),
    ],
)
def test_what_needs_values_or_leaves_is_told_and_what_ran_before_counts(leave, said):
    profiled = profile_module(Leaves(leave), SIZE, "mine:Net")
    assert profiled.is_partial
    assert str(profiled.problem).startswith("mine:Net (Leaves): ")
    assert said in str(profiled.problem)
    assert profiled.cost.macs == 12 * 32 * 32


def test_a_lazy_module_and_half_precision():
    lazy = profile_module(nn.Sequential(nn.Conv2d(3, 4, 1), nn.LazyConv2d(4, 1)), SIZE, "mine:Lazy")
    assert lazy.is_partial
    assert lazy.cost.params == 16
    half = profile_module(nn.Conv2d(3, 4, 1).half(), SIZE)
    assert not half.is_partial
    assert half.cost.macs == 12 * 32 * 32


class Halves(nn.Module):
    """Adds what was halved and doubled again, which a side that is odd does not survive."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 3, 3, 2, 1)

    def forward(self, x):
        return x + nn.functional.interpolate(self.down(x), scale_factor=2)


def test_a_size_that_does_not_fit_is_told_with_the_size_to_pad_to():
    profiled = profile_module(Halves(), ImageSize(31, 20), "mine:Halves")
    assert profiled.is_partial
    assert "pad the image to 32x32, at which it runs" in str(profiled.problem)
    assert profiled.cost.macs == 16 * 10 * 81


def test_tokens_of_several_images_are_pooled_by_every_convention():
    class Folds(nn.Sequential):
        def forward(self, x):
            return super().forward(x.reshape(4, 3, 16, 16))

    profiled = profile_module(Folds(nn.AdaptiveAvgPool2d(1)), SIZE)
    assert profiled.cost.conventions["paper"] == 4 * 3 * 17 * 17


class Transforms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return torch.fft.rfft2(self.conv(x)).abs() + torch.arange(17)


def test_operations_without_a_formula_are_listed():
    profiled = profile_module(Transforms(), SIZE)
    assert profiled.is_partial
    assert profiled.problem is None
    assert profiled.recording.uncounted == {"_fft_r2c": 1}
    assert profiled.notes == ("_fft_r2c was not counted (no formula for such calls), in (itself)",)
    assert profiled.cost.macs == 12 * 32 * 32


class Flows(nn.Module):
    """Writes without putting out, reads by keyword, and computes something for nothing."""

    def forward(self, x):
        x.cos()
        raised = x.sin()
        torch._foreach_add_([raised], 1.0)
        order = raised.flatten().argsort()
        return torch.searchsorted(x.flatten(), x, sorter=order)


def test_what_the_output_depends_on_is_followed_through_writes_and_keywords():
    recording = record(Flows(), [torch.empty(1, 3, 8, 8)])
    read = dict(zip([op.kind for op in recording.ops], recording.are_read, strict=True))
    assert read == {
        "cos": False,
        "sin": True,
        "_foreach_add": True,
        "sort": True,
        "searchsorted": True,
    }


def test_the_module_is_left_as_it_is():
    module = Mixed().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    profile_module(module, SIZE)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(each._forward_hooks for each in module.modules())


CODE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, channels=4):
        super().__init__(nn.Conv2d(3, channels, 3))

def small():
    return Net(2)

made = Net()
number = 3
needs = lambda x: x
def leaves():
    raise SystemExit(3)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "modules_of_mine.py").write_text(CODE)
    (tmp_path / "broken_of_mine.py").write_text("import no_such_library")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "modules_of_mine", raising=False)
    return tmp_path


@pytest.mark.parametrize(("name", "channels"), [("Net", 4), ("small", 2), ("made", 4)])
def test_a_class_a_function_or_a_module_is_imported_from_the_working_folder(folder, name, channels):
    assert import_network(f"modules_of_mine:{name}")[0].out_channels == channels


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("modules_of_mine:Nett", "did you mean 'Net'?"),
        ("modules_of_mine:number", "got an object of type int"),
        ("modules_of_mine:needs", "missing 1 required positional argument"),
        ("modules_of_mine:leaves", "got SystemExit: 3"),
        ("broken_of_mine:Net", "No module named 'no_such_library'"),
        ("modules_of_nobody:Net", "No module named 'modules_of_nobody'"),
    ],
)
def test_what_makes_no_module_is_told_in_one_line(folder, path, said):
    with pytest.raises(SpecError) as caught:
        import_network(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b:C", True),
        ("a:make.it", True),
        ("lite_hrnet_18", False),
        ("x.json", False),
        ("a:", False),
    ],
)
def test_import_paths_are_told_from_networks(name, expected):
    assert is_import_path(name) is expected
