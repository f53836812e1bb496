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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUM_ROUNDS = 8
AT_ONCE = 6
TURN_S = 0.05
RUNS_A_TURN = 4
NUM_PROFILED = 10
NUM_UNSEEN = 3
KERNEL = "_kernel_time"


class Model(Protocol):
    """A network that is ready to run."""

    version: str

    def run(self) -> None:
        """Makes one pass."""

    def kernels_ms(self) -> dict[str, float]:
        """Returns the time of each kernel, by its name."""


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

    def kernels_ms(self) -> dict[str, float]:
        """Returns the time of each kernel, by its name."""
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder:
            options = self.options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = onnxruntime.InferenceSession(
                self.path, options, providers=["CPUExecutionProvider"]
            )
            for _ in range(NUM_UNSEEN + NUM_PROFILED):
                session.run(None, self.feed)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        found = [event for event in events if event["name"].endswith(KERNEL)]
        count = len(found) // (NUM_UNSEEN + NUM_PROFILED)
        passes = found[NUM_UNSEEN * count :]
        times_ms: dict[str, float] = {}
        for index in range(count):
            name = passes[index]["name"][: -len(KERNEL)]
            middle = statistics.median(event["dur"] for event in passes[index::count]) / 1e3
            times_ms[name] = times_ms.get(name, 0.0) + middle
        return times_ms


class OpenVino:
    """A model in OpenVINO."""

    def __init__(self, path: Path, threads: int, images: Any) -> None:  # noqa: ANN401
        import openvino

        self.version = f"openvino {openvino.__version__}"
        self.path, self.threads, self.images = str(path), threads, images
        self.request = self.compiled(profiled=False)

    def compiled(self, *, profiled: bool) -> Any:  # noqa: ANN401
        """Returns a request of a compiled model."""
        import openvino

        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
            "PERF_COUNT": profiled,
        }
        request = core.compile_model(self.path, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(self.images, shared_memory=True))
        return request

    def run(self) -> None:
        """Makes one pass."""
        self.request.infer(share_outputs=True)

    def kernels_ms(self) -> dict[str, float]:
        """Returns the time of each kernel, by its name."""
        request = self.compiled(profiled=True)
        for _ in range(NUM_UNSEEN):
            request.infer()
        passes: dict[str, list[float]] = {}
        for _ in range(NUM_PROFILED):
            request.infer()
            for each in request.profiling_info:
                if each.status.name == "EXECUTED":
                    time_ms = each.real_time.total_seconds() * 1e3
                    passes.setdefault(each.node_name, []).append(time_ms)
        return {name: statistics.median(times_ms) for name, times_ms in passes.items()}


RUNTIMES: dict[str, Callable[[Path, int, Any], Model]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}


def turn_ms(model: Model, clock: Callable[[], float]) -> float:
    """Returns the fastest of a few passes."""
    model.run()
    times_s: list[float] = []
    started = time.perf_counter()
    while len(times_s) < RUNS_A_TURN or time.perf_counter() - started < TURN_S:
        before = clock()
        model.run()
        times_s.append(clock() - before)
    return min(times_s) * 1e3


def measure(
    entries: list[dict[str, Any]], folder: Path, runtime: str, threads: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measures networks that take turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
    models = []
    for entry in entries:
        height, width = map(int, entry["input"].split("x"))
        images = np.random.default_rng(0).standard_normal((1, 3, height, width))
        models.append(RUNTIMES[runtime](folder / entry["file"], threads, images.astype("float32")))
    rounds_ms: list[list[float]] = [[] for _ in models]
    for number in range(NUM_ROUNDS):
        order = range(len(models))
        for index in reversed(order) if number % 2 else order:
            rounds_ms[index].append(turn_ms(models[index], clock))
    for entry, model, times_ms in zip(entries, models, rounds_ms):  # noqa: B905 - old Pythons
        before_ms, again_ms = min(times_ms[::2]), min(times_ms[1::2])
        yield (
            model.version,
            {
                "spec": entry["spec"],
                "input": entry["input"],
                "time_ms": min(before_ms, again_ms),
                "before_ms": before_ms,
                "again_ms": again_ms,
                "layer_times_ms": model.kernels_ms(),
            },
        )


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
    samples: list[dict[str, Any]] = []
    version = ""
    for start in range(0, len(entries), AT_ONCE):
        batch = entries[start : start + AT_ONCE]
        for used, sample in measure(batch, folder, options.runtime, options.threads):
            samples.append(sample)
            version = used
        sys.stdout.write(f"{len(samples)} of {len(entries)} networks measured\n")
        sys.stdout.flush()
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
