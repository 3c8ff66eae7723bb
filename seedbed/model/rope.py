"""Rotary positions: angles by base and scaling, and the rotation of a head's two halves."""

import math

import torch
from torch import Tensor

from seedbed.model.config import RopeScaling


def rope_tables(width: int, base: float, scaling: RopeScaling | None, tokens: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [tokens, width / 2] of the rotation angles (Su et al. 2021, eq. 15), computed in float64."""
    half = width // 2
    frequency = base ** (-torch.arange(half, dtype=torch.float64) / half)
    if scaling is not None:
        frequency = scale_frequencies(frequency, base, scaling)
    angle = torch.arange(tokens, dtype=torch.float64)[:, None] * frequency
    factor = scaling.sharpness if scaling is not None else 1.0
    return (factor * angle.cos()).float(), (factor * angle.sin()).float()


def scale_frequencies(frequency: Tensor, base: float, scaling: RopeScaling) -> Tensor:
    """Frequencies (radians a token, highest first) for a context `scaling.factor` times `scaling.original_context`.

    linear: all slower (Chen et al. 2023). llama3: waves shorter than original_context / high_frequency stay, longer than
    original_context / low_frequency slow down fully, between them a line in the number of turns (Llama 3.1's released code;
    Dubey et al. 2024 give the base only). yarn: the same, with the line in the channel's number, between the channels that turn
    beta_fast and beta_slow times in the original context (Peng et al. 2023, section 3.2).
    """
    slowed = frequency / scaling.factor
    if scaling.kind == "linear":
        return slowed
    turns = scaling.original_context * frequency / (2 * math.pi)
    if scaling.kind == "llama3":
        low, high = scaling.low_frequency, scaling.high_frequency
        kept = ((turns - low) / (high - low)).clamp(0, 1)
    else:
        half = len(frequency)

        def channel(turned: float) -> float:
            return half * math.log(scaling.original_context / (turned * 2 * math.pi)) / math.log(base)

        first = max(0, math.floor(channel(scaling.beta_fast)))
        last = min(2 * half - 1, math.ceil(channel(scaling.beta_slow)))
        width = max(last - first, 1e-3)
        kept = 1 - ((torch.arange(half, dtype=torch.float64) - first) / width).clamp(0, 1)
    return kept * frequency + (1 - kept) * slowed


def rotate(x_BTHK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Rotate the two halves of each head by its position's angles."""
    first, second = x_BTHK.chunk(2, dim=-1)
    cos, sin = cos_TK[:, None].to(x_BTHK.dtype), sin_TK[:, None].to(x_BTHK.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
