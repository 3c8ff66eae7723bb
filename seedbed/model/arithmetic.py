"""Counting: parameters and FLOPs of a transformer from its configuration alone.

Trainer, planner and report all ask here; tests/model/test_arithmetic.py holds it against the real modules.
"""

from dataclasses import dataclass

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
    D, V, K = config.width, config.padded_vocab_size, config.head_width
    queries, keys, M = config.heads * K, config.kv_heads * K, config.mlp_width
    attention = count_latent(config) if config.latent else D * (2 * queries + 2 * keys)
    per_channel = (3 if config.feed_forward == "swiglu" else 2) * D  # weights a channel inside a feed-forward part
    sparse = len(config.expert_layers)
    matrices = config.layers * attention + (config.layers - sparse) * per_channel * M
    resting = 0
    if experts := config.experts:
        active = experts.experts_per_token + experts.shared_experts
        matrices += sparse * (per_channel * active * experts.expert_width + D * experts.num_experts)
        resting = sparse * per_channel * (experts.num_experts - experts.experts_per_token) * experts.expert_width
    tables = 0 if config.tied_head else V * D
    tables += config.context * D if config.position == "learned" else 0
    tables += (2 * config.ngram_rows) * D + len(config.value_layers) * V * keys
    scalars = len(config.value_layers) * config.kv_heads * min(32, D)
    if config.bias:
        up = 2 if config.feed_forward == "swiglu" else 1
        scalars += 0 if config.latent else config.layers * (queries + 2 * keys + D)
        scalars += (config.layers - sparse) * (up * M + D)
        if config.experts and config.experts.shared_experts:
            scalars += sparse * (up * config.experts.shared_experts * config.experts.expert_width + D)
    if config.norm_weights:
        scalars += (2 * config.layers + 1) * D * (2 if config.norm == "layer" else 1)
        if config.latent:
            scalars += config.layers * (config.latent.query_rank + config.latent.kv_rank)
    if config.residual_scalars:
        scalars += 2 * config.layers
    if config.prior_order:
        scalars += D + config.prior_order
    return ParameterCount(matrices, V * D, tables, scalars, resting)


def count_latent(config: TransformerConfig) -> int:
    """Weights in the matrices of one layer's latent attention."""
    assert config.latent is not None
    D, H, latent = config.width, config.heads, config.latent
    plain, turned, value = latent.plain_width, latent.rope_width, latent.value_width
    query = (latent.query_rank or D) * H * (plain + turned) + D * latent.query_rank
    return query + D * (latent.kv_rank + turned) + latent.kv_rank * H * (plain + value) + H * value * D


def training_flops_per_token(config: TransformerConfig) -> float:
    """Matrix-product FLOPs of forward and backward for one token at full context.

    6 a parameter in a matrix that the token uses, and 12 L h s for attention (PaLM, appendix B), not halved for the causal
    mask: that is how MFU is usually reported. Latent attention, as it trains, has keys and values of two widths.
    """
    latent = config.latent
    widths = latent.plain_width + latent.rope_width + latent.value_width if latent else 2 * config.head_width
    return 6.0 * count_parameters(config).matrices + 6 * config.layers * config.heads * widths * config.context
