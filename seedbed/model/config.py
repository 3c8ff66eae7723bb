"""What a transformer is made of, as plain data: enough to rebuild it from `config.json`.

Every architecture is a choice of the same parts. `ARCHITECTURES` gives the choices that have a name.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class RopeScaling:
    """RoPE for a context `factor` times `original_context`, as `model/rope.py` defines the kinds."""

    kind: Literal["linear", "llama3", "yarn"]
    factor: float
    original_context: int
    low_frequency: float = 1.0  # llama3: waves that turn fewer times than this in the original context slow down fully
    high_frequency: float = 4.0  # llama3: waves that turn more often than this keep their pace
    beta_fast: float = 32.0  # yarn: the same two limits, in turns
    beta_slow: float = 1.0
    attention_factor: float = 0.0  # yarn: what queries and keys are multiplied by; 0: derived from the factor

    @property
    def sharpness(self) -> float:
        """What queries and keys are multiplied by: yarn's 0.1 ln(factor) + 1 (Peng et al. 2023, eq. 22), else 1."""
        if self.attention_factor:
            return self.attention_factor
        return 0.1 * math.log(self.factor) + 1 if self.kind == "yarn" and self.factor > 1 else 1.0


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
    balance: Literal["bias", "loss", "off"] = "bias"
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
    yarn_scale: float = 0.0  # with yarn, scores times (0.1 yarn_scale ln(factor) + 1)^2: DeepSeek's mscale_all_dim


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
    feed_forward: Literal["relu2", "gelu", "gelu-exact", "swiglu"] = "relu2"  # gelu: by tanh, as GPT-2's
    bias: bool = False
    tied_head: bool = False
    qk_norm: bool = False
    zero_output_init: bool = False  # output projections of attention and feed-forward start at zero
    value_embeddings: bool = False  # every second layer, the last among them, adds a per-token value (modded-nanogpt)
    residual_scalars: bool = False  # per layer: x = a x + b x0, with x0 the embedded input
    logit_softcap: float = 0.0  # logits -> c tanh(logits / c); 0: off
    causal: bool = True  # False: every token sees the whole row (an encoder)
    head_channels: int = 0  # width of a head where it is not width / heads (Qwen3); 0: width / heads
    norm_epsilon: float = 0.0  # added to the mean square; 0: 1e-5 for layer, 1e-6 for rms
    # before a sublayer; on its output, before the residual sum (OLMo 2); after the residual sum (Vaswani et al. 2017)
    norm_place: Literal["before", "output", "after"] = "before"
    qk_norm_weights: bool = False  # a learned gain, and the norm before RoPE; without: the norm times 1.2, after RoPE
    qk_norm_over: Literal["head", "width"] = "head"  # each head by itself (Qwen3), or all heads at once (OLMo 2)
    rope_scaling: RopeScaling | None = None
    # how many tokens a token of each layer sees to a side, itself included; 0: all; (): all in all layers
    windows: tuple[int, ...] = ()
    qkv_bias: bool = False  # biases of query, key and value also where `bias` is off (Qwen2)
    segments: int = 0  # rows of a table of sentence kinds, the first of which is added to every token (BERT)
    embedding_norm: bool = False  # a norm on the sum of the embeddings (BERT)
    head_transform: bool = False  # dense, GELU and norm before the head, and a bias on it (BERT's masked head)
    ngram_rows: int = 0  # rows of each of the hashed 2- and 3-gram tables added to the input; 0: none
    prior_order: int = 0  # order of the counted n-gram expert mixed into the prediction; 0: none
    experts: ExpertsConfig | None = None  # None: every layer's feed-forward part is dense
    latent: LatentConfig | None = None  # None: attention with kv_heads keys and values

    def __post_init__(self) -> None:
        if self.windows and len(self.windows) != self.layers:
            raise ValueError(f"windows: {len(self.windows)} for {self.layers} layers: give one for each layer")

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
    def epsilon(self) -> float:
        """The norms' epsilon."""
        return self.norm_epsilon or (1e-5 if self.norm == "layer" else 1e-6)

    @property
    def padded_vocab_size(self) -> int:
        return -(-self.vocab_size // 64) * 64

    @property
    def value_layers(self) -> tuple[int, ...]:
        """Layers that add a value embedding."""
        return tuple(i for i in range(self.layers) if (self.layers - 1 - i) % 2 == 0) if self.value_embeddings else ()

    def window(self, layer: int) -> int:
        """How many tokens a token of this layer sees on one side, itself included; 0: all."""
        return self.windows[layer] if self.windows else 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TransformerConfig":
        parts = {"rope_scaling": RopeScaling, "experts": ExpertsConfig, "latent": LatentConfig}
        made = {name: part(**values[name]) for name, part in parts.items() if values.get(name)}
        return cls(**{**values, "windows": tuple(values.get("windows", ())), **made})


def window_pattern(pattern: str, short: int, layers: int) -> tuple[int, ...]:
    """Windows of all layers from letters repeated over them, S: `short` tokens, L: all. The last layer sees all (nanochat)."""
    windows = [short if pattern[i % len(pattern)] == "S" else 0 for i in range(layers)]
    return (*windows[:-1], 0) if any(windows[:-1]) else ()


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
    """Llama (Touvron et al. 2023): RMSNorm with gain, RoPE, SwiGLU, no biases, untied head. Epsilon of versions 2 and 3."""
    return replace(base, norm_weights=True, feed_forward="swiglu", norm_epsilon=1e-5)


def qwen3_config(base: TransformerConfig) -> TransformerConfig:
    """Qwen3 (Yang et al. 2025, section 2): Llama's parts, and a weighted norm of each head's queries and keys."""
    return replace(llama_config(base), norm_epsilon=1e-6, qk_norm=True, qk_norm_weights=True, rope_base=1_000_000.0)


def olmo2_config(base: TransformerConfig) -> TransformerConfig:
    """OLMo 2 (Walsh et al. 2025, section 2.1): norms on the sublayers' outputs, and of all queries and all keys at once."""
    return replace(
        llama_config(base),
        norm_epsilon=1e-6,
        norm_place="output",
        qk_norm=True,
        qk_norm_weights=True,
        qk_norm_over="width",
        rope_base=500_000.0,
    )


def bert_config(base: TransformerConfig) -> TransformerConfig:
    """BERT (Devlin et al. 2019): an encoder with norms after the sums, learned positions and a head for masked tokens."""
    return replace(
        gpt2_config(base),
        feed_forward="gelu-exact",
        causal=False,
        norm_epsilon=1e-12,
        norm_place="after",
        segments=2,
        embedding_norm=True,
        head_transform=True,
    )


ARCHITECTURES = {
    "seedbed": seedbed_config,
    "gpt2": gpt2_config,
    "llama": llama_config,
    "qwen3": qwen3_config,
    "olmo2": olmo2_config,
    "bert": bert_config,
}
