"""GPT-2, whose linear weights are stored as [in, out] and whose queries, keys and values are one matrix."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from seedbed.model.config import TransformerConfig, gpt2_config
from seedbed.model.convert.rules import (
    Family,
    Rule,
    Values,
    choose,
    demand,
    head_rules,
    joined,
    named_epsilon,
    padded,
    same,
    transposed,
    with_bias,
)

ACTIVATIONS = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu-exact"}


def read_gpt2(values: Values) -> TransformerConfig:
    demand(values, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    width, heads = values["n_embd"], values["n_head"]
    base = TransformerConfig(
        values["vocab_size"],
        values["n_layer"],
        width,
        heads,
        heads,
        values.get("n_inner") or 4 * width,
        values["n_positions"],
    )
    return replace(
        gpt2_config(base),
        feed_forward=choose(values, "activation_function", ACTIVATIONS, "gelu_new"),
        tied_head=values.get("tie_word_embeddings", True),
        norm_epsilon=named_epsilon(gpt2_config(base), values.get("layer_norm_epsilon", 1e-5)),
    )


def write_gpt2(config: TransformerConfig) -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in ACTIVATIONS.items() if theirs != "gelu_pytorch_tanh"}
    if config.feed_forward not in names:
        raise ValueError(f"feed_forward: GPT-2 has no {config.feed_forward}")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_positions": config.context,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.mlp_width,
        "activation_function": names[config.feed_forward],
        "layer_norm_epsilon": config.epsilon,
        "tie_word_embeddings": config.tied_head,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
    }


def gpt2_rules(config: TransformerConfig) -> Iterator[Rule]:
    yield padded("embedding.weight", "transformer.wte.weight", config)
    yield same("position_embedding.weight", "transformer.wpe.weight")
    for i in range(config.layers):
        ours, theirs = f"layers.{i}", f"transformer.h.{i}"
        yield from with_bias(f"{ours}.attention_norm", f"{theirs}.ln_1")
        for kind in ("weight", "bias"):
            parts = tuple(f"{ours}.attention.{part}.{kind}" for part in ("query", "key", "value"))
            yield joined(parts, f"{theirs}.attn.c_attn.{kind}", transpose=kind == "weight")
        yield from with_bias(f"{ours}.feed_forward_norm", f"{theirs}.ln_2")
        for part, name in (
            ("attention.output", "attn.c_proj"),
            ("feed_forward.up", "mlp.c_fc"),
            ("feed_forward.down", "mlp.c_proj"),
        ):
            yield transposed(f"{ours}.{part}.weight", f"{theirs}.{name}.weight")
            yield same(f"{ours}.{part}.bias", f"{theirs}.{name}.bias")
    yield from with_bias("final_norm", "transformer.ln_f")
    yield from head_rules(config)


# ignored: masks kept as buffers, and tied heads; the published files leave the prefix out
GPT2 = Family("gpt2", read_gpt2, write_gpt2, gpt2_rules, r"\.attn\.(masked_)?bias$|lm_head\.weight$", "transformer.")
