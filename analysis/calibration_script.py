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
import sys
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from analysis.calibration_profiles import Observer, OnnxObserver, OpenVinoObserver
from analysis.calibration_weather import Weather

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analysis.calibration_weather import Turn

NUM_ROUNDS = 8
AT_ONCE = 6
TURN_S = 0.05
RUNS_A_TURN = 4
KEYS = ("name", "operator", "mark", "ins", "filters", "out", "time_ms")


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
