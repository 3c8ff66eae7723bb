"""A figure of a plan: its value, the interval it comes with, its unit, its boundary, and how it was made."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

Range = tuple[float, float, float]  # low, usual, high


@dataclass(frozen=True)
class Estimate:
    """`low` and `high` hold about 90% where the ranges behind them do; most of those are ranges of published cases."""

    value: float
    low: float
    high: float
    unit: str
    boundary: str  # chip, server, facility, programme, ...: what the figure counts
    method: str

    def as_dict(self) -> dict[str, Any]:
        return {key: None if value != value else value for key, value in asdict(self).items()}


def as_range(values: Iterable[float]) -> Range:
    low, usual, high = values
    return low, usual, high


def spread(ranges: Iterable[Range], inverse: Iterable[Range] = ()) -> tuple[float, float]:
    """(low, high) factors of a product of independent quantities with these ranges, divided by those of `inverse`.

    Distances of low and high from the usual value add in quadrature, in logarithms.
    """
    below = above = 0.0
    sides = [(usual / low, high / usual) for low, usual, high in ranges]
    sides += [(high / usual, usual / low) for low, usual, high in inverse]
    for down, up in sides:
        below += math.log(down) ** 2
        above += math.log(up) ** 2
    return math.exp(-math.sqrt(below)), math.exp(math.sqrt(above))


def estimate(value: float, factors: tuple[float, float], unit: str, boundary: str, method: str) -> Estimate:
    return Estimate(float(value), float(value) * factors[0], float(value) * factors[1], unit, boundary, method)
