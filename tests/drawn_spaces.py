"""Hypothesis strategies for spaces of networks, over all slots and kinds."""

from __future__ import annotations

from drawn_specs import specs
from hypothesis import assume
from hypothesis import strategies as st

from blocks import SLOTS, Slot, StudyError
from networks import SpecSpace

BLOCKS = sorted(entry.name for entry in SLOTS[Slot.BLOCK] if entry.name != "split")
FUSIONS = sorted(entry.name for entry in SLOTS[Slot.FUSION])
# What a study may free, with choices that often do not fit together.
FREE: dict[str, list[object]] = {
    "widths": [[8, 12, 16, 20], [6, 6, 6, 6], [7, 8, 9, 10], [8, 12]],
    "branches": [1, 2, 3, 4, 5],
    "block": BLOCKS,
    "fusion": FUSIONS,
    "depth": [1, 2, 3],
    "units": [1, 2, 3],
    "stages.*.block": BLOCKS,
    "stages.*.fusion": FUSIONS,
    "stages.*.depth": [1, 3],
    "stages.*.units": [1, 2, 4],
    "stages.0.transition.widths": [[8], [8, 12], [8, 12, 16]],
    "stages.0.units.0.fusion": FUSIONS,
    "stages.*.units.*.fusion.outputs": ["all", "finest"],
    "stages.*.units.0.body.0.block": BLOCKS,
    "stages.*.units.*.body.*.block.reduce_ratio": [4, 8],
    "stages.*.units.*.body.*.depth": [1, 2],
    "stem": ["lite", "hrnet", "mobilenet_v2", "shufflenet_v2"],
    "stem.channels": [8, 16],
    "aggregator": ["none", "iterative"],
    "head": ["heatmap", "heatmap_deconv"],
    "head.num_deconvs": [1, 2],
}


@st.composite
def spaces(draw: st.DrawFn, max_free: int = 4, max_choices: int = 3) -> SpecSpace:
    """A drawn network with some of its places free.

    Args:
        draw: Hypothesis' own.
        max_free: The largest number of addresses, patterns among them.
        max_choices: The largest number of choices of each.
    """
    base = draw(specs())
    space = SpecSpace(base=base, dimensions=())
    free: dict[str, list[object]] = {}
    for address in draw(st.lists(st.sampled_from(sorted(FREE)), max_size=max_free, unique=True)):
        choices = draw(st.lists(st.sampled_from(FREE[address]), min_size=1, max_size=max_choices))
        try:
            space = SpecSpace.resolve(base, {**free, address: choices})
        except StudyError:
            continue
        free[address] = choices
    assume(space.size <= 20_000)
    return space
