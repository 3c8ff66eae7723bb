"""A model as a server sees it: weights to read, keys and values to hold, products to make. Fields may be arrays of models."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.model.arithmetic import count_parameters, keys_in_view
from seedbed.model.config import TransformerConfig

Number = Any  # a float, or a NumPy array of them

WIDTH_PER_LAYER = (32.0, 128.0)  # of small models and of large ones (recipe/shape.py, derive_shape)
KV_WIDTH = 1024  # 8 heads of 128 for keys and for values, as Llama 3 of any size


@dataclass(frozen=True)
class Served:
    """`expert_parameters`: those in routed experts, of which a token uses `experts_per_token` of `experts` in each layer."""

    total: Number
    active: Number
    layers: Number
    width: Number
    kv_bytes_token: Number  # of cache, all layers; where a window ends it, see `kv_bytes`
    attention_flops: Number  # a token and a key it looks at, forward
    expert_parameters: Number = 0.0
    experts: int = 0
    experts_per_token: int = 0
    weight_bytes: float = 2.0  # a parameter
    windows: tuple[tuple[int, int], ...] = ()  # (window, layers that have it): () all see the whole context
    sharded_kv: bool = True  # tensor parallelism cuts the cache; latents are on every device

    def kv_bytes(self, context: Number) -> Number:
        """Of one sequence of so many tokens."""
        return self.kv_bytes_token * self.keys_seen(context)

    def keys_seen(self, context: Number) -> Number:
        """Mean over layers of the keys that the next token looks at."""
        if not self.windows:
            return context
        layers = sum(count for _, count in self.windows)
        return sum(count * np.minimum(context, window or np.inf) for window, count in self.windows) / layers

    def touched_parameters(self, batch: Number) -> Number:
        """Weights that a decoding step reads: all dense ones, and the experts that its tokens chose."""
        if not self.experts:
            return self.total
        dense = self.total - self.expert_parameters
        return (
            dense + self.expert_parameters * experts_touched(self.experts, self.experts_per_token, batch) / self.experts
        )

    @property
    def held_bytes(self) -> Number:
        return self.total * self.weight_bytes


def experts_touched(experts: int, chosen: int, tokens: Number) -> Number:
    """How many of a layer's experts so many tokens choose, each `chosen` of them and evenly: E (1 - (1 - k/E)^B)."""
    return experts * (1 - (1 - chosen / experts) ** np.asarray(tokens, dtype=float))


def kv_bytes_token(config: TransformerConfig, bytes_each: float = 2.0) -> float:
    """Bytes of cache a token takes in all layers: 2 L n_kv d_h b; with latents L (d_c + d_rope) b (DeepSeek-V2, section 2.1)."""
    if config.latent:
        return config.layers * (config.latent.kv_rank + config.latent.rope_width) * bytes_each
    return 2 * config.layers * config.kv_heads * config.head_width * bytes_each


def served(config: TransformerConfig, weight_bytes: float = 2.0) -> Served:
    """Of a configuration, exactly (model/arithmetic.py)."""
    count = count_parameters(config)
    widths = config.heads * 2 * config.head_width
    if config.latent:  # absorbed: queries meet latents, and the values are latents too
        widths = config.heads * (2 * config.latent.kv_rank + config.latent.rope_width)
    windows: dict[int, int] = {}
    for layer in range(config.layers):
        seen = keys_in_view(config, layer)
        windows[0 if seen >= config.context else seen] = windows.get(0 if seen >= config.context else seen, 0) + 1
    routed, experts = 0.0, config.experts
    if experts:
        per_channel = (3 if config.feed_forward == "swiglu" else 2) * config.width
        routed = float(len(config.expert_layers) * per_channel * experts.expert_width * experts.num_experts)
    return Served(
        total=float(count.total),
        active=float(count.matrices),
        layers=config.layers,
        width=config.width,
        kv_bytes_token=kv_bytes_token(config),
        attention_flops=2.0 * config.layers * widths,
        expert_parameters=routed,
        experts=experts.num_experts if experts else 0,
        experts_per_token=experts.experts_per_token if experts else 0,
        weight_bytes=weight_bytes,
        windows=tuple(windows.items()) if set(windows) != {0} else (),
        sharded_kv=config.latent is None,
    )


def usual_shape(active: Number) -> tuple[Number, Number]:
    """(layers, width) of a dense decoder of so many parameters, as real numbers: 12 L W^2, with W/L from 32 to 128."""
    size = np.asarray(active, dtype=float)
    ratio = np.clip(WIDTH_PER_LAYER[0] * (size / 1e6) ** 0.15, *WIDTH_PER_LAYER)
    width = (size * ratio / 12) ** (1 / 3)
    return width / ratio, width


def served_of_size(
    active: Number, experts: int = 0, experts_per_token: int = 0, total: Number | None = None, weight_bytes: float = 2.0
) -> Served:
    """Of a size alone: the usual shape, grouped keys and values. `total` parameters where experts rest."""
    layers, width = usual_shape(active)
    whole = active if total is None else total
    routed = 0.0
    if experts:  # resting weights are those of the experts that a token does not choose
        routed = (whole - active) / (1 - experts_per_token / experts)
    return Served(
        total=whole,
        active=active,
        layers=layers,
        width=width,
        kv_bytes_token=2 * layers * np.minimum(width / 4, KV_WIDTH) * 2,
        attention_flops=4.0 * layers * width,
        expert_parameters=routed,
        experts=experts,
        experts_per_token=experts_per_token,
        weight_bytes=weight_bytes,
    )
