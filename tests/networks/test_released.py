"""Checkpoints of the published layout load, and others are refused with one clear line."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch
from published_layout import published_checkpoint

from blocks import CheckpointError, SpecError
from networks import load_released

RELEASED = (
    "lite_hrnet_18",
    "lite_hrnet_30",
    "naive_lite_hrnet_18",
    "wider_naive_lite_hrnet_18",
)


def saved(folder: Path, data: object, name: str = "checkpoint.pth") -> Path:
    path = folder / name
    torch.save(data, path)
    return path


@pytest.mark.parametrize("name", ["lite_hrnet_18", "naive_lite_hrnet_18"])
def test_the_layout_that_these_tests_write_is_the_published_one(shared_file, name):
    path = shared_file(f"reference/parity/{name}.pth")
    theirs = torch.load(path, weights_only=True)["state_dict"]
    ours = published_checkpoint(name)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("name", RELEASED)
@pytest.mark.parametrize("num_outputs", [17, 16])
def test_the_network_comes_back_ready_to_use(tmp_path, name, num_outputs):
    state = published_checkpoint(name, num_outputs)
    module = load_released(saved(tmp_path, {"state_dict": state, "meta": {"epoch": 210}}), name)
    assert not any(part.training for part in module.modules())
    values = module.state_dict()
    assert {value.dtype for value in values.values()} == {torch.float32, torch.int64}
    # No tensor is lost and none is used twice.
    assert len(values) == len(state)
    assert sorted(value.double().sum().item() for value in values.values()) == sorted(
        value.double().sum().item() for value in state.values()
    )
    with torch.no_grad():
        out = module(torch.zeros(3, 3, 64, 96))
    assert out.shape == (3, num_outputs, 16, 24)
    assert bool(out.isfinite().all())


def test_the_usual_network_is_lite_hrnet_30(tmp_path):
    path = saved(tmp_path, published_checkpoint("lite_hrnet_30"))
    assert len(load_released(path).state_dict()) == len(published_checkpoint("lite_hrnet_30"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "meta": {}},
        lambda state: {"meta": {"classes": ["person"]}, "optimizer": {}, "state_dict": state},
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {name: value.half() for name, value in state.items()},
        lambda state: dict(reversed(state.items())),
    ],
    ids=["bare", "wrapped", "with optimiser", "of a wrapper", "half precision", "reversed"],
)
def test_every_wrapping_gives_the_same_network(tmp_path, wrap):
    state = published_checkpoint("lite_hrnet_18", 5)
    module = load_released(str(saved(tmp_path, wrap(state))), "lite_hrnet_18")
    ours = module.state_dict()
    for published, name in (
        ("backbone.stem.conv1.conv.weight", "stem.conv.0.conv.weight"),
        # Branch 3 lies three steps from branch 0; the third step's second norm is number 5.
        (
            "backbone.stage2.1.fuse_layers.3.0.2.3.running_var",
            "stages.2.units.1.fusion.paths.3.0.5.norm.running_var",
        ),
        ("keypoint_head.final_layer.bias", "head.convs.conv.bias"),
    ):
        torch.testing.assert_close(ours[name], state[published], rtol=1e-3, atol=1e-3)


def test_units_keep_their_numbers(tmp_path):
    state = published_checkpoint("lite_hrnet_30")
    for name in list(state):
        state[name] = state[name.replace("stage1.5.", "stage1.1.")]
    ours = load_released(saved(tmp_path, state)).state_dict()
    fifth = [name for name in ours if name.startswith("stages.1.units.5.")]
    assert len(fifth) > 100
    for name in fifth:
        assert torch.equal(ours[name], ours[name.replace("units.5.", "units.1.")])


class _RunsCode:
    def __reduce__(self):
        return (print, ("a checkpoint that runs code",))


def _without(name: str):
    state = published_checkpoint("lite_hrnet_18")
    del state[name]
    return state


def _with(name: str, value: torch.Tensor):
    return {**published_checkpoint("lite_hrnet_18"), name: value}


HEAD = "keypoint_head.final_layer.weight"

# What is saved, and what the message must say.
REFUSED = {
    "no checkpoint at all": ({"epoch": 3}, "a checkpoint is a mapping from names to tensors"),
    "a list": ([torch.zeros(1)], "got list"),
    "a tensor": (torch.zeros(1), "got Tensor"),
    "empty": ({}, f"no {HEAD}"),
    "an empty state dict": ({"state_dict": {}, "meta": {}}, f"no {HEAD}"),
    "without a head": (_without(HEAD), f"no {HEAD}"),
    "a head of no outputs": (_with(HEAD, torch.zeros(0, 40, 1, 1)), f"no {HEAD}"),
    "a head without dimensions": (_with(HEAD, torch.tensor(1.0)), f"no {HEAD}"),
    "a head of 3x3": (_with(HEAD, torch.zeros(17, 40, 3, 3)), "(17, 40, 3, 3), not"),
    "a tensor missing": (
        _without("backbone.stem.conv1.bn.running_mean"),
        "1 tensors missing (stem.conv.0.norm.running_mean)",
    ),
    "a tensor of another shape": (
        _with("backbone.stem.conv1.conv.weight", torch.zeros(32, 1, 3, 3)),
        "1 of another shape (stem.conv.0.conv.weight is (32, 1, 3, 3), not (32, 3, 3, 3))",
    ),
    "a tensor of another layout": (
        _with("backbone.layer1.0.conv1.weight", torch.zeros(1)),
        "the first being 'backbone.layer1.0.conv1.weight'",
    ),
    "a name of two lines": (_with("a\nb", torch.zeros(1)), r"the first being 'a\nb'"),
    "another depth": (published_checkpoint("lite_hrnet_30"), "tensors too many"),
    "another block": (published_checkpoint("wider_naive_lite_hrnet_18"), "tensors missing"),
    "another width": (published_checkpoint("naive_lite_hrnet_18"), "of another shape"),
}


def one_line(error: CheckpointError, path: Path) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(error.problems) == 1
    problem = error.problems[0]
    assert problem.where == str(path)
    assert problem.rule
    assert problem.got
    assert problem.do
    return text


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_in_one_line(tmp_path, case):
    data, said = REFUSED[case]
    path = saved(tmp_path, data)
    with pytest.raises(CheckpointError) as caught:
        load_released(path, "lite_hrnet_18")
    assert said in one_line(caught.value, path)


def test_a_checkpoint_is_refused_by_every_other_network(tmp_path):
    path = saved(tmp_path, published_checkpoint("lite_hrnet_18"))
    for name in ("lite_hrnet_30", "naive_lite_hrnet_18", "wider_naive_lite_hrnet_18"):
        with pytest.raises(CheckpointError) as caught:
            load_released(path, name)
        assert f"must hold the weights of {name}" in one_line(caught.value, path)
    for name in ("hrnet_w32", "mobilenet_v2", "lite_hrnet_81"):
        with pytest.raises(SpecError, match="a preset with released fusions"):
            load_released(path, name)


def test_counters_may_be_missing_and_nothing_else_changes(tmp_path):
    state = published_checkpoint("lite_hrnet_18")
    old = {key: value for key, value in state.items() if "num_batches_tracked" not in key}
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = load_released(saved(tmp_path, state), "lite_hrnet_18")(image)
        second = load_released(saved(tmp_path, old, "old.pth"), "lite_hrnet_18")(image)
    assert torch.equal(first, second)


def test_values_that_no_training_leaves_are_refused(tmp_path):
    state = published_checkpoint("lite_hrnet_18")
    name = next(key for key in state if key.endswith("conv1.conv.weight"))
    for value in (torch.full_like(state[name], math.nan), state[name].to(torch.int64)):
        path = saved(tmp_path, {**state, name: value}, "odd.pth")
        with pytest.raises(CheckpointError) as caught:
            load_released(path, "lite_hrnet_18")
        assert "1 tensors that are not finite" in one_line(caught.value, path)
    path = saved(tmp_path, {**state, f"module.{name}": state[name]}, "twice.pth")
    with pytest.raises(CheckpointError) as caught:
        load_released(path, "lite_hrnet_18")
    assert "with and without 'module.'" in one_line(caught.value, path)


def test_code_in_a_checkpoint_does_not_run(tmp_path, capsys):
    for path in (
        saved(tmp_path, {"state_dict": {"x": _RunsCode()}}, "torch.pth"),
        tmp_path / "pickle.pth",
    ):
        if not path.exists():
            path.write_bytes(pickle.dumps({"state_dict": _RunsCode()}))
        with pytest.raises(CheckpointError) as caught:
            load_released(path, "lite_hrnet_18")
        assert "weights_only=True" in one_line(caught.value, path)
    assert capsys.readouterr().out == ""


def test_files_that_are_no_checkpoints_are_named(tmp_path):
    (tmp_path / "text.pth").write_text("not a checkpoint")
    (tmp_path / "empty.pth").write_bytes(b"")
    whole = saved(tmp_path, published_checkpoint("lite_hrnet_18")).read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    for name in ("text.pth", "empty.pth", "half.pth", "absent.pth", "."):
        with pytest.raises(CheckpointError) as caught:
            load_released(tmp_path / name, "lite_hrnet_18")
        one_line(caught.value, tmp_path / name)


def test_an_unknown_network_is_told_the_nearest():
    with pytest.raises(SpecError, match=r"network: .* got 'lite_hrnet30'; did you mean 'lite_hrn"):
        load_released("absent.pth", "lite_hrnet30")
