"""What the tests of latencies share: a tiny network, little effort, a runtime of their own."""

from __future__ import annotations

import time
from contextlib import contextmanager

import torch

from analysis.latency import Subject, random_module
from analysis.runtimes import Conditions, Prepared, Runtime
from analysis.timing import Effort
from blocks import ImageSize
from networks import PRESETS, SpecSpace

SIZE = ImageSize(64, 32)
LITTLE = Effort(min_runs=4, min_duration_s=0.0, max_duration_s=60.0, max_warm_s=0.0, num_rounds=2)


def tiny_spec(preset="lite_hrnet_18"):
    choices = {"branches": [2], "units": [1], "depth": [1], "widths": [[8, 16]]}
    space = SpecSpace.resolve(PRESETS[preset].make(17), choices)
    return space.spec((0,) * len(space.dimensions))


def subject(runtime="eager", *, module=None, name="tiny", rewritten=False, **conditions):
    return Subject(
        name=name,
        module=random_module(tiny_spec()) if module is None else module,
        runtime=runtime,
        conditions=Conditions(size=SIZE, **conditions),
        rewritten=rewritten,
    )


class FakeRuntime(Runtime):
    """Computes what it is told to.

    Args:
        outputs: Makes the outputs of a module and images.
        on_run: Is called at every pass.
        layer_times_ms: What it says of layers.
        uses_cores: Whether it runs on the processor.
    """

    name = "fake"
    uses_cores = True
    package = "no-such-package"
    dtypes = ("float32",)

    def __init__(self, outputs=None, on_run=lambda: None, layer_times_ms=None, *, uses_cores=True):
        self.uses_cores = uses_cores
        self.outputs = outputs or (lambda module, images: (module(images),))
        self.on_run = on_run
        self.times_ms = layer_times_ms
        self.num_turns = 0

    def missing(self):
        return None

    def prepare(self, module, conditions):
        self.check(conditions)
        return _FakePrepared(self, module, conditions.images())


class _FakePrepared(Prepared):
    def __init__(self, runtime, module, images):
        self._runtime = runtime
        self._module = module
        self._images = images

    @contextmanager
    def turn(self):
        self._runtime.num_turns += 1
        yield

    def run(self):
        time.sleep(0.001)
        self._runtime.on_run()

    def outputs(self):
        with torch.no_grad():
            return self._runtime.outputs(self._module, self._images)

    def num_kernels(self):
        return 7

    def layer_times_ms(self):
        return self._runtime.times_ms
