"""``branchwork export``: files, what they say, and what a user can get wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from networks import PRESETS, spec_id, spec_to_dict
from networks.deploy import onnx_checking
from training import Checkpoint, RunIdentity, save_checkpoint

PLUGIN = Path(__file__).parents[1] / "plugin" / "distribution" / "scaled_residual.py"


def held(path: Path) -> dict[str, str]:
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def test_a_preset(command, tmp_path):
    result = command("export", "mobilenet_v2", "--to", "onnx", "--input", "64x32", "--json")
    assert result.code == 0, result.err
    (row,) = json.loads(result.out)
    path = tmp_path / "mobilenet_v2_64x32.onnx"
    assert [each.name for each in tmp_path.iterdir()] == [path.name] == [row["file"]]
    assert (row["network"], row["input"], row["batch"]) == ("mobilenet_v2", "64x32", 1)
    assert (row["size_bytes"], row["opset"]) == (path.stat().st_size, 20)
    assert row["num_nodes"] == len(onnx.load(path).graph.node)
    assert row["weights"] == held(path)["branchwork.weights"] == "random weights, seed 0"
    spec = PRESETS["mobilenet_v2"].make(17)
    assert row["spec_id"] == held(path)["branchwork.spec_id"] == spec_id(spec)
    if row["checked_in"]:
        assert row["max_share"] <= 1e-3
    profile = json.loads(
        command("profile", str(path), "mobilenet_v2", "--input", "64x32", "--json").out
    )
    assert profile[0]["macs"] == profile[1]["macs"]


def test_the_table_names_the_file_and_the_conditions(command):
    result = command("export", "mobilenet_v2", "--input", "64x32")
    assert "mobilenet_v2_64x32.onnx" in result.out
    assert "float32, random weights, seed 0" in result.out


def test_the_seed_sets_the_weights(command, tmp_path):
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        command(
            "export", "mobilenet_v2", "--input", "32x32", "--out", f"{name}.onnx", "--seed", seed
        )
    a, b, c = ((tmp_path / f"{name}.onnx").read_bytes() for name in "abc")
    assert a == b != c


def test_several_networks_go_into_a_folder(command, tmp_path):
    names = ("mobilenet_v2", "shufflenet_v2")
    result = command("export", *names, "--input", "32x32", "--out", "made/here", "--batch", "2")
    assert result.code == 0, result.err
    found = sorted(each.name for each in (tmp_path / "made" / "here").iterdir())
    assert found == [f"{name}_32x32_batch2.onnx" for name in names]


def test_one_that_does_not_fit_leaves_the_others(command, tmp_path):
    result = command("export", "lite_hrnet_18", "hrnet_w32", "--input", "48x48", "--json")
    assert result.code == 2
    assert json.loads(result.out) == []
    assert result.err.count("multiples of the coarsest stride") == 2
    assert not list(tmp_path.iterdir())


def test_rewritten(command, tmp_path):
    asked = ("export", "lite_hrnet_18", "--input", "32x32", "--set", "branches=2", "--json")
    (plain,) = json.loads(command(*asked).out)
    result = command(*asked, "--rewrite", "--batch", "2")
    assert result.code == 0, result.err
    (row,) = json.loads(result.out)
    assert row["file"] == plain["file"].replace(".onnx", "_batch2_rewritten.onnx")
    assert row["num_nodes"] < plain["num_nodes"]
    assert held(tmp_path / row["file"])["branchwork.rewritten"] == "true"
    (blocked,) = json.loads(command(*asked, "--rewrite", "--blocked").out)
    assert blocked["file"] == plain["file"].replace(".onnx", "_rewritten_blocked.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / blocked["file"]).graph.node]
    assert "Slice" not in operators
    assert (row["blocked"], blocked["blocked"]) == (False, True)


def test_blocks_of_channels_are_for_what_is_rewritten(command):
    result = command("export", "lite_hrnet_18", "--blocked")
    assert result.code == 2
    assert "add --rewrite" in result.err


def test_a_block_of_ones_own(command, tmp_path):
    shutil.copytree(PLUGIN.parent, tmp_path / "mine")
    result = command(
        *("export", "lite_hrnet_18", "--set", "block=scaled_residual", "--input", "32x32"),
        *("--blocks", "mine", "--out", "own.onnx", "--json"),
    )
    assert result.code == 0, result.err
    assert "scaled_residual" in held(tmp_path / "own.onnx")["branchwork.spec"]


def test_trained_weights_are_those_of_the_checkpoint(command, tmp_path):
    spec = PRESETS["mobilenet_v2"].make(17)
    module = spec.build()
    identity = RunIdentity(
        spec_id=spec_id(spec), task="coco_keypoints", input="64x32", schedule={}, data={}, seed=0
    )
    save_checkpoint(
        tmp_path / "last.ckpt",
        Checkpoint(
            identity=identity,
            spec=spec_to_dict(spec),
            step=0,
            model=module.state_dict(),
            optimiser={},
            rng=torch.get_rng_state(),
            curve=[],
            losses=[],
            elapsed_s=0.0,
        ),
    )
    result = command("export", "-", "--checkpoint", "last.ckpt", "--out", "net.onnx", "--json")
    assert result.code == 0, result.err
    (row,) = json.loads(result.out)
    assert (row["input"], row["spec_id"]) == ("64x32", spec_id(spec))
    assert row["weights"] == "weights of last.ckpt"
    model = onnx.load(tmp_path / "net.onnx")
    written = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    for name, value in module.named_parameters():
        assert np.array_equal(written[name], value.detach().numpy())
    other = command("export", "lite_hrnet_18", "--checkpoint", "last.ckpt")
    assert other.code == 2
    assert "the checkpoint must be of lite_hrnet_18" in other.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lite_hrnet_18", "--to", "onx"), "did you mean 'onnx'?"),
        (("lite_hrnet_18", "--input", "100x100"), "pad the image to 128x128"),
        (("lite_hrnet_19",), "did you mean 'lite_hrnet_18'?"),
        (("-",), "name the network, or the checkpoint"),
        (("lite_hrnet_18", "--checkpoint", "none.ckpt"), "no such file"),
        (("lite_hrnet_18", "hrnet_w32", "--out", "a.onnx"), "name a folder"),
        (("lite_hrnet_18", "hrnet_w32", "--checkpoint", "a.ckpt"), "export them one by one"),
        (("mobilenet_v2", "--input", "32x32", "--out", "file/net.onnx"), "check the path"),
    ],
)
def test_mistakes(command, tmp_path, arguments, said):
    (tmp_path / "file").write_text("")
    result = command("export", *arguments)
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_file_that_puts_out_something_else_is_not_kept(command, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnx_checking, "MOST_OFF", 0.0)
    (tmp_path / "mobilenet_v2_32x32.onnx").write_text("old")
    result = command("export", "mobilenet_v2", "--input", "32x32")
    assert result.code == 2
    assert "outputs that are off by" in result.err
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_an_operator_that_onnx_lacks_is_named_with_its_address(command, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    code = PLUGIN.read_text(encoding="utf-8")
    code = code.replace("scaled_residual", "sorted_residual").replace("layer_scale", "sorting")
    code = code.replace("self.conv(x) * self.scale", "self.conv(x).sort(1).values * self.scale")
    (folder / "sorting.py").write_text(code, encoding="utf-8")
    result = command(
        *("export", "lite_hrnet_18", "--set", "block=sorted_residual", "--input", "32x32"),
        *("--blocks", "mine"),
    )
    assert result.code == 2
    assert "stages.0.units.0.body.0.block.0" in result.err
    assert "sort" in result.err
