"""Loads checkpoints in the layout of the published Lite-HRNet code into our networks."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from blocks import CheckpointError, Problem, SpecError, did_you_mean, quoted
from networks.fusions import ReleasedFusion
from networks.presets import PRESETS
from networks.spec import Network, NetworkSpec

_HEAD = "keypoint_head.final_layer"
_COUNTER = "num_batches_tracked"

_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"

_RENAMINGS: tuple[tuple[str, str], ...] = (
    # Stem: a strided convolution, then the short and the long path of a shuffle block.
    (r"backbone\.stem\.conv1\.", "stem.conv.0."),
    (r"backbone\.stem\.branch1\.(\d)\.", r"stem.short.\1."),
    (r"backbone\.stem\.expand_conv\.", "stem.long.0."),
    (r"backbone\.stem\.depthwise_conv\.", "stem.long.1."),
    (r"backbone\.stem\.linear_conv\.", "stem.long.2."),
    # Conditional channel weighting.
    (
        r"backbone\.stage(\d+)\.(\d+)\.layers\.(\d+)\.cross_resolution_weighting\.conv1\.",
        r"stages.\1.units.\2.body.0.block.\3.cross.0.",
    ),
    (
        r"backbone\.stage(\d+)\.(\d+)\.layers\.(\d+)\.cross_resolution_weighting\.conv2\.",
        r"stages.\1.units.\2.body.0.block.\3.cross.1.",
    ),
    (
        r"backbone\.stage(\d+)\.(\d+)\.layers\.(\d+)\.depthwise_convs\.(\d+)\.",
        r"stages.\1.units.\2.body.0.block.\3.depthwise.\4.",
    ),
    (
        r"backbone\.stage(\d+)\.(\d+)\.layers\.(\d+)\.spatial_weighting\.(\d+)\.conv1\.",
        r"stages.\1.units.\2.body.0.block.\3.spatial.\4.convs.0.",
    ),
    (
        r"backbone\.stage(\d+)\.(\d+)\.layers\.(\d+)\.spatial_weighting\.(\d+)\.conv2\.",
        r"stages.\1.units.\2.body.0.block.\3.spatial.\4.convs.1.",
    ),
    # Shuffle blocks stand branch by branch there, block by block here.
    (
        r"backbone\.stage(\d+)\.(\d+)\.layers\.(\d+)\.(\d+)\.branch2\.(\d)\.",
        r"stages.\1.units.\2.body.0.block.\4.\3.convs.\5.",
    ),
    (
        r"backbone\.head_layer\.projects\.(\d+)\.depthwise_conv\.",
        r"aggregator.convs.<\1>.0.",
    ),
    (
        r"backbone\.head_layer\.projects\.(\d+)\.pointwise_conv\.",
        r"aggregator.convs.<\1>.1.",
    ),
    (re.escape(_HEAD) + r"\.", "head.convs.conv."),
)

# Layers in plain sequences there: number 0 is a convolution, 1 its norm; separable steps have a
# second pair, 2 and 3.
_PLAIN = {"0": "0.conv", "1": "0.norm", "2": "1.conv", "3": "1.norm"}


def load_released(path: Path | str, network: str = "lite_hrnet_30") -> Network:
    """Loads a checkpoint of the published layout.

    The file holds ``backbone.*`` and ``keypoint_head.*``, bare or under ``state_dict``. The number
    of outputs is read from the head. The file is opened with safe loading only.

    Args:
        path: The checkpoint.
        network: The preset that it belongs to, one with ``released`` fusions.

    Returns:
        The network in eval mode, float32.

    Shape:
        Its forward takes (N, 3, H, W) and gives (N, K, H/4, W/4).

    Raises:
        CheckpointError: If the file cannot be read, or does not fit the network.
        SpecError: If there is no such preset.
    """
    path = Path(path)
    if network not in _released_presets():
        raise SpecError(
            Problem(
                where="network",
                rule="a released checkpoint belongs to a preset with released fusions",
                got=quoted(network),
                do=did_you_mean(network, _released_presets()),
            )
        )
    theirs = _read(path)
    head = theirs.get(f"{_HEAD}.weight")
    if head is None or head.dim() == 0 or head.shape[0] == 0:
        raise _misfit(path, network, f"no {_HEAD}.weight", "name a checkpoint with a 1x1 head")
    spec = PRESETS[network].make(head.shape[0])
    # Every weight is overwritten; the caller's random numbers are not used up.
    with torch.random.fork_rng(devices=[]):
        module = spec.build()
    ours = dict(_renamed(path, network, theirs, spec))
    state = module.state_dict()
    # Old checkpoints do not count batches, and nothing that is computed depends on the counts.
    counters = {name: value for name, value in state.items() if name.endswith(_COUNTER)}
    ours = counters | ours
    _check_fit(path, network, ours, state)
    _check_values(path, network, ours)
    module.load_state_dict(ours)
    return module.float().eval()


def _released_presets() -> tuple[str, ...]:
    """The presets that the published code can have trained: those with its fusion."""
    return tuple(
        name
        for name, preset in PRESETS.items()
        for stage in preset.make(1).stages[:1]
        if any(isinstance(unit.fusion, ReleasedFusion) for unit in stage.units)
    )


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    # torch.load raises many kinds of errors for a file that is not its own.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        got = f"{type(error).__name__}: {reason}"[:160]
        if isinstance(error, pickle.UnpicklingError):
            # PyTorch's own words speak of its settings.
            got = "a file of another kind, or one that holds code"
        raise CheckpointError(
            Problem(
                where=str(path),
                rule="a checkpoint is a file that torch.load opens with weights_only=True",
                got=got,
                do="name a file written by torch.save that holds tensors only",
            )
        ) from error
    state = data.get("state_dict", data) if isinstance(data, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            Problem(
                where=str(path),
                rule="a checkpoint is a mapping from names to tensors",
                got=type(data).__name__,
                do="save the network's state_dict(), bare or under the key 'state_dict'",
            )
        )
    # Checkpoints of wrapped modules carry the wrapper's name in front.
    plain = {str(name).removeprefix("module."): value for name, value in state.items()}
    if len(plain) < len(state):
        raise CheckpointError(
            Problem(
                where=str(path),
                rule="every tensor stands in a checkpoint once",
                got="names that stand there with and without 'module.'",
                do="save the state_dict() of the network or of its wrapper, not both",
            )
        )
    return plain


def _renamed(
    path: Path, network: str, theirs: Mapping[str, Tensor], spec: NetworkSpec
) -> Iterator[tuple[str, Tensor]]:
    last = spec.num_branches - 1
    unknown = []
    for name, value in theirs.items():
        renamed = _rename(name, last)
        if renamed is None:
            unknown.append(name)
        else:
            yield renamed, value
    if unknown:
        raise _misfit(
            path,
            network,
            f"{len(unknown)} tensors of another layout, the first being {quoted(unknown[0])}",
            "name a checkpoint of the published Lite-HRNet code",
        )


def _rename(name: str, last_branch: int) -> str | None:
    """Returns our name of a tensor in the published layout, None if it has no place here."""
    for pattern, ours in _RENAMINGS:
        renamed, count = re.subn("^" + pattern, ours, name)
        if count:
            # Projects are counted from the coarsest branch there.
            renamed = re.sub(r"<(\d+)>", lambda match: str(last_branch - int(match[1])), renamed)
            return renamed.replace(".bn.", ".norm.")
    return _rename_plain(name)


def _rename_plain(name: str) -> str | None:
    """Renames transitions and fusion paths, which are unnamed sequences in the published code."""
    match = re.fullmatch(rf"backbone\.transition(\d+)\.(\d+)\.((?:\d+\.)+){_NORM}", name)
    if match:
        stage, branch, position, leaf = match.groups()
        return _sequence(f"stages.{stage}.transition.paths.{branch}", position, leaf)
    match = re.fullmatch(
        rf"backbone\.stage(\d+)\.(\d+)\.fuse_layers\.(\d+)\.(\d+)\.((?:\d+\.)+){_NORM}", name
    )
    if match:
        stage, unit, i, j, position, leaf = match.groups()
        return _sequence(f"stages.{stage}.units.{unit}.fusion.paths.{i}.{j}", position, leaf)
    return None


def _sequence(prefix: str, position: str, leaf: str) -> str | None:
    """Numbers the convolutions of a chain: each step there holds two of ours."""
    *steps, layer = position.rstrip(".").split(".")
    if layer not in _PLAIN or len(steps) > 1:
        return None
    index, part = _PLAIN[layer].split(".")
    number = 2 * int(steps[0]) + int(index) if steps else int(index)
    return f"{prefix}.{number}.{part}.{leaf}"


def _check_fit(
    path: Path, network: str, theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> None:
    missing = [name for name in ours if name not in theirs]
    extra = [name for name in theirs if name not in ours]
    shapes = [
        f"{name} is {tuple(theirs[name].shape)}, not {tuple(ours[name].shape)}"
        for name in ours
        if name in theirs and theirs[name].shape != ours[name].shape
    ]
    if missing or extra or shapes:
        found = [
            f"{len(names)} {noun} ({names[0]})"
            for names, noun in (
                (missing, "tensors missing"),
                (extra, "tensors too many"),
                (shapes, "of another shape"),
            )
            if names
        ]
        raise _misfit(
            path,
            network,
            ", ".join(found),
            f"name the preset that it was trained as: {', '.join(_released_presets())}",
        )


def _check_values(path: Path, network: str, theirs: Mapping[str, Tensor]) -> None:
    wrong = [
        name
        for name, value in theirs.items()
        if not name.endswith(_COUNTER)
        and not (value.is_floating_point() and bool(value.isfinite().all()))
    ]
    if wrong:
        raise _misfit(
            path,
            network,
            f"{len(wrong)} tensors that are not finite floating-point numbers ({wrong[0]})",
            "name a checkpoint of a training that did not diverge",
        )


def _misfit(path: Path, network: str, got: str, do: str) -> CheckpointError:
    return CheckpointError(
        Problem(
            where=str(path),
            rule=f"the checkpoint must hold the weights of {network}",
            got=got,
            do=do,
        )
    )
