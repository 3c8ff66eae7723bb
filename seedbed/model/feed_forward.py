"""The feed-forward part of a layer: squared ReLU, GELU or SwiGLU."""

import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.config import TransformerConfig


class FeedForward(nn.Module):
    """[B, T, D] -> [B, T, D] through `mlp_width` channels."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.kind = config.feed_forward
        self.up = nn.Linear(config.width, config.mlp_width, bias=config.bias)
        if self.kind == "swiglu":
            self.gate = nn.Linear(config.width, config.mlp_width, bias=config.bias)
        self.down = nn.Linear(config.mlp_width, config.width, bias=config.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        if self.kind == "relu2":
            return self.down(F.relu(self.up(x_BTD)).square())  # So et al. 2021 (Primer)
        if self.kind == "gelu":
            return self.down(F.gelu(self.up(x_BTD), approximate="tanh"))
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))  # Shazeer 2020
