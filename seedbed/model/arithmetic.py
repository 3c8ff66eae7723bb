"""Counting: parameters and FLOPs of a transformer from its configuration alone.

Trainer, planner and report all ask here; tests/model/test_arithmetic.py holds it against the real modules.
"""

from dataclasses import dataclass
from typing import Literal

from seedbed.model.config import TransformerConfig


@dataclass(frozen=True)
class ParameterCount:
    """`matrices` take part in matrix products for every token; `tables` are only looked up; `scalars` are the rest.

    `resting` are the matrices of the experts that a token does not choose: in memory, and in no product of that token.
    """

    layers: int
    head: int
    tables: int
    scalars: int
    resting: int = 0

    @property
    def matrices(self) -> int:
        return self.layers + self.head

    @property
    def total(self) -> int:
        """Distinct parameters: a tied head is its embedding and counts once, as `head`."""
        return self.active + self.resting

    @property
    def active(self) -> int:
        """Those that one token uses: all but the experts it does not choose."""
        return self.layers + self.head + self.tables + self.scalars


def count_parameters(config: TransformerConfig) -> ParameterCount:
    D, V = config.width, config.padded_vocab_size
    sparse = len(config.expert_layers)
    per_channel = (3 if config.feed_forward == "swiglu" else 2) * D  # weights a channel inside a feed-forward part
    layers = config.layers * count_attention(config) + (config.layers - sparse) * per_channel * config.mlp_width
    resting = 0
    if experts := config.experts:
        active = experts.experts_per_token + experts.shared_experts
        layers += sparse * (per_channel * active * experts.expert_width + D * experts.num_experts)
        resting = sparse * per_channel * (experts.num_experts - experts.experts_per_token) * experts.expert_width
    head = V * D + (D * D if config.head_transform else 0)
    tables = 0 if config.tied_head else V * D
    tables += (config.context if config.position == "learned" else 0) * D + config.segments * D
    tables += (2 * config.ngram_rows) * D + len(config.value_layers) * V * config.kv_heads * config.head_width
    return ParameterCount(layers, head, tables, count_scalars(config), resting)


def count_attention(config: TransformerConfig) -> int:
    """Weights in the matrices of one layer's attention."""
    D, H = config.width, config.heads
    if config.latent is None:
        return D * 2 * (H + config.kv_heads) * config.head_width
    latent = config.latent
    plain, turned, value = latent.plain_width, latent.rope_width, latent.value_width
    query = (latent.query_rank or D) * H * (plain + turned) + D * latent.query_rank
    return query + D * (latent.kv_rank + turned) + latent.kv_rank * H * (plain + value) + H * value * D


def count_scalars(config: TransformerConfig) -> int:
    """Biases, gains and gates."""
    D, M, sparse = config.width, config.mlp_width, len(config.expert_layers)
    queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
    scalars = len(config.value_layers) * config.kv_heads * min(32, D)
    if config.latent:
        norms = config.latent.query_rank + config.latent.kv_rank
        scalars += config.layers * norms if config.norm_weights else 0
    else:
        scalars += config.layers * (queries + 2 * keys) if config.bias or config.qkv_bias else 0
        scalars += config.layers * D if config.bias else 0
        if config.qk_norm_weights:
            scalars += config.layers * (2 * config.head_width if config.qk_norm_over == "head" else queries + keys)
    if config.bias:
        up = 2 if config.feed_forward == "swiglu" else 1
        scalars += (config.layers - sparse) * (up * M + D)
        if config.experts and config.experts.shared_experts:
            scalars += sparse * (up * config.experts.shared_experts * config.experts.expert_width + D)
    if config.norm_weights:
        norms = 2 * config.layers + (config.norm_place != "after") + config.embedding_norm + config.head_transform
        scalars += norms * D * (2 if config.norm == "layer" else 1)
    scalars += D + config.padded_vocab_size if config.head_transform else 0
    scalars += 2 * config.layers if config.residual_scalars else 0
    scalars += D + config.prior_order if config.prior_order else 0
    return scalars


def keys_in_view(config: TransformerConfig, layer: int) -> int:
    """Keys that a token in the middle of a full context sees, the future counted too: the context, or a window's reach."""
    window = config.window(layer)
    reach = window if config.causal else 2 * window - 1
    return min(reach, config.context) if window else config.context


def keys_attended(config: TransformerConfig, layer: int) -> float:
    """Mean over the tokens of a full context of the keys that each may look at: about half of them under a causal mask."""
    context, window = config.context, config.window(layer) or config.context
    reach = min(window, context)
    if config.causal:  # token i sees min(i + 1, reach)
        return (reach * (reach + 1) / 2 + (context - reach) * reach) / context
    seen = 2 * reach - 1  # to both sides, less what lies beyond the ends
    return context if reach == context else seen - reach * (reach - 1) / context


def training_flops_per_token(
    config: TransformerConfig, attention: Literal["full", "seen"] = "full", recompute: bool = False
) -> float:
    """Matrix-product FLOPs of forward and backward for one token at full context.

    6 a parameter in a matrix that the token uses, and 12 h K s a layer for attention (PaLM, appendix B), not halved for the
    causal mask: that is how MFU is usually reported, and an encoder really does all of it. In a layer with a window, s is
    `keys_in_view`. Latent attention, as it trains, has keys and values of two widths. `attention="seen"` counts the keys that
    a token may look at alone, as kernels that skip masked blocks do; `recompute` adds the second forward of all layers.
    """
    latent = config.latent
    widths = latent.plain_width + latent.rope_width + latent.value_width if latent else 2 * config.head_width
    count = keys_in_view if attention == "full" else keys_attended
    keys = sum(count(config, layer) for layer in range(config.layers))
    parameters = count_parameters(config)
    again = 2.0 * parameters.layers + 2 * config.heads * widths * keys if recompute else 0.0
    return 6.0 * parameters.matrices + 6 * config.heads * widths * keys + again
