"""One layer: attention, then a feed-forward part, each with a norm and a residual sum.

`make_attention` and `make_feed_forward` choose the modules; whatever they give has the same calls.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.model.attention import Attention, LayerCache, Positions
from seedbed.model.config import TransformerConfig
from seedbed.model.experts import MixtureOfExperts
from seedbed.model.feed_forward import FeedForward
from seedbed.model.latent_attention import LatentAttention, LatentCache


def make_norm(config: TransformerConfig) -> nn.Module:
    if config.norm == "layer":
        return nn.LayerNorm(config.width, eps=config.epsilon, elementwise_affine=config.norm_weights)
    return nn.RMSNorm(config.width, eps=config.epsilon, elementwise_affine=config.norm_weights)


def make_attention(config: TransformerConfig, layer: int) -> Attention | LatentAttention:
    """Called with (x_BTD, positions, value_embedding_BTE, cache); has `make_cache`."""
    return LatentAttention(config, layer) if config.latent else Attention(config, layer)


def make_feed_forward(config: TransformerConfig, layer: int) -> FeedForward | MixtureOfExperts:
    """Called with x_BTD."""
    return MixtureOfExperts(config) if layer in config.expert_layers else FeedForward(config)


class Layer(nn.Module):
    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.norm_place = config.norm_place
        self.attention_norm = make_norm(config)
        self.attention = make_attention(config, layer)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = make_feed_forward(config, layer)

    def forward(
        self,
        x_BTD: Tensor,
        positions: Positions,
        value_embedding_BTE: Tensor | None = None,
        cache: LayerCache | LatentCache | None = None,
        mixed_in: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Tensor:
        """`mixed_in` (a, b, x0_BTD): the layer's input is a x + b x0. Done here, a compiled layer does it with its first norm."""
        if mixed_in is not None:
            scale, input_scale, x0_BTD = mixed_in
            x_BTD = scale * x_BTD + input_scale * x0_BTD

        def attention(x_BTD: Tensor) -> Tensor:
            return self.attention(x_BTD, positions, value_embedding_BTE, cache)

        x_BTD = self.add(x_BTD, self.attention_norm, attention)
        return self.add(x_BTD, self.feed_forward_norm, self.feed_forward)

    def add(self, x_BTD: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        """The residual stream after a part, with the norm where the architecture has it. Its dtype stays (see `enter`)."""
        if self.norm_place == "before":
            return x_BTD + part(norm(x_BTD))
        if self.norm_place == "output":
            return x_BTD + norm(part(x_BTD)).to(x_BTD.dtype)
        return norm(x_BTD + part(x_BTD)).to(x_BTD.dtype)


class HeadTransform(nn.Module):
    """Dense, GELU and norm between the last layer and the head, as BERT predicts masked tokens."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = make_norm(config)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.norm(F.gelu(self.dense(x_BTD)))
