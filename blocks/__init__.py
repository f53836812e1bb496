"""Branchwork's building blocks and the registry that makes them interchangeable.

``ls blocks/`` is the catalogue: every public file but ``testing.py`` is a block, and a new block
is one new file. Importing the package registers the shipped blocks and those of installed
packages; ``load_block_folder`` adds a folder of the user's own.
"""

import warnings

from ._codec import is_block_field, layer_from_dict, layer_to_dict, plain_value
from ._discovery import (
    ENTRY_POINT_GROUP,
    load_block_folder,
    load_installed_blocks,
    load_shipped_blocks,
)
from ._errors import (
    BranchworkError,
    CheckpointError,
    DataError,
    Problem,
    SpecError,
    StudyError,
    did_you_mean,
    join_address,
    quoted,
)
from ._fields import FieldInfo, choice, fields_of, mismatch, required
from ._layers import (
    BlockSpec,
    BranchBlock,
    Composite,
    CrossBranchBlock,
    EachBranch,
    Flow,
    Fold,
    Ins,
    LayerSpec,
)
from ._module_path import ModulePath
from ._ops import Op, Tape, num_weights
from ._parts import (
    Activation,
    Chain,
    Conv,
    activation,
    conv3x3,
    depthwise,
    even_channels_problems,
    interleave,
    pointwise,
)
from ._recording import Recording, operator_kind, record, record_ops, touches_memory
from ._registry import Entry, Registry, Slot
from ._shapes import IMAGE, BranchShape, ImageSize, Shape, check_image_size
from ._slots import SLOTS, register_block

__all__ = [
    "ENTRY_POINT_GROUP",
    "IMAGE",
    "SLOTS",
    "Activation",
    "BlockSpec",
    "BranchBlock",
    "BranchShape",
    "BranchworkError",
    "Chain",
    "CheckpointError",
    "Composite",
    "Conv",
    "CrossBranchBlock",
    "DataError",
    "EachBranch",
    "Entry",
    "FieldInfo",
    "Flow",
    "Fold",
    "ImageSize",
    "Ins",
    "LayerSpec",
    "ModulePath",
    "Op",
    "Problem",
    "Recording",
    "Registry",
    "Shape",
    "Slot",
    "SpecError",
    "StudyError",
    "Tape",
    "activation",
    "check_image_size",
    "choice",
    "conv3x3",
    "depthwise",
    "did_you_mean",
    "even_channels_problems",
    "fields_of",
    "interleave",
    "is_block_field",
    "join_address",
    "layer_from_dict",
    "layer_to_dict",
    "load_block_folder",
    "mismatch",
    "num_weights",
    "operator_kind",
    "plain_value",
    "pointwise",
    "quoted",
    "record",
    "record_ops",
    "register_block",
    "required",
    "touches_memory",
]

load_shipped_blocks()
try:
    load_installed_blocks()
except SpecError as error:
    # Somebody else's broken package must not keep Branchwork from starting.
    warnings.warn(str(error), stacklevel=2)
