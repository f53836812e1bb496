"""Measures exported networks on this device. Needs NumPy and onnxruntime or openvino, no more.

    python measure.py --runtime onnxruntime --threads 1 --out table.json

Copy this folder to the device, run that, and bring table.json back to
``branchwork calibrate --import table.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Turn = tuple[float, float]
    """What a network took in milliseconds, and the reference around it in seconds."""

NUM_ROUNDS = 8
AT_ONCE = 6
TURN_S = 0.05
RUNS_A_TURN = 4
OBSERVED_A_TURN = 4
REFERENCE_SIDE, REFERENCE_PRODUCTS, REFERENCE_RUNS = 64, 60, 3
STEADY, MOST_TRIES = 1.06, 3
SUFFERING = 0.75
"""Networks take so much of the reference's slowing, as a power; found by taking turns."""
EVENT = "_kernel_time"
KEYS = ("name", "operator", "mark", "ins", "filters", "out", "time_ms")
MATRICES, MAPS = 3, 4
FILTERS = (4, 5)
FREE = frozenset({"Reshape", "Const", "Input", "Output"})
"""What is listed and does nothing."""
ELEMENTWISE = frozenset({"Subgraph", "Eltwise"})
SPLITTING = frozenset({"Split", "StridedSlice"})


class Weather:
    """How fast the machine is, beside how fast it was at its best.

    Where a processor is shared, whatever runs beside slows everything down for seconds, by half
    as much again, and takes no processor time of this process. Products of matrices tell, which
    are too small for a second thread; networks suffer somewhat less than they do.
    """

    def __init__(self) -> None:
        self.matrix = np.random.default_rng(0).standard_normal((REFERENCE_SIDE,) * 2)
        self.best_s = float("inf")
        self.reference_s()

    def reference_s(self) -> float:
        """Returns how long the products take now."""
        times_s = []
        for _ in range(REFERENCE_RUNS):
            started = time.perf_counter()
            for _ in range(REFERENCE_PRODUCTS):
                np.dot(self.matrix, self.matrix)
            times_s.append(time.perf_counter() - started)
        self.best_s = min(self.best_s, *times_s)
        return min(times_s)

    def turn(self, run: Callable[[], float]) -> Turn:
        """Makes a turn in steady weather; where it always changes, the last of a few counts."""
        before_s = self.reference_s()
        for _ in range(MOST_TRIES):
            time_ms = run()
            after_s = self.reference_s()
            reference_s = (before_s * after_s) ** 0.5
            if max(before_s, after_s) <= STEADY * min(before_s, after_s):
                break
            before_s = after_s
        return time_ms, reference_s

    def times_ms(self, turns: list[Turn]) -> tuple[float, float, float]:
        """Returns what a network takes at the machine's best, and two measurements of it.

        The middle one of all turns, of every other, and of those between them.
        """
        fair_ms = [
            time_ms * (self.best_s / reference_s) ** SUFFERING for time_ms, reference_s in turns
        ]
        # Neighbouring turns go to different halves.
        all_ms, before_ms, again_ms = map(statistics.median, (fair_ms, fair_ms[::2], fair_ms[1::2]))
        return all_ms, before_ms, again_ms


class Observer(Protocol):
    """Runs a network under its runtime's profiler."""

    def observe(self) -> None:
        """Makes a few passes; of each kernel the fastest counts."""

    def kernels(self) -> list[dict[str, Any]]:
        """Returns what was executed, and ends it."""


class Model(Protocol):
    """A network that is ready to run."""

    version: str

    def run(self) -> None:
        """Makes one pass."""

    def observer(self) -> Observer:
        """Returns the same network under the profiler."""


class OnnxRuntime:
    """A model in ONNX Runtime."""

    def __init__(self, path: Path, threads: int, images: Any) -> None:  # noqa: ANN401
        import onnxruntime

        self.version = f"onnxruntime {onnxruntime.__version__}"
        self.path, self.threads = str(path), threads
        self.session = onnxruntime.InferenceSession(
            self.path, self.options(), providers=["CPUExecutionProvider"]
        )
        self.feed = {self.session.get_inputs()[0].name: images}

    def options(self) -> Any:  # noqa: ANN401
        """Returns a session's options."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def run(self) -> None:
        """Makes one pass."""
        self.session.run(None, self.feed)

    def observer(self) -> Observer:
        """Returns the same network under the profiler."""
        return OnnxObserver(self.path, self.options(), self.feed)


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

    def kernels(self) -> list[dict[str, Any]]:
        """Returns what was executed."""
        text = Path(self.session.end_profiling()).read_text(encoding="utf-8")
        self.folder.cleanup()
        events = [event for event in json.loads(text) if event["name"].endswith(EVENT)]
        count = len(events) // self.num_passes
        return [
            {
                **onnx_kernel(events[index]),
                # Every pass executes the same, and nothing makes one of them too quick.
                "time_ms": min(event["dur"] for event in events[index::count]) / 1e3,
            }
            for index in range(count)
            if events[index]["args"]["op_name"] not in FREE
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
        filters = next((shape for shape in others if len(shape) == MAPS), [0, 0, 4, 4])
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


class OpenVino:
    """A model in OpenVINO."""

    def __init__(self, path: Path, threads: int, images: Any) -> None:  # noqa: ANN401
        import openvino

        self.version = f"openvino {openvino.__version__}"
        self.path, self.threads, self.images = str(path), threads, images
        self.request = self.ready(self.compiled(profiled=False))

    def compiled(self, *, profiled: bool) -> Any:  # noqa: ANN401
        """Returns a compiled model."""
        import openvino

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "PERF_COUNT": profiled,
        }
        return core.compile_model(self.path, "CPU", settings)

    def ready(self, compiled: Any) -> Any:  # noqa: ANN401
        """Returns a request of a compiled model."""
        import openvino

        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(self.images, shared_memory=True))
        return request

    def run(self) -> None:
        """Makes one pass."""
        self.request.infer(share_outputs=True)

    def observer(self) -> Observer:
        """Returns the same network under the profiler."""
        compiled = self.compiled(profiled=True)
        return OpenVinoObserver(compiled, self.ready(compiled))


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


RUNTIMES: dict[str, Callable[[Path, int, Any], Model]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}


def turn_ms(model: Model, observer: Observer, clock: Callable[[], float]) -> float:
    """Returns the fastest of a few passes, and lets the profiler look at some more."""
    model.run()
    times_s: list[float] = []
    started = time.perf_counter()
    while len(times_s) < RUNS_A_TURN or time.perf_counter() - started < TURN_S:
        before = clock()
        model.run()
        times_s.append(clock() - before)
    observer.observe()
    return min(times_s) * 1e3


def measure(
    entries: list[dict[str, Any]], folder: Path, runtime: str, threads: int, weather: Weather
) -> Iterator[tuple[str, dict[str, Any], list[Turn]]]:
    """Measures networks that take turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
    models = []
    for entry in entries:
        height, width = map(int, entry["input"].split("x"))
        images = np.random.default_rng(0).standard_normal((1, 3, height, width))
        models.append(RUNTIMES[runtime](folder / entry["file"], threads, images.astype("float32")))
    observers = [model.observer() for model in models]
    turns: list[list[Turn]] = [[] for _ in models]
    for number in range(NUM_ROUNDS):
        order = range(len(models))
        for index in reversed(order) if number % 2 else order:
            turn = partial(turn_ms, models[index], observers[index], clock)
            turns[index].append(weather.turn(turn))
    for entry, model, observer, taken in zip(  # noqa: B905 - old Pythons
        entries, models, observers, turns
    ):
        sample = {
            "spec": entry["spec"],
            "input": entry["input"],
            "kernels": [[kernel[key] for key in KEYS] for kernel in observer.kernels()],
        }
        yield model.version, sample, taken


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measures exported networks on this device.")
    parser.add_argument("--runtime", choices=sorted(RUNTIMES), default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default=platform.processor() or platform.machine())
    parser.add_argument("--out", default="table.json")
    options = parser.parse_args()
    folder = Path(__file__).resolve().parent
    entries = json.loads((folder / "networks.json").read_text(encoding="utf-8"))
    measured: list[tuple[dict[str, Any], list[Turn]]] = []
    version = ""
    weather = Weather()
    for start in range(0, len(entries), AT_ONCE):
        batch = entries[start : start + AT_ONCE]
        for used, sample, taken in measure(
            batch, folder, options.runtime, options.threads, weather
        ):
            measured.append((sample, taken))
            version = used
        sys.stdout.write(f"{len(measured)} of {len(entries)} networks measured\n")
        sys.stdout.flush()
    samples = []
    for sample, taken in measured:
        # Not before all is measured is it known how fast the machine can be.
        time_ms, before_ms, again_ms = weather.times_ms(taken)
        samples.append({**sample, "time_ms": time_ms, "before_ms": before_ms, "again_ms": again_ms})
    table = {
        "runtime": options.runtime,
        "version": version,
        "threads": options.threads,
        "dtype": "float32",
        "machine": options.device,
        "num_cores": os.cpu_count(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017 - old Pythons
        "num_failed": 0,
        "samples": samples,
    }
    Path(options.out).write_text(json.dumps(table), encoding="utf-8")
    sys.stdout.write(f"wrote {options.out}\n")


if __name__ == "__main__":
    main()
