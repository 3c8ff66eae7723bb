"""The feed-forward part of a layer: squared ReLU, GELU or SwiGLU."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.config import TransformerConfig


class SquaredReLU(torch.autograd.Function):
    """max(x, 0)^2, with two passes backward where autograd's own takes four."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        kept = F.relu(x)
        ctx.save_for_backward(kept)
        return kept * kept

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        (kept,) = ctx.saved_tensors
        return (kept * upstream[0]).mul_(2)


def activate(kind: str, up: Tensor, gate: Callable[[], Tensor]) -> Tensor:
    """The inner channels from the up projection and, where the kind has one, the gate's."""
    if kind == "relu2":
        return SquaredReLU.apply(up)  # So et al. 2021 (Primer)
    if kind == "gelu":  # approximated as in GPT-2's code
        return F.gelu(up, approximate="tanh")
    if kind == "gelu-exact":  # Hendrycks & Gimpel 2016
        return F.gelu(up)
    return F.silu(gate()) * up  # Shazeer 2020


class FeedForward(nn.Module):
    """[B, T, D] -> [B, T, D] through `width` channels (default: the config's `mlp_width`)."""

    def __init__(self, config: TransformerConfig, width: int | None = None) -> None:
        super().__init__()
        self.kind = config.feed_forward
        width = width or config.mlp_width
        self.up = nn.Linear(config.width, width, bias=config.bias)
        if self.kind == "swiglu":
            self.gate = nn.Linear(config.width, width, bias=config.bias)
        self.down = nn.Linear(width, config.width, bias=config.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(activate(self.kind, self.up(x_BTD), lambda: self.gate(x_BTD)))
