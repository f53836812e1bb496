"""Every runtime computes what eager does, says what it lacks, and leaves the network as it is."""

import functools
import tempfile

import onnx
import pytest
import torch
from onnx import helper
from tiny_runtimes import LITTLE, SIZE, subject, tiny_spec
from torch import fx, nn

from analysis.latency import measure_latencies, random_module
from analysis.output_check import compare_outputs
from analysis.runtimes import RUNTIMES, Conditions, UnusableRuntimeError, onnx_runtime, open_vino
from analysis.runtimes.compiled import compiled
from analysis.runtimes.module_times import module_times_ms
from analysis.runtimes.node_names import NodeNames
from networks.deploy.capturing import capture


@pytest.fixture(scope="module")
def module():
    """A network whose batch norms do something."""
    made = random_module(tiny_spec())
    generator = torch.Generator().manual_seed(1)
    for each in made.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_(generator=generator)
            each.running_var.uniform_(0.5, 2.0, generator=generator)
    return made


def runtime_here(name):
    missing = RUNTIMES[name].missing()
    if missing is not None:
        pytest.skip(str(missing))
    return RUNTIMES[name]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != "compile"])
def test_outputs_are_those_of_the_module(name, batch, module):
    prepared = runtime_here(name).prepare(module, Conditions(size=SIZE, batch=batch, threads=2))
    with torch.no_grad():
        expected = module(Conditions(size=SIZE, batch=batch).images())
    outputs = prepared.outputs()
    assert outputs[0].shape == (batch, 17, 16, 8)
    assert compare_outputs(outputs, (expected,), "float32").objection == ""
    with prepared.turn():
        prepared.run()
    again = prepared.outputs()
    assert torch.equal(again[0], outputs[0])


# PyTorch's compiler uses what PyTorch has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method.:DeprecationWarning")
def test_compiled_code_computes_the_same():
    small = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU()).eval()
    prepared = runtime_here("compile").prepare(small, Conditions(size=SIZE))
    with torch.no_grad():
        expected = small(Conditions(size=SIZE).images())
    assert compare_outputs(prepared.outputs(), (expected,), "float32").objection == ""
    assert (prepared.num_kernels(), prepared.layer_times_ms()) == (None, None)


def test_any_number_of_networks_of_one_class_are_compiled(monkeypatch):
    # What is told here is how PyTorch keeps what it compiles, whatever the backend.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    images = Conditions(size=SIZE).images()
    for width in range(1, 13):
        each = nn.Sequential(nn.Conv2d(3, width, 1)).eval()
        with torch.no_grad():
            assert torch.equal(compiled(each)(images), each(images))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_eager_computes_in_other_number_formats(dtype, module):
    plain = RUNTIMES["eager"].prepare(module, Conditions(size=SIZE)).outputs()
    found = RUNTIMES["eager"].prepare(module, Conditions(size=SIZE, dtype=dtype)).outputs()
    assert found[0].dtype == torch.float32
    assert not torch.equal(found[0], plain[0])
    assert compare_outputs(found, plain, dtype).objection == ""
    assert next(module.parameters()).dtype == torch.float32


def test_openvino_computes_in_float32_unless_told_otherwise(module):
    runtime = runtime_here("openvino")
    assert runtime.prepare(module, Conditions(size=SIZE)).precision() == "f32"
    try:
        prepared = runtime.prepare(module, Conditions(size=SIZE, dtype="bfloat16"))
    except UnusableRuntimeError as error:
        pytest.skip(str(error))
    assert prepared.precision() == "bf16"


def test_a_number_format_that_openvino_replaces_is_refused(module, monkeypatch):
    runtime = runtime_here("openvino")
    monkeypatch.setattr(open_vino._OpenVinoPrepared, "precision", lambda _: "bf16")
    with pytest.raises(UnusableRuntimeError, match="got bf16 where float32 was asked for"):
        runtime.prepare(module, Conditions(size=SIZE))


@pytest.mark.parametrize("name", ["eager", "onnxruntime", "openvino"])
def test_operators_and_layers_are_told(name, module):
    runtime_here(name)
    asked = subject(name, module=module)
    (found,) = measure_latencies([asked], effort=LITTLE, with_layers=True).measured
    assert found.is_right
    times_ms = dict(found.layer_times_ms)
    addresses = {address for address, _ in module.named_modules()}
    assert addresses >= times_ms.keys()
    assert all(time_ms >= 0 for time_ms in times_ms.values())
    for part in ("stem", "stages.0.transition", "stages.0.units.0.body.0.block", "aggregator"):
        assert sum(ms for address, ms in times_ms.items() if address.startswith(part)) > 0, part
    assert 20 < found.latency.kernels < 300


def test_most_of_openvino_s_time_has_an_address(module):
    prepared = runtime_here("openvino").prepare(module, Conditions(size=SIZE))
    times_ms = prepared.layer_times_ms()
    assert times_ms.get("", 0.0) < 0.3 * sum(times_ms.values())


def test_nothing_changes_the_module(module):
    before = {key: value.clone() for key, value in module.state_dict().items()}
    module.train()
    for name in ("eager", "onnxruntime", "openvino"):
        prepared = runtime_here(name).prepare(module, Conditions(size=SIZE))
        prepared.run()
        prepared.layer_times_ms()
        prepared.num_kernels()
    assert module.training
    module.eval()
    after = module.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(each._forward_hooks for each in module.modules())


@pytest.mark.parametrize(
    ("where", "name", "package", "extra"),
    [
        (onnx_runtime, "onnxruntime", "onnxruntime", "export"),
        (onnx_runtime, "onnxruntime", "onnx", "export"),
        (open_vino, "openvino", "openvino", "openvino"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(  # noqa: PLR0917
    where, name, package, extra, monkeypatch, module
):
    monkeypatch.setattr(where, "find_spec", lambda asked: None if asked == package else object())
    with pytest.raises(UnusableRuntimeError) as caught:
        RUNTIMES[name].prepare(module, Conditions(size=SIZE))
    assert str(caught.value) == (
        f"{name}: a runtime that measures is installed, got no package '{package}'; "
        f'run pip install "branchwork[{extra}]"'
    )


@pytest.mark.parametrize("name", ["cuda", "cuda_compile", "cuda_graphs"])
def test_a_gpu_that_is_absent_is_one_clear_line(name, module):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UnusableRuntimeError, match=f"^{name}: .*needs an NVIDIA GPU"):
        RUNTIMES[name].prepare(module, Conditions(size=SIZE))


def test_no_compiler_is_one_clear_line(monkeypatch, module):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UnusableRuntimeError, match=r"compile: .*install g\+\+ or clang"):
        RUNTIMES["compile"].prepare(module, Conditions(size=SIZE))


def test_onnx_runtime_s_files_are_gone(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    runtime_here("onnxruntime").prepare(module, Conditions(size=SIZE)).num_kernels()
    # PyTorch makes a folder for what it compiles, whoever imports that part of it first.
    left = [path.name for path in tmp_path.iterdir() if "torchinductor" not in path.name]
    assert left == []


def test_the_times_of_a_graph_stand_under_its_addresses(module):
    graph = capture(module, SIZE)
    assert isinstance(graph, fx.GraphModule)
    times_ms = module_times_ms(graph, Conditions(size=SIZE).images())
    assert times_ms["stem.conv.0.conv"] > 0
    # Every operator comes from a module, and what the interpreter does itself is left out.
    assert times_ms.keys() <= {address for address, _ in module.named_modules()} - {""}


def test_what_a_runtime_executes_is_traced_to_the_nodes_of_the_file():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["/a.conv/Conv_out"], name="/a.conv/Conv"),
        helper.make_node("Relu", ["/a.conv/Conv_out"], ["/a.act/Relu_out"], name="/a.act/Relu"),
        helper.make_node("Relu", ["/a.act/Relu_out"], ["y"], name="/a.act/Relu_1"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    assert isinstance(model, onnx.ModelProto)
    names = NodeNames(model)
    assert names.node("/a.conv/Conv") == "a.conv/Conv"
    assert names.node("/a.conv/Conv_nchwc") == "a.conv/Conv"
    assert names.node("/a.act/Relu_out_nchwc") == "a.act/Relu"
    assert names.node("/a.act/Relu_1") == "a.act/Relu_1"
    assert names.node("fused /a.conv/Conv") == "a.conv/Conv"
    assert names.node("/a.conv/Conv_acdb_abcd_/a.act/Relu") == "a.conv/Conv"
    assert names.node("/a.conv/Convolution") == ""
    assert names.node("ReorderOutput_token_3") == ""
    executed = [("/a.act/Relu", 1.0), ("/a.act/Relu_out_nchwc", 2.0), ("ReorderInput", 4.0)]
    assert names.add_up(executed) == {"a.act/Relu": 3.0, "": 4.0}
