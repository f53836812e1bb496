"""What runtimes are expected to execute, against closed forms and against what they execute."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from made_calibrations import as_executed

from analysis.calibration_networks import draw_networks
from analysis.execution import dataflow as dataflows
from analysis.execution import executed_from_data, executed_from_row, expected_kernels, one_by_one
from analysis.execution.blocked import blocked_kernels
from analysis.execution.channels_last import channels_last_kernels
from analysis.execution.dataflow import NOBODY, OUTSIDE, Dataflow, dataflow
from analysis.runtimes import RUNTIMES, Conditions, UnusableRuntimeError
from analysis.unread import unread_operations
from blocks import SLOTS, BranchworkError, ImageSize, Op, Recording, Slot, Tape
from networks import PRESETS

SIZE = ImageSize(64, 32)


def kinds(kernels):
    return [kernel.kind for kernel in kernels]


def test_kinds_of_convolutions():
    tape = Tape()
    tape.conv((16, 8, 8), 16, kernel=3)
    tape.conv((16, 8, 8), 16, kernel=3, groups=16)
    tape.conv((16, 8, 8), 32, kernel=3, groups=16)
    tape.conv((16, 8, 8), 16, groups=2)
    tape.conv((16, 1, 1), 4)
    tape.conv((20, 8, 8), 24)
    tape.deconv((16, 8, 8), 8, kernel=4, stride=2)
    tape.conv_by((6, 8, 8), 3)
    kernels = one_by_one(tape.ops)
    assert kinds(kernels) == [
        *("dense", "depthwise", "multiplied", "grouped", "vector", "pointwise", "transposed"),
        "depthwise computed",
    ]
    assert kernels[0].macs == 16 * 16 * 9 * 64
    assert (kernels[5].macs, kernels[5].filled_macs) == (20 * 24 * 64, 32 * 32 * 64)
    assert kernels[6].macs == 8 * 16 * 8 * 8 * 16


def test_who_reads_what():
    drawn = next(each for each in draw_networks(0) if unread_operations(each.spec))
    flow = dataflow(drawn.spec, drawn.size)
    num_ops = len(drawn.spec.operations(drawn.size))
    assert len(flow.ops) == num_ops - len(unread_operations(drawn.spec)) < num_ops
    assert flow.reads[0] == (OUTSIDE,)
    assert len(flow.outputs) == 1
    for place, (op, writers) in enumerate(zip(flow.ops, flow.reads, strict=True)):
        assert len(writers) == len(op.ins)
        assert all(writer < place for writer in writers)
        for writer, shape in zip(writers, op.ins, strict=True):
            # A part of the channels, or all of them.
            if writer != OUTSIDE:
                assert flow.made(writer)[1:] == shape[1:]
                assert flow.made(writer)[0] >= shape[0]
        assert flow.readers[place] or place in flow.outputs
    conv, norm, act = flow.ops[:3]
    assert [op.kind for op in (conv, norm, act)] == ["convolution", "batch_norm", "relu"]
    assert flow.only_reader(0) == 1


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_norms_activations_and_residual_sums_go_into_convolutions(runtime):
    spec = PRESETS["mobilenet_v2"].make(4)
    kernels = expected_kernels(runtime, spec, SIZE)
    ops = Counter(op.kind for op in spec.operations(SIZE))
    found = Counter(kernel.kind.partition(" ")[0] for kernel in kernels)
    convolutions = [kernel for kernel in kernels if kernel.macs]
    assert len(convolutions) == ops["convolution"] + ops["conv_transpose"]
    # A sum is a term more of the convolution before it.
    assert sum(kernel.sides[-1] == 2 for kernel in convolutions) == ops["add"] > 5
    assert not {"BatchNormalization", "Clip", "Add"} & {*found}
    # Behind transposed convolutions they stay.
    assert found["Relu"] + found["Eltwise"] == ops["conv_transpose"]


def test_blocks_of_channels_are_left_where_channels_are_moved():
    spec = PRESETS["lite_hrnet_18"].make(4)
    found = Counter(kinds(expected_kernels("onnxruntime", spec, SIZE)))
    assert found["ReorderInput"] > 50 < found["ReorderOutput"]
    assert found["Split"] > 20
    assert found["Transpose"] == Counter(op.kind for op in dataflow(spec, SIZE).ops)["stack"]
    plain = Counter(kinds(expected_kernels("onnxruntime", PRESETS["hrnet_w32"].make(4), SIZE)))
    # Only the output leaves blocks.
    assert (plain["ReorderInput"], plain["ReorderOutput"]) == (0, 1)


def odd_flow():
    """What blocks from elsewhere may do: vectors, products of weights, constants."""
    maps, vector = (8, 4, 4), (8,)
    ops = (
        Op("convolution", ((3, 4, 4),), maps, weights=((8, 3, 1, 1),)),
        Op("relu", (), vector, weights=(vector,)),
        Op("mul", (), vector, weights=(vector, vector)),
        Op("mul", (maps, vector), maps),
        Op("mul", (maps, (1, 1, 1)), maps),
        Op("mean", (maps,), ()),
        Op("add", (maps, ()), maps),
        Op("stack", (vector, vector), (2, 8)),
        Op("softmax", ((2, 8),), (2, 8)),
        Op("convolution", (maps, (8, 8, 3, 3)), maps),
        Op("conv_transpose", (maps, (8, 8, 2, 2)), (8, 8, 8)),
        Op("add", ((8, 8, 8), (2, 8)), (8, 8, 8)),
    )
    reads = ((OUTSIDE,), (), (), (0, 1), (3, NOBODY), (4,), (4, 5), (1, 2), (7,), (6, NOBODY))
    return Dataflow(ops, (*reads, (9, NOBODY), (10, 8)), (11,))


@pytest.mark.parametrize("kernels_of", [blocked_kernels, channels_last_kernels])
def test_operations_that_no_rule_is_for_are_executed_as_they_are(kernels_of):
    found = kernels_of(odd_flow())
    assert len(found) >= 10
    assert sum(kernel.macs for kernel in found) >= 8 * 3 * 16 + 8 * 8 * 9 * 16
    assert sum(kernel.kind.startswith(("dense", "pointwise")) for kernel in found) == 2
    assert all(min(kernel.sides) > 0 for kernel in found)
    assert len(one_by_one(odd_flow().ops)) == 12


def test_a_layer_that_cannot_be_recorded_says_so(monkeypatch):
    spec = PRESETS["small_hrnet_w16"].make(3)
    monkeypatch.setattr(
        dataflows,
        "record",
        lambda *_, **__: Recording(ops=(), are_read=(), uncounted={}, failed_at="", reason="odd"),
    )
    dataflows._recorded.cache_clear()
    with pytest.raises(BranchworkError, match=r"odd.*check_block"):
        dataflow(spec, SIZE)
    dataflows._recorded.cache_clear()


def test_eager_executes_what_nobody_reads():
    spec = PRESETS["lite_hrnet_18"].make(4)
    assert len(expected_kernels("eager", spec, SIZE)) == len(spec.operations(SIZE))


def test_what_was_executed_is_told_in_the_same_words(tmp_path):
    for kernel in expected_kernels("onnxruntime", PRESETS["lite_hrnet_18"].make(4), SIZE):
        told = as_executed(kernel)
        if told is not None:
            assert told.kernel(()) == kernel
            assert executed_from_data(told.data) == told


def test_linear_upsampling_is_known_by_its_address():
    row = {"name": "/aggregator/Resize_2", "operator": "Resize", "mark": "", "filters": []}
    told = executed_from_row({**row, "ins": [[8, 4, 4]], "out": [8, 8, 8], "time_ms": 1.0})
    assert told.kernel({"aggregator"}).kind == "Resize linear"
    assert told.kernel({"head"}).kind == "Resize"


MAP = (8, 4, 4)


def flow_of(*ops, outputs):
    """Operations on maps of one shape, each with the places that it reads."""
    made = tuple(
        Op(kind, (MAP,) * len(reads), MAP, weights=((8, 8, 1, 1),) * (kind == "convolution"))
        for kind, *reads in ops
    )
    return Dataflow(made, tuple(tuple(reads) for _, *reads in ops), outputs)


def elementwise(kernels):
    """How many tensors each elementwise kernel reads."""
    return [kernel.sides[3] for kernel in kernels if kernel.kind == "Eltwise"]


def test_openvino_computes_sums_together_with_what_reads_them_though_others_do_too():
    flow = flow_of(
        ("max_pool", OUTSIDE), ("avg_pool", OUTSIDE), ("add", 0, 1), ("relu", 2), ("batch_norm", 2),
        ("max_pool", 2), ("add", 3, 4), outputs=(5, 6),
    )  # fmt: skip
    # Two pools, and what is left of the norm.
    assert elementwise(channels_last_kernels(flow)) == [3]


def test_openvino_computes_nothing_together_with_what_has_to_run_in_between():
    flow = flow_of(("max_pool", OUTSIDE), ("relu", 0), ("avg_pool", 1), ("mul", 1, 2), outputs=(3,))
    assert elementwise(channels_last_kernels(flow)) == [1, 2]
    # Nor by way of another chain.
    flow = flow_of(
        ("max_pool", OUTSIDE), ("avg_pool", OUTSIDE), ("relu", 0), ("relu", 1), ("max_pool", 2),
        ("mul", 3, 4), ("add", 2, 3), outputs=(5, 6),
    )  # fmt: skip
    assert elementwise(channels_last_kernels(flow)) == [1, 3]


def test_what_stays_inside_a_kernel_changes_no_layout():
    flow = flow_of(
        ("max_pool", OUTSIDE), ("bmm", OUTSIDE), ("relu", 0), ("add", 1, 2), outputs=(3,)
    )
    # The image, for the pool; what it makes, for the products; and nothing more but the output.
    found = [kind for kind in kinds(channels_last_kernels(flow)) if kind.startswith("Reorder")]
    assert sorted(found) == ["Reorder abcd acdb", "Reorder abcd acdb", "Reorder acdb abcd"]


@pytest.mark.parametrize(("is_read_later", "terms", "others"), [(False, 2, [2]), (True, 1, [2, 2])])
def test_openvino_writes_sums_over_what_nobody_reads_any_more(is_read_later, terms, others):
    """A sum that no convolution takes stays on its own, with what follows it."""
    after = (("max_pool", 3),) if is_read_later else ()
    flow = flow_of(
        ("max_pool", OUTSIDE), ("avg_pool", OUTSIDE), ("add", 0, 1), ("relu", 2),
        ("convolution", 0), ("add", 3, 4), ("relu", 5), ("mul", 6), *after,
        outputs=(7, 8)[: 1 + is_read_later],
    )  # fmt: skip
    kernels = channels_last_kernels(flow)
    assert [kernel.sides[-1] for kernel in kernels if kernel.macs] == [terms]
    assert elementwise(kernels) == others


def attention():
    """A network whose attention turns channels and columns round."""
    return next(each for each in draw_networks(0, ["susa"]) if each.size == ImageSize(128, 96))


def test_what_is_transposed_costs_time():
    drawn = attention()
    flow = dataflow(drawn.spec, drawn.size)
    num_attentions = Counter(op.kind for op in flow.ops)["layer_norm"]
    for runtime in ("onnxruntime", "openvino"):
        kernels = expected_kernels(runtime, drawn.spec, drawn.size)
        shuffles = Counter(op.kind for op in flow.ops)["stack"] * (runtime == "onnxruntime")
        found = Counter(kinds(kernels))["Transpose"]
        # Square lines cannot be told from those that stay.
        assert 1.5 * num_attentions < found - shuffles <= 2 * num_attentions


BLOCKS = sorted(entry.name for entry in SLOTS[Slot.BLOCK])


def observed(runtime, drawn):
    """The kernels that a runtime executed of a network, and those that were expected."""
    torch.manual_seed(0)
    conditions = Conditions(size=drawn.size)
    try:
        observer = RUNTIMES[runtime].prepare(drawn.spec.build().eval(), conditions).observer()
    except UnusableRuntimeError as error:
        pytest.skip(f"{runtime} cannot run here: {error}")
    observer.observe()
    linear = {
        op.address for op in drawn.spec.operations(drawn.size) if op.kind == "upsample_bilinear"
    }
    told = [executed_from_row(row) for row in observer.kernels()]
    executed = Counter((k.kind, k.sides) for k in (each.kernel(linear) for each in told))
    expected = Counter((k.kind, k.sides) for k in expected_kernels(runtime, drawn.spec, drawn.size))
    return executed, expected


def small_networks():
    """One small network for every block."""
    found = {}
    for drawn in draw_networks(11):
        num_units = sum(len(stage.units) for stage in drawn.spec.stages)
        if drawn.size.height == 128 and num_units == 1:
            found.setdefault(drawn.blocks[0], drawn)
        if len(found) == len(BLOCKS):
            return found.values()
    raise AssertionError


@pytest.mark.parametrize(
    ("runtime", "least"), [("eager", 0.97), ("onnxruntime", 0.93), ("openvino", 0.95)]
)
def test_runtimes_execute_what_is_expected(runtime, least):
    """Of networks with every block; a tensor more is copied now and then."""
    shares = {}
    for drawn in small_networks():
        executed, expected = observed(runtime, drawn)
        both = (executed & expected).total()
        shares[drawn.blocks] = both / max(executed.total(), expected.total())
    assert min(shares.values()) >= least, shares
    assert sum(shares.values()) / len(shares) > (least + 1) / 2, shares
