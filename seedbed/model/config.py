"""What a transformer is made of, as plain data: enough to rebuild it from `config.json`."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class ExpertsConfig:
    """A mixture of experts in place of the feed-forward part (model/experts.py)."""

    num_experts: int  # routed ones in a layer
    experts_per_token: int  # of the routed ones
    expert_width: int  # channels inside one expert
    shared_experts: int = 0  # seen by every token besides
    dense_layers: int = 0  # first layers that keep a dense feed-forward part, of mlp_width
    gate: Literal["softmax", "sigmoid"] = "sigmoid"
    normalise_gates: bool = True  # the gates of a token's experts sum to 1 (before routed_scale)
    routed_scale: float = 1.0  # factor on the gates
    groups: int = 1  # the experts of a token come from groups_per_token of these groups
    groups_per_token: int = 1
    balance: Literal["bias", "loss", "none"] = "bias"
    bias_rate: float = 0.001  # step of the balancing bias (DeepSeek-V3, section 4.2)
    loss_weight: float = 0.01  # of the balance loss (Switch, section 2.2)
    z_loss_weight: float = 0.0  # of the squared log-sum-exp of the router's logits; ST-MoE uses 0.001


@dataclass(frozen=True)
class LatentConfig:
    """Multi-head latent attention in place of grouped keys and values (model/latent_attention.py)."""

    kv_rank: int  # channels of the latent that keys and values are made from
    plain_width: int  # channels of a head's queries and keys that know no position
    rope_width: int  # channels that RoPE turns; the key's are shared by all heads
    value_width: int  # channels of a head's values
    query_rank: int = 0  # channels the queries pass through; 0: one matrix


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
    experts: ExpertsConfig | None = None  # None: every layer's feed-forward part is dense
    latent: LatentConfig | None = None  # None: attention with kv_heads keys and values

    @property
    def head_width(self) -> int:
        return self.head_channels or self.width // self.heads

    @property
    def rotated_width(self) -> int:
        """Channels of a head that RoPE turns."""
        return self.latent.rope_width if self.latent else self.head_width

    @property
    def expert_layers(self) -> range:
        """Layers whose feed-forward part is a mixture of experts."""
        return range(min(self.experts.dense_layers, self.layers), self.layers) if self.experts else range(0)

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
        parts = {"experts": ExpertsConfig, "latent": LatentConfig}
        made = {name: part(**values[name]) for name, part in parts.items() if values.get(name)}
        return cls(**{**values, **made})


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
