"""The graph in an ONNX file, with a size for everything that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, TypeProto, ValueInfoProto, inliner

from blocks import ImageSize, Problem, Shape, SpecError

_IMAGE_RANK = 4
_COLOURS = 3
_USUAL_CHANNELS = frozenset({1, 3, 4})
_LONGEST = 300


@dataclass(frozen=True, kw_only=True)
class GraphInput:
    """One tensor that a graph takes.

    Attributes:
        name: Its name.
        shape: Its shape, with the batch dimension.
        elem_type: Type of its elements, by ONNX's number.
        was_free: Whether the file leaves some side of it open.
        sides: Positions of the height and the width, none if it is no image.
    """

    name: str
    shape: Shape
    elem_type: int
    was_free: bool
    sides: tuple[int, int] | None

    @property
    def type(self) -> TypeProto:
        """Its type in ONNX's words."""
        return onnx.helper.make_tensor_type_proto(self.elem_type, self.shape)

    @property
    def text(self) -> str:
        """Its name and shape, ``'image' as 1x3x256x192``."""
        return f"{self.name!r} as {'x'.join(map(str, self.shape)) or 'a number'}"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a graph takes, all sizes set.

    Attributes:
        each: The inputs, in the file's order.
        symbols: What the file's names of open sides stand for.
        size: The image's size; the last two sides of the first input where there is no image.
        num_images: The batch, 1 unless the file fixes another.
        has_free_sides: Whether another image size could be chosen.
    """

    each: tuple[GraphInput, ...]
    symbols: Mapping[str, int]
    size: ImageSize
    num_images: int
    has_free_sides: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of them: all but one fixed image of three channels."""
        found = []
        first, *others = self.each
        is_plain = first.sides == (2, 3) and first.shape[1] == _COLOURS and not first.was_free
        if others or not is_plain:
            what = "took the input" if not others else "took the inputs"
            found.append(f"{what} {', '.join(each.text for each in self.each)}")
        if self.num_images > 1:
            found.append(f"the batch is fixed at {self.num_images}; counted for one image of it")
        return tuple(found)


def read_model(path: Path) -> ModelProto:
    """Reads an ONNX file without its external data, functions of the file written out.

    Args:
        path: The file.

    Raises:
        SpecError: If it is none, or holds no graph.
        OSError: If it cannot be read.
    """
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # noqa: BLE001 - protobuf's implementations raise different errors
        raise _no_model(path, f"{type(error).__name__}: {_one_line(error)}") from None
    if not data or not (model.opset_import or model.graph.node):
        raise _no_model(path, "an empty file" if not data else "nothing that is a graph")
    if not model.graph.node:
        raise _no_model(path, "a graph without nodes")
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except Exception:  # noqa: BLE001 - the C++ code raises anything
        # Calls of its functions are then unknown operators, which are listed.
        return model


def set_inputs(
    graph: GraphProto, path: Path, asked: ImageSize | None, default: ImageSize
) -> Inputs:
    """Gives every side that the file leaves open a size.

    The batch becomes 1, channels become 3, height and width what was asked for or the default.

    Args:
        graph: The graph.
        path: Its file, for messages.
        asked: The image size that the user wrote, None if none.
        default: The image size where neither the user nor the file says one.

    Raises:
        SpecError: If a side stays open, or the file has another image size than asked for.
    """
    held = {each.name for each in graph.initializer}
    held |= {each.values.name for each in graph.sparse_initializer}
    taken = [each for each in graph.input if each.name not in held]
    size = asked or default
    symbols: dict[str, int] = {}
    problems: list[Problem] = []
    found: list[GraphInput] = []
    for value in taken:
        if not value.type.HasField("tensor_type"):
            problems.append(_no_tensor(path, value))
            continue
        found.append(_set_input(value, size, symbols, path, problems, is_only=len(taken) == 1))
    image = next((each for each in found if each.sides), None)
    if not found and not problems:
        problems.append(_no_input(path))
    if asked and found and not problems:
        problems += _misfits(path, asked, image)
    if problems:
        raise SpecError(problems)
    first = image or found[0]
    return Inputs(
        each=tuple(found),
        symbols=symbols,
        size=_size_of(first),
        num_images=first.shape[0] if first.shape else 1,
        has_free_sides=image is not None and image.was_free,
    )


def _set_input(  # noqa: PLR0913 - what it fills in, and where it tells
    value: ValueInfoProto,
    size: ImageSize,
    symbols: dict[str, int],
    path: Path,
    problems: list[Problem],
    *,
    is_only: bool,
) -> GraphInput:
    tensor = value.type.tensor_type
    dims = list(tensor.shape.dim)
    if not tensor.HasField("shape") and is_only:
        # Whatever takes a single tensor is taken to take an image.
        dims = [onnx.TensorShapeProto.Dimension() for _ in range(_IMAGE_RANK)]
    elif not tensor.HasField("shape"):
        problems.append(_open_side(path, value.name, "a number of sides"))
    fixed = [max(dim.dim_value, 0) for dim in dims]
    sides = _sides(fixed)
    defaults = {0: 1}
    if sides:
        channels = next(iter({1, 3} - set(sides)))
        defaults |= {channels: _COLOURS, sides[0]: size.height, sides[1]: size.width}
    shape = []
    for index, dim in enumerate(dims):
        chosen = fixed[index] or symbols.get(dim.dim_param) or defaults.get(index)
        if chosen is None:
            problems.append(_open_side(path, value.name, dim.dim_param or f"side {index}"))
            chosen = 1
        if dim.dim_param:
            symbols.setdefault(dim.dim_param, chosen)
        shape.append(chosen)
    return GraphInput(
        name=value.name,
        shape=tuple(shape),
        elem_type=tensor.elem_type,
        was_free=not all(fixed) or not dims,
        sides=sides,
    )


def _sides(fixed: Sequence[int]) -> tuple[int, int] | None:
    """Tells where an image has its height and width: channels come first, seldom last."""
    if len(fixed) != _IMAGE_RANK:
        return None
    is_last = fixed[3] in _USUAL_CHANNELS and fixed[1] not in _USUAL_CHANNELS
    return (1, 2) if is_last else (2, 3)


def _size_of(given: GraphInput) -> ImageSize:
    if given.sides:
        return ImageSize(*(given.shape[side] for side in given.sides))
    height, width = (1, 1, *given.shape[1:])[-2:]
    return ImageSize(height, width)


def _misfits(path: Path, asked: ImageSize, image: GraphInput | None) -> list[Problem]:
    if image is not None and _size_of(image) == asked:
        return []
    return [
        Problem(
            where="--input",
            rule=f"{path} has its own input size"
            if image is not None
            else f"{path} takes no image, so its sizes are those of the file",
            got=str(asked),
            do="leave --input out"
            if image is None
            else f"leave --input out or write {_size_of(image)}; for other sizes export it with "
            "a free height and width",
        )
    ]


def _no_model(path: Path, got: str) -> SpecError:
    return SpecError(
        Problem(
            where=str(path),
            rule="a file that ends in .onnx holds an ONNX graph",
            got=got,
            do="export it again, or check that it was copied whole",
        )
    )


def _no_tensor(path: Path, value: ValueInfoProto) -> Problem:
    return Problem(
        where=f"{path}, input {value.name!r}",
        rule="an input is a tensor",
        got=(value.type.WhichOneof("value") or "no type").removesuffix("_type"),
        do="export the network with tensors as its inputs",
    )


def _no_input(path: Path) -> Problem:
    return Problem(
        where=str(path),
        rule="a network takes something",
        got="a graph without inputs",
        do="export it with its image as an input",
    )


def _open_side(path: Path, name: str, side: str) -> Problem:
    return Problem(
        where=f"{path}, input {name!r}",
        rule="only batch, channels, height and width can be left open",
        got=f"no size for {side}",
        do="export it with this size fixed",
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST]
