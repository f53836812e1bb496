"""What profilers say that runtimes executed. Needs only those: it goes to other devices."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Protocol

OBSERVED_A_TURN = 4
KEYS = ("name", "operator", "mark", "ins", "filters", "out", "time_ms")
"""What is written down of a kernel, in this order in files."""
EVENT = "_kernel_time"
MATRICES, MAPS = 3, 4
FILTERS = (4, 5)
FREE = frozenset({"Reshape", "Const", "Input", "Output"})
"""What is listed and does nothing."""
ELEMENTWISE = frozenset({"Subgraph", "Eltwise"})
SPLITTING = frozenset({"Split", "StridedSlice"})


class Observer(Protocol):
    """Runs a network under its runtime's profiler."""

    def observe(self) -> None:
        """Makes a few passes; of each kernel the fastest counts."""

    def kernels(self) -> list[dict[str, Any]]:
        """Returns what was executed, and ends it."""


class OnnxObserver:
    """ONNX Runtime's profiler.

    Args:
        model: A file's path, or what is in it.
        options: The session's options, which it may change.
        feed: What goes in.
    """

    def __init__(self, model: Any, options: Any, feed: Any) -> None:  # noqa: ANN401
        import onnxruntime

        self.folder = tempfile.TemporaryDirectory(prefix="branchwork-")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self.folder.name) / "profile")
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self.feed = feed
        self.num_passes = 0

    def observe(self) -> None:
        """Makes a few passes."""
        for _ in range(OBSERVED_A_TURN):
            self.session.run(None, self.feed)
            self.num_passes += 1

    def events(self) -> list[tuple[dict[str, Any], float]]:
        """Returns the events of a pass with the fastest time of each, and ends it."""
        text = Path(self.session.end_profiling()).read_text(encoding="utf-8")
        self.folder.cleanup()
        events = [event for event in json.loads(text) if event["name"].endswith(EVENT)]
        count = len(events) // self.num_passes
        # Every pass executes the same, and nothing makes one of them too quick.
        return [
            (event, min(each["dur"] for each in events[index::count]) / 1e3)
            for index, event in enumerate(events[:count])
        ]

    def kernels(self) -> list[dict[str, Any]]:
        """Returns what was executed."""
        return [
            {**onnx_kernel(event), "time_ms": time_ms}
            for event, time_ms in self.events()
            if event["args"]["op_name"] not in FREE
        ]


def onnx_kernel(event: dict[str, Any]) -> dict[str, Any]:
    """Returns a kernel that an event of ONNX Runtime's profiler stands for."""
    name, operator = event["name"][: -len(EVENT)], event["args"]["op_name"]
    ins = shapes(event["args"]["input_type_shape"])
    (out, *_) = [*shapes(event["args"]["output_type_shape"]), []]
    marks = ["blocked"] if "nchwc" in name and operator != "Upsample" else []
    kernel = {"name": name, "operator": operator, "filters": [], "out": unbatched(out)}
    if operator in {"Conv", "FusedConv"}:
        marks += [mark for mark in ("clip", "sigmoid") if f"/{mark}" in name.lower()]
        image, filters, *others = ins
        added = [shape for shape in others if len(shape) == MAPS]
        kernel |= {"operator": "convolution", "filters": filters}
        ins = [image, *added]
    elif operator == "ConvTranspose":
        # Weights that were packed in advance are not listed; then the window is that of 4 x 4.
        image, *others = ins
        filters = next((shape for shape in others if len(shape) == MAPS), [1, 1, 4, 4])
        kernel |= {"operator": "transposed", "filters": filters}
        ins = [image]
    elif operator == "Split":
        kernel["out"] = ins[0][1:]
        ins = ins[:1]
    else:
        ins = [shape for shape in ins if len(shape) > 1] or ins[:1]
        if operator in {"MaxPool", "AveragePool", "GlobalAveragePool"}:
            ins = ins[:1]
        elif operator not in {"Concat", "Add", "Mul", "MatMul", "FusedMatMul", "Sum"}:
            marks, ins = [], ins[:1]
        else:
            marks = []
    named = {"FusedMatMul": "MatMul"}.get(kernel["operator"], kernel["operator"])
    return {
        **kernel,
        "operator": named,
        "mark": " ".join(marks),
        "ins": [unbatched(shape) for shape in ins],
    }


def unbatched(shape: list[int]) -> list[int]:
    """Returns a shape without the batch; three sides are those of many matrices of one image."""
    return shape if len(shape) == MATRICES else shape[1:]


def shapes(listed: list[dict[str, list[int]]]) -> list[list[int]]:
    """Returns the shapes of an event's tensors."""
    return [shape for each in listed for shape in each.values()]


class OpenVinoObserver:
    """OpenVINO's profiler.

    Args:
        compiled: A model that was compiled with ``PERF_COUNT``.
        request: A request of it.
    """

    def __init__(self, compiled: Any, request: Any) -> None:  # noqa: ANN401
        self.compiled, self.request = compiled, request
        self.fastest_ms: dict[str, float] = {}

    def observe(self) -> None:
        """Makes a few passes."""
        for _ in range(OBSERVED_A_TURN):
            self.request.infer()
            for each in self.request.profiling_info:
                if each.status.name == "EXECUTED":
                    time_ms = each.real_time.total_seconds() * 1e3
                    before = self.fastest_ms.get(each.node_name, time_ms)
                    self.fastest_ms[each.node_name] = min(before, time_ms)

    def kernels(self) -> list[dict[str, Any]]:
        """Returns what was executed."""
        found = []
        for primitive in self.compiled.get_runtime_model().get_ordered_ops():
            name = primitive.get_friendly_name()
            if name in self.fastest_ms and said(primitive, "layerType") not in FREE:
                found.append({**openvino_kernel(primitive), "time_ms": self.fastest_ms[name]})
        return found


def openvino_kernel(primitive: Any) -> dict[str, Any]:  # noqa: ANN401
    """Returns a kernel that a primitive of OpenVINO's runtime model stands for."""
    sources = [(value.get_node(), list(value.get_shape())) for value in primitive.input_values()]
    ins = [shape for node, shape in sources if said(node, "layerType") != "Const"]
    weights = [shape for node, shape in sources if said(node, "layerType") == "Const"]
    out = list(primitive.output(0).get_shape())
    operator, layout = said(primitive, "layerType"), said(primitive, "outputLayouts")
    merged = said(primitive, "originalLayersNames")
    kernel = {
        "name": next((each for each in merged.split(",") if each.startswith("/")), ""),
        "mark": " ".join(m for m in ("clip", "sigmoid", "gelu") if f"/{m}" in merged.lower()),
        "filters": [],
        "out": out[1:],
    }
    if operator in {"Convolution", "Deconvolution"} and len(sources) > 1:
        filters = next((shape for shape in weights if len(shape) in FILTERS), None)
        kernel["operator"] = "convolution" if operator == "Convolution" else "transposed"
        if filters is None:
            kernel["mark"], filters = "computed", sources[1][1]
        if len(filters) > MAPS:
            filters = [filters[0] * filters[1], *filters[2:]]
        added = [shape for shape in ins[1:] if shape == out]
        kernel |= {"filters": filters, "ins": [shape[1:] for shape in (ins[0], *added)]}
        return kernel
    if operator in ELEMENTWISE:
        operator = "Eltwise"
        kernel["mark"] = "gelu" if "gelu" in kernel["mark"] else ""
    elif operator == "Reorder":
        source = said(sources[0][0], "outputLayouts")
        kernel["mark"] = f"{source} {layout}"
    else:
        kernel["mark"] = ""
    if operator in SPLITTING:
        operator, kernel["out"] = "Split", ins[0][1:]
        kernel["mark"] = "" if layout == "acdb" else layout
        ins = ins[:1]
    ins = [shape for shape in ins if len(shape) > 1] or [out]
    if operator == "FullyConnected":
        ins = ins[:1]
    return {**kernel, "operator": operator, "ins": [shape[1:] for shape in ins]}


def said(primitive: Any, what: str) -> str:  # noqa: ANN401
    """Returns what a primitive says of itself."""
    info = primitive.get_rt_info()
    return str(info[what].astype(str)) if what in info else ""
