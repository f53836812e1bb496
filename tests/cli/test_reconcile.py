"""``branchwork profile --reconcile`` and import paths, as a user meets them."""

from __future__ import annotations

import json

import pytest

CODE = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))

class Asks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
    def forward(self, x):
        x = self.conv(x)
        return x if x.mean() > 0 else x + 1
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "nets_of_mine.py").write_text(CODE)


def test_a_network_is_reconciled_with_what_the_tools_print(command):
    result = command("profile", "mobilenet_v2", "--input", "64x64", "--reconcile", "--json")
    assert (result.code, result.err) == (0, "")
    data = json.loads(result.out)[0]
    assert data["tools"] == {name: data["conventions"][name] for name in ("fvcore", "thop")}
    assert data["tool_failures"] == {}
    pairs = {(each["first"], each["second"]): each for each in data["reconciliation"]}
    assert set(pairs) == {("macs", name) for name in data["conventions"] if name != "macs"}
    for (_, name), each in pairs.items():
        assert each["second_count"] == data["conventions"][name]
        assert each["difference"] == each["second_count"] - each["first_count"]
        assert sum(row["difference"] for row in each["rows"]) == each["difference"]
        assert each["unexplained"] == 0


def test_a_module_of_the_user_is_reconciled_and_printed(command, mine):
    result = command("profile", "nets_of_mine:Net", "--input", "32x32", "--between", "fvcore,thop")
    assert result.code == 0
    # 2 and 4 for each of the 4·30·30 elements of the batch norm.
    assert "fvcore itself prints 111,600; its emulation says 111,600." in result.out
    assert "thop itself prints 118,800; its emulation says 118,800." in result.out
    assert "not explained" not in result.out
    line = next(line for line in result.out.splitlines() if "batch_norm" in line)
    assert line.split()[2:] == ["1", "7,200", "14,400", "+7,200"]
    assert result.out.split("whole")[1].split()[:4] == ["3", "111,600", "118,800", "+7,200"]


def test_a_partial_count_is_marked_everywhere(command, mine):
    result = command("profile", "nets_of_mine:Asks", "lite_hrnet_18", "--input", "32x32", "--json")
    assert result.code == 2
    assert result.err.startswith("error: nets_of_mine:Asks (Asks): a module runs on meta tensors")
    assert len(result.err.splitlines()) == 1
    first, second = json.loads(result.out)
    assert (first["is_partial"], first["macs"], first["params"]) == (True, 12_288, 16)
    assert first["stopped_by"] in result.err
    assert (second["is_partial"], second["uncounted"]) == (False, {})
    shown = command("profile", "nets_of_mine:Asks", "--input", "32x32")
    assert "nets_of_mine:Asks (partial)" in shown.out


def test_a_module_by_layer(command, mine):
    result = command("profile", "nets_of_mine:Net", "--input", "32x32", "--by", "layer", "--json")
    data = json.loads(result.out)[0]
    assert [part["name"] for part in data["parts"]] == ["0", "1", "2"]
    assert sum(part["macs"] for part in data["parts"]) == data["macs"] == 104_400
    assert (data["spec_id"], data["task"], data["num_outputs"]) == (None, None, None)


def test_what_counts_published_code_is_left_out_for_modules(command, mine):
    arguments = ("nets_of_mine:Net", "lite_hrnet_18", "--input", "32x32")
    module, network = json.loads(command("profile", *arguments, "--json").out)
    assert list(module["conventions"]) == list(network["conventions"])
    unknown = {name for name, count in module["conventions"].items() if count is None}
    assert unknown == {"published_execution", "mmcv"}
    assert None not in network["conventions"].values()
    shown = command("profile", *arguments, "--conventions").out
    line = next(line for line in shown.splitlines() if line.split()[:1] == ["mmcv"])
    assert line.split()[1] == "-"
    assert line.split()[2] == f"{network['conventions']['mmcv']:,}"
    assert "which only our specs" not in command("profile", "lite_hrnet_18", "--conventions").out


def test_a_module_is_reconciled_by_the_conventions_that_it_has(command, mine):
    result = command("profile", "nets_of_mine:Net", "--input", "32x32", "--reconcile", "--json")
    (data,) = json.loads(result.out)
    named = {each["second"] for each in data["reconciliation"]}
    known = {name for name, count in data["conventions"].items() if count is not None}
    assert named == known - {"macs"}


def test_all_conventions_are_printed_when_asked_for(command):
    assert "242,345,088" not in command("profile", "lite_hrnet_18").out
    shown = command("profile", "lite_hrnet_18", "--conventions")
    assert "242,345,088" in shown.out
    assert "Calls that touch memory" in shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lite_hrnet_18", "--between", "fvcore,thopp"], "did you mean 'thop'?"),
        (["lite_hrnet_18", "--between", "fvcore"], "write fvcore,thop, for example"),
        (["nets_of_mine:Net", "--between", "macs,mmcv"], "write macs,fvcore, for example"),
        (["nets_of_mine:Net", "--by", "slot"], "write --by layer"),
        (["nets_of_mine:Net", "--set", "branches=3"], "leave --set out"),
        (["nets_of_mine:Nett"], "did you mean 'Net'?"),
    ],
)
def test_a_mistake_is_one_line(command, mine, arguments, said):
    result = command("profile", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert len(result.err.splitlines()) == 1


def test_published_pairs_say_how_far_they_are_reproduced(command):
    rows = json.loads(command("published", "--json").out)
    agreement = [row["flops_agreement"] for row in rows]
    assert agreement.count("to rounding") == len(rows) - 1
    missed = next(row for row in rows if row["flops_agreement"] == "not")
    assert (missed["printed_flops"], missed["reproduced_by"]) == ("418.7 M", [])
    assert missed["flops_residual"] == pytest.approx(-4.122, abs=1e-3)
    assert {row["params_agreement"] for row in rows} == {"to rounding"}
    for row in rows:
        if row is not missed:
            first = row["reproduced_by"][0]
            assert (first["convention"], first["unit"]) == (row["convention"], row["unit"])
    text = command("published").out
    assert "418.7 M is given by no convention in any unit" in text
