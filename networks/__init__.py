"""Networks: layers of every slot, specs, presets, spaces of specs, released checkpoints."""

from networks._applying import apply_choices
from networks.codec import (
    canonical_json,
    read_spec,
    spec_from_dict,
    spec_id,
    spec_to_dict,
    stage_from_dict,
)
from networks.deploy.rewriting import rewrite
from networks.heads import Head
from networks.initialise import INITIALISATIONS, initialise
from networks.presets import (
    PRESETS,
    Preset,
    hrnet_w32,
    hrnet_w48,
    lite_hrnet_18,
    lite_hrnet_30,
    mobilenet_v2,
    naive_lite_hrnet_18,
    shufflenet_v2,
    small_hrnet_w16,
    wider_naive_lite_hrnet_18,
)
from networks.released import load_released
from networks.space import Dimension, SpecSpace
from networks.sparse_fusions import AdjacentFusion, LowRankFusion, PooledFusion
from networks.spec import (
    GroupSpec,
    Network,
    NetworkSpec,
    StageSpec,
    UnitSpec,
    kind_label,
    slot_of,
)

__all__ = [
    "INITIALISATIONS",
    "PRESETS",
    "AdjacentFusion",
    "Dimension",
    "GroupSpec",
    "Head",
    "LowRankFusion",
    "Network",
    "NetworkSpec",
    "PooledFusion",
    "Preset",
    "SpecSpace",
    "StageSpec",
    "UnitSpec",
    "apply_choices",
    "canonical_json",
    "hrnet_w32",
    "hrnet_w48",
    "initialise",
    "kind_label",
    "lite_hrnet_18",
    "lite_hrnet_30",
    "load_released",
    "mobilenet_v2",
    "naive_lite_hrnet_18",
    "read_spec",
    "rewrite",
    "shufflenet_v2",
    "slot_of",
    "small_hrnet_w16",
    "spec_from_dict",
    "spec_id",
    "spec_to_dict",
    "stage_from_dict",
    "wider_naive_lite_hrnet_18",
]
