"""Llama and the decoders that share its names: Qwen2, Qwen3 and OLMo 2."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from seedbed.model.config import RopeScaling, TransformerConfig, llama_config, olmo2_config, qwen3_config
from seedbed.model.convert.rules import (
    Family,
    Rule,
    Values,
    demand,
    head_rules,
    named_epsilon,
    padded,
    same,
    with_bias,
)


def read_decoder(values: Values) -> TransformerConfig:
    """What Llama, Qwen and OLMo 2 name alike."""
    demand(values, hidden_act="silu", attention_bias=False, mlp_bias=False)
    width, heads = values["hidden_size"], values["num_attention_heads"]
    head_width = values.get("head_dim") or width // heads
    base, scaling = read_rope(values)
    return TransformerConfig(
        values["vocab_size"],
        values["num_hidden_layers"],
        width,
        heads,
        values.get("num_key_value_heads") or heads,
        values["intermediate_size"],
        values["max_position_embeddings"],
        rope_base=base,
        rope_scaling=scaling,
        head_channels=0 if head_width * heads == width else head_width,
        tied_head=values.get("tie_word_embeddings", False),
        windows=read_windows(values),
    )


def read_rope(values: Values) -> tuple[float, RopeScaling | None]:
    """Base and scaling, from `rope_parameters` (Transformers 5) or from `rope_theta` and `rope_scaling`."""
    given = values.get("rope_parameters") or values.get("rope_scaling") or {}
    base = float(given.get("rope_theta") or values.get("rope_theta") or 10_000.0)
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind == "default":
        return base, None
    kinds: dict[str, Literal["linear", "llama3", "yarn"]] = {"linear": "linear", "llama3": "llama3", "yarn": "yarn"}
    if kind not in kinds:
        raise ValueError(f"rope_type: {kind!r} is not supported (only default, {', '.join(kinds)})")
    demand(given, truncate=True)
    if given.get("mscale") or given.get("mscale_all_dim"):
        raise ValueError("mscale: only DeepSeek's yarn has it")
    original = given.get("original_max_position_embeddings") or values["max_position_embeddings"]
    renamed = {
        "low_frequency": "low_freq_factor",
        "high_frequency": "high_freq_factor",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "attention_factor": "attention_factor",
    }
    rest = {ours: float(given[theirs]) for ours, theirs in renamed.items() if given.get(theirs) is not None}
    return base, RopeScaling(kinds[kind], float(given["factor"]), original, **rest)


def read_windows(values: Values) -> tuple[int, ...]:
    """A window for each layer, from `layer_types` or from the older fields."""
    window, layers = values.get("sliding_window"), values["num_hidden_layers"]
    if not window or values.get("use_sliding_window") is False:
        return ()
    kinds = values.get("layer_types")
    if kinds is None:
        first = values.get("max_window_layers", 0)
        kinds = ["sliding_attention" if i >= first else "full_attention" for i in range(layers)]
    windows = tuple(window if kind == "sliding_attention" else 0 for kind in kinds)
    return windows if any(windows) else ()


def write_decoder(config: TransformerConfig, architecture: str) -> dict[str, Any]:
    values = {
        "architectures": [architecture],
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.epsilon,
        "tie_word_embeddings": config.tied_head,
        "rope_theta": config.rope_base,
        "attention_bias": False,
    }
    if config.rope_scaling is not None:
        values["rope_scaling"] = write_rope_scaling(config.rope_scaling)
    return values


def write_rope_scaling(scaling: RopeScaling) -> dict[str, Any]:
    values: dict[str, Any] = {"rope_type": scaling.kind, "factor": scaling.factor}
    values["original_max_position_embeddings"] = scaling.original_context
    if scaling.kind == "llama3":
        values |= {"low_freq_factor": scaling.low_frequency, "high_freq_factor": scaling.high_frequency}
    elif scaling.kind == "yarn":
        values |= {"beta_fast": scaling.beta_fast, "beta_slow": scaling.beta_slow}
        values |= {"attention_factor": scaling.attention_factor} if scaling.attention_factor else {}
    return values


def write_windows(config: TransformerConfig) -> dict[str, Any]:
    """The fields of Qwen's sliding windows, which are all of one width."""
    widths = set(config.windows) - {0}
    if not widths:
        return {"use_sliding_window": False}
    if len(widths) > 1:
        raise ValueError("windows: Transformers has one width for all layers")
    kinds = ["sliding_attention" if window else "full_attention" for window in config.windows]
    return {"use_sliding_window": True, "sliding_window": widths.pop(), "max_window_layers": 0, "layer_types": kinds}


def decoder_rules(config: TransformerConfig) -> Iterator[Rule]:
    """Llama's names; norms of queries and keys, biases and OLMo 2's places of the norms where the configuration has them."""
    yield padded("embedding.weight", "model.embed_tokens.weight", config)
    for i in range(config.layers):
        yield from attention_rules(config, f"layers.{i}.attention", f"model.layers.{i}.self_attn")
        yield from norm_rules(config, f"layers.{i}", f"model.layers.{i}")
        for part in ("gate", "up", "down"):
            yield same(f"layers.{i}.feed_forward.{part}.weight", f"model.layers.{i}.mlp.{part}_proj.weight")
    yield same("final_norm.weight", "model.norm.weight")
    yield from head_rules(config)


def attention_rules(config: TransformerConfig, ours: str, theirs: str) -> Iterator[Rule]:
    for part, letter in (("query", "q"), ("key", "k"), ("value", "v")):
        yield from with_bias(f"{ours}.{part}", f"{theirs}.{letter}_proj", config.qkv_bias)
    yield same(f"{ours}.output.weight", f"{theirs}.o_proj.weight")
    if config.qk_norm_weights:
        yield same(f"{ours}.query_norm.weight", f"{theirs}.q_norm.weight")
        yield same(f"{ours}.key_norm.weight", f"{theirs}.k_norm.weight")


def norm_rules(config: TransformerConfig, ours: str, theirs: str) -> Iterator[Rule]:
    on_output = config.norm_place == "output"
    first, second = (
        ("post_attention_layernorm", "post_feedforward_layernorm")
        if on_output
        else ("input_layernorm", "post_attention_layernorm")
    )
    yield same(f"{ours}.attention_norm.weight", f"{theirs}.{first}.weight")
    yield same(f"{ours}.feed_forward_norm.weight", f"{theirs}.{second}.weight")


def read_llama(values: Values) -> TransformerConfig:
    config = llama_config(replace(read_decoder(values), windows=()))
    return replace(config, norm_epsilon=named_epsilon(config, values["rms_norm_eps"]))


def write_llama(config: TransformerConfig) -> dict[str, Any]:
    return {**write_decoder(config, "LlamaForCausalLM"), "mlp_bias": False}


def read_qwen2(values: Values) -> TransformerConfig:
    config = replace(llama_config(read_decoder(values)), qkv_bias=True)
    return replace(config, norm_epsilon=named_epsilon(config, values["rms_norm_eps"]))


def write_qwen2(config: TransformerConfig) -> dict[str, Any]:
    return {**write_decoder(config, "Qwen2ForCausalLM"), **write_windows(config)}


def read_qwen3(values: Values) -> TransformerConfig:
    base = read_decoder(values)
    config = replace(qwen3_config(base), rope_base=base.rope_base)
    return replace(config, norm_epsilon=named_epsilon(config, values["rms_norm_eps"]))


def write_qwen3(config: TransformerConfig) -> dict[str, Any]:
    return {**write_decoder(config, "Qwen3ForCausalLM"), **write_windows(config)}


def read_olmo2(values: Values) -> TransformerConfig:
    base = read_decoder(values)
    config = replace(olmo2_config(base), rope_base=base.rope_base, windows=())
    return replace(config, norm_epsilon=named_epsilon(config, values["rms_norm_eps"]))


def write_olmo2(config: TransformerConfig) -> dict[str, Any]:
    return write_decoder(config, "Olmo2ForCausalLM")


IGNORED_NAMES = r"rotary_emb\.inv_freq$|^lm_head\.weight$"  # a buffer of old files, and tied heads
LLAMA = Family("llama", read_llama, write_llama, decoder_rules, IGNORED_NAMES)
QWEN2 = Family("qwen2", read_qwen2, write_qwen2, decoder_rules, IGNORED_NAMES)
QWEN3 = Family("qwen3", read_qwen3, write_qwen3, decoder_rules, IGNORED_NAMES)
OLMO2 = Family("olmo2", read_olmo2, write_olmo2, decoder_rules, IGNORED_NAMES)
