"""Published costs of networks that we have, and by which convention and unit each is reproduced."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from analysis.cost import Cost
from blocks import ImageSize
from networks import PRESETS, NetworkSpec, apply_choices, spec_from_dict, spec_to_dict

UNITS: dict[str, tuple[int, ...]] = {"M": (10**6, 2**20), "G": (10**9, 2**30)}
"""What a printed letter may stand for."""

PARAMS_UNIT = 10**6


def unit_text(unit: int) -> str:
    """Writes a unit as a power.

    >>> unit_text(2**20), unit_text(10**9)
    ('2^20', '10^9')
    """
    if unit & (unit - 1) == 0:
        return f"2^{unit.bit_length() - 1}"
    return f"10^{len(str(unit)) - 1}"


class Agreement(StrEnum):
    """How a count agrees with a printed figure."""

    EXACTLY = "exactly"
    TO_ROUNDING = "to rounding"
    NOT = "not"


@dataclass(frozen=True)
class Figure:
    """A number as it is printed, such as ``205.2 M``.

    >>> Figure("205.2 M").agreement(215_202_112, 2**20).value
    'to rounding'
    """

    text: str

    @property
    def letter(self) -> str:
        """The letter of its unit."""
        return self.text.split()[1]

    @property
    def number(self) -> Fraction:
        """The number before the letter."""
        return Fraction(self.text.split()[0])

    @property
    def step(self) -> Fraction:
        """One in its last digit."""
        return Fraction(1, 10 ** len(self.text.split()[0].partition(".")[2]))

    def residual(self, count: int, unit: int) -> Fraction:
        """Returns what a count lies above the figure, in the figure's unit."""
        return Fraction(count, unit) - self.number

    def agreement(self, count: int, unit: int) -> Agreement:
        """Tells how a count agrees; a figure may be rounded or cut off after its last digit."""
        residual = self.residual(count, unit)
        if residual == 0:
            return Agreement.EXACTLY
        if -self.step / 2 <= residual < self.step:
            return Agreement.TO_ROUNDING
        return Agreement.NOT

    def is_rounded(self, count: int, unit: int) -> bool:
        """Tells whether the figure is the nearest to the count with so many digits."""
        return abs(self.residual(count, unit)) <= self.step / 2

    def rewrite(self, count: int, unit: int) -> str:
        """Writes a count with the figure's unit and as many decimals."""
        decimals = len(str(self.step.denominator)) - 1
        return f"{count / unit:.{decimals}f} {self.letter}"


@dataclass(frozen=True, kw_only=True)
class PublishedCost:
    """What is printed for one of our presets, or for a variant of it.

    Attributes:
        preset: The preset's name.
        input: The image's size.
        num_outputs: Key points or classes: 17 for COCO, 16 for MPII, 19 for Cityscapes.
        params: Parameters as printed.
        flops: FLOPs as printed.
        rule: The counting convention behind them, a key of ``CONVENTIONS``.
        unit: What the printed M or G stands for.
        source: Who prints it.
        note: What does not agree.
        changes: What is changed in the preset, by address.
    """

    preset: str
    input: ImageSize
    num_outputs: int
    params: str
    flops: str
    rule: str
    unit: int
    source: str
    note: str = ""
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The preset, and what is changed in it."""
        words = [
            str(word)
            for _, value in self.changes
            for word in (value.values() if isinstance(value, dict) else (value,))
        ]
        return f"{self.preset} ({' '.join(words)})" if words else self.preset

    def spec(self) -> NetworkSpec:
        """Returns the network."""
        base = PRESETS[self.preset].make(self.num_outputs)
        if not self.changes:
            return base
        return spec_from_dict(apply_choices(spec_to_dict(base), dict(self.changes)))

    def recount(self, cost: Cost) -> str:
        """Returns our count by the same rule, in the same unit and with as many decimals.

        Args:
            cost: What we count for the network at this input and number of outputs.
        """
        return Figure(self.flops).rewrite(cost.conventions[self.rule], self.unit)

    def reproducing(self, cost: Cost) -> tuple[tuple[str, int], ...]:
        """Returns every convention and unit that round to the printed FLOPs, its own rule first.

        Args:
            cost: What we count for the network at this input and number of outputs.
        """
        printed = Figure(self.flops)
        found = [
            (name, unit)
            for name, count in cost.conventions.items()
            for unit in UNITS[printed.letter]
            if printed.is_rounded(count, unit)
        ]
        return tuple(sorted(found, key=lambda pair: pair != (self.rule, self.unit)))


@dataclass(frozen=True)
class _Source:
    """Who prints figures, and how.

    Attributes:
        name: Where they stand.
        rule: The convention behind them.
        is_binary: Whether their M and G are powers of two.
        num_outputs: Outputs of the networks; at 256x256 those of MPII, 16.
    """

    name: str
    rule: str
    is_binary: bool
    num_outputs: int = 17

    def __call__(  # noqa: PLR0913 - the cells of a row
        self,
        preset: str,
        size: str,
        params: str,
        flops: str,
        *,
        note: str = "",
        changes: tuple[tuple[str, Any], ...] = (),
    ) -> PublishedCost:
        """Makes a row."""
        return PublishedCost(
            preset=preset,
            input=ImageSize.parse(size),
            num_outputs=16 if size == "256x256" else self.num_outputs,
            params=params,
            flops=flops,
            rule=self.rule,
            unit=UNITS[flops.split()[1]][self.is_binary],
            source=self.name,
            note=note,
            changes=changes,
        )


_lite = _Source("Lite-HRNet, arXiv 2104.06403, tables 3 and 6", "paper", is_binary=True)
_hrnet = _Source("HRNet, arXiv 1902.09212, table 1", "macs", is_binary=True)
_hrnet_v2 = _Source(
    "HRNet for semantic segmentation, its read-me, Cityscapes",
    "macs",
    is_binary=True,
    num_outputs=19,
)
_mmpose = _Source("mmpose 0.x, its summary of inference speed", "mmcv", is_binary=False)

_TRUNCATED = "params printed truncated"


def _kept_conv1x1(number: int) -> tuple[tuple[str, Any], ...]:
    return (("block", {"kind": "conv1x1_shuffle", "num_conv1x1": number}),)


PUBLISHED_COSTS: tuple[PublishedCost, ...] = (
    _lite("lite_hrnet_18", "256x192", "1.1 M", "205.2 M"),
    _lite("lite_hrnet_18", "384x288", "1.1 M", "461.6 M"),
    _lite("lite_hrnet_18", "256x256", "1.1 M", "273.4 M"),
    _lite("lite_hrnet_30", "256x192", "1.8 M", "319.2 M"),
    _lite("lite_hrnet_30", "384x288", "1.8 M", "717.8 M"),
    _lite("lite_hrnet_30", "256x256", "1.8 M", "425.3 M"),
    _lite("naive_lite_hrnet_18", "256x192", "0.7 M", "194.8 M", note=_TRUNCATED),
    _lite("naive_lite_hrnet_18", "256x256", "0.7 M", "259.6 M", note=_TRUNCATED),
    _lite("wider_naive_lite_hrnet_18", "256x192", "1.3 M", "311.1 M"),
    _lite(
        "wider_naive_lite_hrnet_18",
        "256x256",
        "1.3 M",
        "418.7 M",
        note="not reproduced by its own rule",
    ),
    _lite("small_hrnet_w16", "256x192", "1.3 M", "551.7 M"),
    _lite("small_hrnet_w16", "384x288", "1.3 M", "1.21 G"),
    _lite("small_hrnet_w16", "256x256", "1.3 M", "735.5 M"),
    _hrnet("hrnet_w32", "256x192", "28.5 M", "7.1 G"),
    _hrnet("hrnet_w32", "384x288", "28.5 M", "16.0 G"),
    _hrnet("hrnet_w48", "256x192", "63.6 M", "14.6 G"),
    _hrnet("hrnet_w48", "384x288", "63.6 M", "32.9 G"),
    _lite("mobilenet_v2", "256x192", "9.6 M", "1.48 G"),
    _lite("mobilenet_v2", "384x288", "9.6 M", "3.33 G"),
    _lite("shufflenet_v2", "256x192", "7.6 M", "1.28 G"),
    _lite("shufflenet_v2", "384x288", "7.6 M", "2.87 G"),
    _lite("wider_naive_lite_hrnet_18", "256x192", "1.1 M", "248.4 M", changes=_kept_conv1x1(1)),
    _lite("wider_naive_lite_hrnet_18", "256x256", "1.1 M", "331.0 M", changes=_kept_conv1x1(1)),
    _lite("wider_naive_lite_hrnet_18", "256x192", "0.9 M", "188.9 M", changes=_kept_conv1x1(0)),
    _lite("wider_naive_lite_hrnet_18", "256x256", "0.9 M", "251.7 M", changes=_kept_conv1x1(0)),
    _hrnet_v2("small_hrnet_w16_seg", "1024x2048", "1.5 M", "31.1 G"),
    _hrnet_v2("hrnet_w48_seg", "1024x2048", "65.8 M", "696.2 G"),
    _mmpose("lite_hrnet_30", "256x192", "1.76 M", "0.42 G"),
    _mmpose("lite_hrnet_30", "384x288", "1.76 M", "0.95 G"),
    _mmpose("hrnet_w32", "256x192", "28.54 M", "7.7 G"),
    _mmpose("hrnet_w48", "256x192", "63.6 M", "15.77 G"),
)
"""Costs that are printed for our presets, with the rule and unit that reproduce them."""
