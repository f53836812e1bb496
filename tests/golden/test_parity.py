"""Our networks compute what the published code computes, with its weights, to the last digits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blocks import ImageSize
from networks import load_released, rewrite
from networks.released import _rename

NETWORKS = ("lite_hrnet_18", "naive_lite_hrnet_18")
LAST_BRANCH = 3


@dataclass(frozen=True)
class Golden:
    """What the published code put out, and our network with the same weights."""

    arrays: Mapping[str, np.ndarray]
    module: nn.Module

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def run(self, dtype: torch.dtype) -> Tensor:
        with torch.no_grad():
            return self.module.to(dtype)(self.tensor("input").to(dtype))

    def under(self, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
        for key, array in self.arrays.items():
            if key.startswith(prefix):
                yield key.removeprefix(prefix), array


@pytest.fixture
def golden(shared_file):
    def load(name: str) -> Golden:
        folder = shared_file("reference/parity")
        with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
            return Golden(dict(arrays), load_released(folder / f"{name}.pth", name))

    return load


def our_name(published: str) -> str:
    name = _rename(published, LAST_BRANCH)
    assert name is not None, published
    return name


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_in_eval_mode(golden, name):
    parity = golden(name)
    exact = parity.tensor("output_float64")
    assert (parity.run(torch.float32).double() - exact).abs().max() <= 5e-4
    assert (parity.run(torch.float64) - exact).abs().max() <= 1e-8


@pytest.mark.parametrize("name", NETWORKS)
def test_a_rewritten_network_puts_out_what_the_published_code_does(golden, name):
    parity = golden(name)
    image, exact = parity.tensor("input"), parity.tensor("output_float64")
    size = ImageSize(*image.shape[2:])
    largest = exact.abs().max()
    for dtype, most_off in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        made = rewrite(parity.module.to(dtype), size, batch=len(image))
        with torch.no_grad():
            got = made(image.to(dtype)).double()
        expected = parity.run(dtype).double()
        assert (got - expected).abs().max() <= most_off * largest


@pytest.mark.parametrize("name", NETWORKS)
def test_features_inside(golden, name):
    parity = golden(name)
    seen: dict[str, list[Tensor]] = {}
    handles = [
        parity.module.get_submodule(address).register_forward_hook(
            lambda _, __, outs, address=address: seen.update({address: outs})
        )
        for address in ("stem", "stages.0", "stages.1", "stages.2", "aggregator")
    ]
    parity.run(torch.float64)
    for handle in handles:
        handle.remove()

    def feature(key: str) -> Tensor:
        layer, _, branch = key.partition(".")
        address = {"stem": "stem", "head_layer": "aggregator"}.get(layer, f"stages.{layer[-1]}")
        return seen[address][int(branch or 0)]

    for key, array in parity.under("feat/"):
        ours = feature(key)[: len(array)].numpy()
        assert np.abs(ours - array).max() <= 1e-5 * np.abs(array).max(), key
    for key, (*shape, mean, std, largest) in parity.under("feat_stats/"):
        ours = feature(key)
        assert list(ours.shape[1:]) == shape, key
        measured = [float(ours.mean()), float(ours.std()), float(ours.abs().max())]
        assert measured == pytest.approx([mean, std, largest], rel=1e-4), key


def test_outputs_and_running_statistics_in_train_mode(golden):
    parity = golden("lite_hrnet_18")
    parity.module.train()
    exact = parity.tensor("train_output_float64")
    assert (parity.run(torch.float32).double() - exact).abs().max() <= 5e-4
    ours = parity.module.state_dict()
    compared = 0
    for key, expected in parity.under("train_buffers_after/"):
        value = ours[our_name(key)].numpy()
        if key.endswith("num_batches_tracked"):
            assert value == expected, key
        else:
            tolerance = 1e-4 * (np.abs(expected) + 0.01 * np.abs(expected).max())
            assert (np.abs(value - expected) <= tolerance).all(), key
        compared += 1
    assert compared == len(list(parity.module.buffers()))


def test_loss_and_gradients_in_train_mode(golden):
    parity = golden("lite_hrnet_18")
    module = parity.module.double().train()
    out = module(parity.tensor("input").double())
    assert (out.detach() - parity.tensor("train_output_float64")).abs().max() <= 1e-8
    loss = out.square().mean()
    loss.backward()
    assert abs(loss.item() - float(parity.arrays["train_loss_float64"])) <= 1e-8
    expected = dict(
        zip(
            map(our_name, parity.arrays["train_grad_names"]),
            parity.arrays["train_grad_norms_float64"],
            strict=True,
        )
    )
    norms = {name: float(value.grad.norm()) for name, value in module.named_parameters()}
    assert norms.keys() == expected.keys()
    furthest = max(expected, key=lambda name: abs(norms[name] - expected[name]))
    assert abs(norms[furthest] - expected[furthest]) <= 1e-8, furthest
