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
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from analysis.calibration_profiles import KEYS, Observer, OnnxObserver, OpenVinoObserver
from analysis.calibration_turns import AT_ONCE, MachineSpeed, fastest_ms, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.calibration_turns import Turn


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


def turn_ms(model: Model, observer: Observer, threads: int) -> float:
    """Returns the fastest of a few passes, and lets the profiler look at some more."""
    found = fastest_ms(model.run, threads)
    observer.observe()
    return found


def tell() -> None:
    """Says that something is going on."""
    sys.stdout.write(".")
    sys.stdout.flush()


class Table:
    """What is written at the end, also if that comes early.

    Args:
        options: What the command line asks for.
        folder: Where the networks are.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.measured: list[tuple[dict[str, Any], list[Turn], int]] = []
        self.num_failed = 0
        self.speed = MachineSpeed()
        self.index = json.loads((folder / "networks.json").read_text(encoding="utf-8"))
        try:
            self.anchor = self.model(self.index["anchor"])
        except ImportError as error:
            sys.exit(f"{error}; pip install {options.runtime}")
        except Exception as error:  # noqa: BLE001 - runtimes raise anything about models
            name = self.index["anchor"]["file"]
            sys.exit(f"{name}, which all others are compared with, cannot be run: {error}")

    def model(self, entry: dict[str, Any]) -> Model:
        """Returns a network, ready to run."""
        height, width = map(int, entry["input"].split("x"))
        images = np.random.default_rng(0).standard_normal((1, 3, height, width))
        return RUNTIMES[self.options.runtime](
            self.folder / entry["file"], self.options.threads, images.astype("float32")
        )

    def measure(self, entries: list[dict[str, Any]]) -> None:
        """Measures networks that take turns; one that the runtime cannot run is counted."""
        ready = []
        for entry in entries:
            try:
                model = self.model(entry)
                ready.append((entry, model, model.observer()))
            except Exception as error:  # noqa: BLE001 - runtimes raise anything about models
                # The others may run; how many do not is said here and written down.
                self.num_failed += 1
                sys.stderr.write(f"{entry['file']} cannot be run: {error}\n")
        if not ready:
            return
        threads = self.options.threads
        runs = [partial(turn_ms, model, observer, threads) for _, model, observer in ready]
        batch = len(self.speed.anchors)
        turns = take_turns(runs, partial(fastest_ms, self.anchor.run, threads), self.speed, tell)
        for (entry, _, observer), taken in zip(ready, turns):  # noqa: B905 - old Pythons
            sample = {
                "spec": entry["spec"],
                "input": entry["input"],
                "kernels": [[kernel[key] for key in KEYS] for kernel in observer.kernels()],
            }
            self.measured.append((sample, taken, batch))

    def write(self) -> None:
        """Writes what was measured."""
        samples = []
        # Not before all is measured is it known how fast the machine can be.
        factors = self.speed.factors()
        for sample, taken, batch in self.measured:
            time_ms, before_ms, again_ms = self.speed.times_ms(taken, factors[batch])
            times = {"time_ms": time_ms, "before_ms": before_ms, "again_ms": again_ms}
            samples.append({**sample, **times})
        table = {
            "runtime": self.options.runtime,
            "version": self.anchor.version,
            "threads": self.options.threads,
            "dtype": "float32",
            "machine": self.options.device,
            "num_cores": os.cpu_count(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017 - old Pythons
            "num_failed": self.num_failed,
            "samples": samples,
        }
        Path(self.options.out).write_text(json.dumps(table), encoding="utf-8")
        sys.stdout.write(f"wrote {len(samples)} networks to {self.options.out}\n")


def main() -> None:
    """Measures what the command line asks for; Ctrl-C keeps what was measured."""
    parser = argparse.ArgumentParser(description="Measures exported networks on this device.")
    parser.add_argument("--runtime", choices=sorted(RUNTIMES), default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default=platform.processor() or platform.machine())
    parser.add_argument("--out", default="table.json")
    options = parser.parse_args()
    table = Table(options, Path(__file__).resolve().parent)
    entries = table.index["networks"]
    try:
        for start in range(0, len(entries), AT_ONCE):
            table.measure(entries[start : start + AT_ONCE])
            sys.stdout.write(f" {len(table.measured)} of {len(entries)} networks measured\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")
    if not table.measured:
        sys.exit(f"no network was measured, so {options.out} was not written")
    table.write()


if __name__ == "__main__":
    main()
