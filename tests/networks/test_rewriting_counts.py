"""What a rewritten Lite-HRNet-18 executes."""

import pytest
import torch

from analysis.latency import random_module
from analysis.runtimes import RUNTIMES, Conditions
from blocks import ImageSize
from networks import PRESETS, rewrite

SIZE = ImageSize(256, 192)


@pytest.fixture(scope="module")
def written():
    return random_module(PRESETS["lite_hrnet_18"].make(17))


@pytest.fixture(scope="module")
def rewritten(written):
    return rewrite(written, SIZE)


def num_kernels(runtime, module, threads=1):
    conditions = Conditions(size=SIZE, threads=threads)
    if RUNTIMES[runtime].missing() is not None:
        pytest.skip(f"{runtime} is not installed")
    return RUNTIMES[runtime].prepare(module, conditions).num_kernels()


def test_calls_in_pytorch(written, rewritten):
    assert num_kernels("eager", written) == 1062
    assert num_kernels("eager", rewritten) == 620


@pytest.mark.parametrize("threads", [1, 2])
def test_primitives_in_openvino(rewritten, threads):
    # 444 and 448 on one machine; OpenVINO chooses by the processor.
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("other instructions than AVX-512 make OpenVINO choose other primitives")
    assert num_kernels("openvino", rewritten, threads) <= 450
