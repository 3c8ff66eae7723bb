"""What a transformer is made of, as plain data: enough to rebuild it from `config.json`."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class TransformerConfig:
    """Shape and parts. `vocab_size` counts tokens; the embedding and head are padded to a multiple of 64 rows."""

    vocab_size: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    mlp_width: int
    context: int
    norm: Literal["rms", "layer"] = "rms"
    norm_weights: bool = False  # a learned gain (and bias for "layer") in each norm
    position: Literal["rope", "learned"] = "rope"
    rope_base: float = 10_000.0
    feed_forward: Literal["relu2", "gelu", "swiglu"] = "relu2"
    bias: bool = False
    tied_head: bool = False
    qk_norm: bool = False
    zero_output_init: bool = False  # output projections of attention and feed-forward start at zero
    value_embeddings: bool = False  # every second layer, the last among them, adds a per-token value (modded-nanogpt)
    residual_scalars: bool = False  # per layer: x = a x + b x0, with x0 the embedded input
    logit_softcap: float = 0.0  # logits -> c tanh(logits / c); 0: off
    causal: bool = True  # False: every token sees the whole row (an encoder)
    head_channels: int = 0  # width of a head where it is not width / heads (Qwen3); 0: width / heads
    ngram_rows: int = 0  # rows of each of the hashed 2- and 3-gram tables added to the input; 0: none
    prior_order: int = 0  # order of the counted n-gram expert mixed into the prediction; 0: none

    @property
    def head_width(self) -> int:
        return self.head_channels or self.width // self.heads

    @property
    def padded_vocab_size(self) -> int:
        return -(-self.vocab_size // 64) * 64

    @property
    def value_layers(self) -> tuple[int, ...]:
        """Layers that add a value embedding."""
        return tuple(i for i in range(self.layers) if (self.layers - 1 - i) % 2 == 0) if self.value_embeddings else ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TransformerConfig":
        return cls(**values)


def seedbed_config(base: TransformerConfig) -> TransformerConfig:
    """The default: what paid in the speedruns (docs/experiments) on top of a pre-norm decoder."""
    return replace(
        base,
        qk_norm=True,
        zero_output_init=True,
        value_embeddings=True,
        residual_scalars=True,
    )


def gpt2_config(base: TransformerConfig) -> TransformerConfig:
    """GPT-2 (Radford et al. 2019): learned positions, LayerNorm with gain and bias, GELU, biases, tied head."""
    return replace(
        base, norm="layer", norm_weights=True, position="learned", feed_forward="gelu", bias=True, tied_head=True
    )


def llama_config(base: TransformerConfig) -> TransformerConfig:
    """Llama (Touvron et al. 2023): RMSNorm with gain, RoPE, SwiGLU, no biases, untied head."""
    return replace(base, norm_weights=True, feed_forward="swiglu")


ARCHITECTURES = {"seedbed": seedbed_config, "gpt2": gpt2_config, "llama": llama_config}
