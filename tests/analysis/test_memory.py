"""Peak activation memory: equal to a real forward pass, and to the best of all orders."""

from __future__ import annotations

import weakref
from xml.etree import ElementTree as ET

import drawn_specs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from analysis.flow import FlowNetwork
from analysis.memory import allocator_peak_bytes, module_memory, network_memory
from analysis.memory_bound import least_peak_bytes
from analysis.memory_chart import memory_svg
from analysis.memory_graph import order_graph
from analysis.memory_order import find_best_order
from analysis.memory_recording import Execution, Step
from blocks import ImageSize
from networks import PRESETS, lite_hrnet_18

SMALL = ImageSize(64, 64)


class _RealStorages(TorchDispatchMode):
    """Adds up storages of a real pass when they are made, and takes them off when they are freed.

    Nothing is asked how long it lived: each storage itself tells that it is gone.
    """

    def __init__(self, known):
        super().__init__()
        self.known = set(known)
        self.live = self.peak = 0

    def see(self, tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() == 0 or storage.data_ptr() in self.known:
            return
        self.known.add(storage.data_ptr())
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.forget, storage.data_ptr(), storage.nbytes())

    def forget(self, pointer, num_bytes):
        self.known.remove(pointer)
        self.live -= num_bytes

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.see(leaf)
        return result


def real_peak_bytes(module, size, batch=1):
    module = module.eval()
    dtype = next((each.dtype for each in module.parameters()), torch.float32)
    image = torch.ones(batch, 3, size.height, size.width, dtype=dtype)
    weights = (*module.parameters(), *module.buffers())
    following = _RealStorages(each.untyped_storage().data_ptr() for each in weights)
    following.see(image)
    with torch.no_grad(), following:
        out = module(image)
    del out
    return following.peak


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_what_a_real_pass_holds(name):
    spec = PRESETS[name].make(3)
    memory = network_memory(spec, SMALL)
    assert memory.eager.peak_bytes == real_peak_bytes(spec.build(), SMALL)
    assert memory.eager.peak_bytes >= memory.last_use.peak_bytes >= memory.best_order.peak_bytes
    assert memory.best_order_is_proven


@settings(max_examples=12)
@given(drawn_specs.specs())
def test_any_network_holds_what_a_real_pass_holds(spec):
    side = max(32, spec.coarsest_stride)
    size = ImageSize(side, 2 * side)
    memory = network_memory(spec, size)
    assert memory.eager.peak_bytes == real_peak_bytes(spec.build(), size)
    best = memory.best_order
    assert memory.eager.peak_bytes >= memory.last_use.peak_bytes >= best.peak_bytes
    assert best.peak_bytes >= memory.lower_bound_bytes > 0
    assert sorted(map(id, best.steps)) == sorted(map(id, memory.eager.steps))


def test_lite_hrnet_18_in_numbers():
    memory = network_memory(lite_hrnet_18(), ImageSize(256, 192))
    assert memory.eager.peak_bytes == 5_505_024
    step = memory.eager.peak_step
    assert (step.address, step.kind) == ("stem.long.0.norm", "batch_norm")
    assert memory.last_use.peak_bytes == memory.best_order.peak_bytes == 3_932_160
    assert memory.best_order_is_proven
    assert memory.eager.image_bytes == 4 * 3 * 256 * 192
    assert memory.output_bytes == 4 * 17 * 64 * 48
    assert network_memory(lite_hrnet_18(), ImageSize(256, 192), 2).eager.peak_bytes == 2 * 5_505_024


class _Various(nn.Module):
    """Has everything that makes storages or looks as if it did."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.layer_norm = nn.LayerNorm(8)

    def forward(self, image):
        held = self.norm(self.conv(image))
        x = nn.functional.max_pool2d(held, 2).relu_()
        x[:, :4] = x[:, 4:] * torch.tensor(2.0)
        rows = self.layer_norm(x.flatten(2).transpose(1, 2))
        rows, _ = self.attention(rows, rows, rows)
        first, second = torch.cat([rows, rows.softmax(-1)], -1).chunk(2, -1)
        padded = nn.functional.pad(held, (1, 1))
        return {"rows": first + second, "held": [padded, held.mean((2, 3))]}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_module_holds_what_a_real_pass_holds(batch, dtype):
    module = _Various().to(dtype).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    memory = module_memory(module, ImageSize(16, 24), batch)
    assert module.training
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert memory.problem is None
    assert (memory.batch, memory.dtype) == (batch, str(dtype).removeprefix("torch."))
    assert memory.eager.peak_bytes == real_peak_bytes(module, ImageSize(16, 24), batch)


class _Holding(nn.Module):
    """Holds on to what it does not need any more, or lets go of it."""

    def __init__(self, *, lets_go):
        super().__init__()
        self.lets_go = lets_go

    def forward(self, image):
        first = image + 1
        second = first + 1
        if self.lets_go:
            del first
        return second + 1


def test_what_a_variable_holds_counts_as_long_as_it_does():
    size = ImageSize(4, 4)
    image = 4 * 3 * 4 * 4
    holding = module_memory(_Holding(lets_go=False), size)
    letting_go = module_memory(_Holding(lets_go=True), size)
    assert holding.eager.live_bytes == (2 * image, 3 * image, 4 * image)
    assert letting_go.eager.live_bytes == (2 * image, 3 * image, 3 * image)
    assert holding.last_use.live_bytes == letting_go.last_use.live_bytes
    assert letting_go.last_use.live_bytes == letting_go.eager.live_bytes


class _BadlyOrdered(nn.Module):
    """Makes two large tensors before it shrinks either."""

    def forward(self, image):
        larger = [image.repeat(1, 4, 1, 1), image.repeat(1, 4, 1, 1)]
        return sum(each.mean(1) for each in larger)


def test_a_better_order_is_found():
    memory = module_memory(_BadlyOrdered(), ImageSize(4, 4))
    one = 4 * 4 * 4
    # Image, both larger ones, one mean; the best shrinks one before the other is made.
    assert memory.last_use.peak_bytes == (3 + 12 + 12 + 1) * one
    assert memory.best_order.peak_bytes == (3 + 12 + 1 + 1) * one
    assert memory.best_order_is_proven


def test_a_pass_that_breaks_off_is_told_of():
    class Breaking(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Conv2d(5, 4, 1)

        def forward(self, image):
            return self.inner(image + 1)

    memory = module_memory(Breaking(), SMALL, name="mine:Breaking")
    assert memory.data["is_partial"]
    assert len(memory.eager.steps) == 1
    assert str(memory.problem).startswith("mine:Breaking, inner (Conv2d): ")
    assert memory.data["stopped_by"] == str(memory.problem)


def test_a_module_that_does_nothing_holds_the_image():
    memory = module_memory(nn.Identity(), ImageSize(4, 4))
    assert memory.eager.peak_bytes == memory.best_order.peak_bytes == 4 * 3 * 4 * 4
    assert memory.best_order_is_proven
    assert memory.data["eager_peak_at"] is None


@st.composite
def executions(draw, most_steps=7):
    """Small executions: any reading, writing in place, several results, unread ones."""
    sizes = [draw(st.integers(1, 9))]
    steps = []
    for _ in range(draw(st.integers(1, most_steps))):
        reads = draw(st.sets(st.integers(0, len(sizes) - 1), max_size=3))
        writes = {each for each in reads if draw(st.integers(0, 6)) == 0}
        makes = range(len(sizes), len(sizes) + draw(st.integers(0 if writes else 1, 2)))
        sizes += [draw(st.integers(0, 9)) for _ in makes]
        steps.append(
            Step(
                address="",
                kind="step",
                reads=frozenset(reads),
                writes=frozenset(writes),
                makes=frozenset(makes),
            )
        )
    outputs = draw(st.sets(st.integers(0, len(sizes) - 1), max_size=2))
    return Execution(
        steps=tuple(steps),
        storage_bytes=tuple(sizes),
        live_bytes=(),
        image=0,
        outputs=frozenset(outputs),
        dtype="float32",
    )


def least_of_all_orders(execution):
    """The least peak, by trying every order that keeps what is read what it was."""
    steps = execution.steps
    uses = [step.reads | step.writes | step.makes for step in steps]
    changes = [step.writes | step.makes for step in steps]
    needed = [
        {
            early
            for early in range(late)
            if changes[early] & uses[late] | uses[early] & changes[late]
        }
        for late in range(len(steps))
    ]
    users = [
        {i for i, used in enumerate(uses) if storage in used}
        for storage in range(len(execution.storage_bytes))
    ]

    def peak_from(done, alive, peak):
        if len(done) == len(steps):
            return peak
        found = []
        for each in set(range(len(steps))) - done:
            if needed[each] <= done:
                lives = alive | steps[each].makes
                held = sum(execution.storage_bytes[storage] for storage in lives)
                left = {s for s in lives if s in execution.kept or not users[s] <= done | {each}}
                found.append(peak_from(done | {each}, left, max(peak, held)))
        return min(found)

    return peak_from(set(), {0}, execution.storage_bytes[0])


@settings(max_examples=150)
@given(executions())
def test_the_best_order_is_the_best_of_all_orders(execution):
    graph = order_graph(execution)
    best = find_best_order(graph)
    assert best.is_proven
    assert best.peak_bytes == max(graph.live_bytes(best.order)) == least_of_all_orders(execution)
    assert sorted(best.order) == list(range(len(execution.steps)))


@settings(max_examples=150)
@given(executions(), st.integers(0, 3))
def test_a_search_that_is_cut_short_claims_nothing_wrong(execution, most_steps):
    graph = order_graph(execution)
    best = find_best_order(graph, most_steps)
    least = least_of_all_orders(execution)
    assert best.lower_bound_bytes <= least <= best.peak_bytes == max(graph.live_bytes(best.order))
    assert best.is_proven == (best.lower_bound_bytes == best.peak_bytes)


@settings(max_examples=50)
@given(executions(most_steps=14))
def test_no_order_does_with_less_than_the_bound(execution):
    graph = order_graph(execution)
    written = range(len(execution.steps))
    bound = least_peak_bytes(graph, written)
    best = find_best_order(graph)
    assert execution.storage_bytes[0] <= bound <= best.peak_bytes <= max(graph.live_bytes(written))
    assert best.is_proven


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), max_size=14))
def test_the_greatest_flow_is_the_least_cut(pipes):
    network = FlowNetwork(6)
    for start, end, capacity in pipes:
        network.join(start, end, capacity)
    cuts = [
        sum(c for start, end, c in pipes if side >> start & 1 and not side >> end & 1)
        for side in range(64)
        if side & 1 and not side & 2
    ]
    assert network.push(0, 1) == min(cuts)


def test_the_chart_shows_both_peaks_and_every_stage():
    memory = network_memory(lite_hrnet_18(), ImageSize(64, 64))
    name = "<b>&\"'"
    root = ET.fromstring(memory_svg(name, memory))
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0] == f"Live activation memory of {name}, float32, batch 1, 64x64"
    assert any(f"{memory.eager.peak_bytes:,} bytes at stem" in title for title in titles)
    assert any(f"{memory.best_order.peak_bytes:,} bytes at " in title for title in titles)
    parts = [title.partition(":")[0] for title in titles if ": operations" in title]
    assert parts == ["stem", "stages.0", "stages.1", "stages.2", "aggregator", "head"]


def test_the_chart_of_nothing_can_be_drawn():
    ET.fromstring(memory_svg("nothing", module_memory(nn.Identity(), ImageSize(4, 4))))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_allocator_holds_at_least_what_lives():
    spec = lite_hrnet_18()
    memory = network_memory(spec, ImageSize(256, 192))
    peak = allocator_peak_bytes(spec.build, ImageSize(256, 192))
    # Workspaces and rounding up come on top.
    assert memory.eager.peak_bytes <= peak < 20 * memory.eager.peak_bytes


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_without_cuda_there_is_no_allocator_to_ask():
    assert allocator_peak_bytes(nn.Identity, SMALL) is None
