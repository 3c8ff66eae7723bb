"""Counting: parameters and FLOPs of a transformer from its configuration alone.

Trainer, planner and report all ask here; tests/model/test_arithmetic.py holds it against the real modules.
"""

from dataclasses import dataclass

from seedbed.model.config import TransformerConfig


@dataclass(frozen=True)
class ParameterCount:
    """`matrices` take part in matrix products for every token; `tables` are only looked up; `scalars` are the rest."""

    layers: int
    head: int
    tables: int
    scalars: int

    @property
    def matrices(self) -> int:
        return self.layers + self.head

    @property
    def total(self) -> int:
        """Distinct parameters: a tied head is its embedding and counts once, as `head`."""
        return self.layers + self.head + self.tables + self.scalars


def count_parameters(config: TransformerConfig) -> ParameterCount:
    D, V, K = config.width, config.padded_vocab_size, config.head_width
    queries, keys, M = config.heads * K, config.kv_heads * K, config.mlp_width
    attention = D * (2 * queries + 2 * keys)
    feed_forward = (3 if config.feed_forward == "swiglu" else 2) * D * M
    tables = 0 if config.tied_head else V * D
    tables += config.context * D if config.position == "learned" else 0
    tables += (2 * config.ngram_rows) * D + len(config.value_layers) * V * keys
    scalars = len(config.value_layers) * config.kv_heads * min(32, D)
    if config.bias:
        scalars += config.layers * (queries + 2 * keys + D + M + D + (M if config.feed_forward == "swiglu" else 0))
    if config.norm_weights:
        scalars += (2 * config.layers + 1) * D * (2 if config.norm == "layer" else 1)
    if config.residual_scalars:
        scalars += 2 * config.layers
    if config.prior_order:
        scalars += D + config.prior_order
    return ParameterCount(config.layers * (attention + feed_forward), V * D, tables, scalars)


def training_flops_per_token(config: TransformerConfig) -> float:
    """Matrix-product FLOPs of forward and backward for one token at full context.

    6 a parameter in a matrix, and 12 L h s for attention (PaLM, appendix B), not halved for the causal mask: that is how
    MFU is usually reported.
    """
    attention = 12 * config.layers * config.heads * config.head_width * config.context
    return 6.0 * count_parameters(config).matrices + attention
