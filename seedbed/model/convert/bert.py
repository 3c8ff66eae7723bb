"""BERT with its head for masked tokens."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from seedbed.model.config import TransformerConfig, bert_config
from seedbed.model.convert.rules import Family, Rule, Values, choose, demand, named_epsilon, padded, same, with_bias


def read_bert(values: Values) -> TransformerConfig:
    demand(values, is_decoder=False, tie_word_embeddings=True, position_embedding_type="absolute")
    heads = values["num_attention_heads"]
    base = TransformerConfig(
        values["vocab_size"],
        values["num_hidden_layers"],
        values["hidden_size"],
        heads,
        heads,
        values["intermediate_size"],
        values["max_position_embeddings"],
    )
    config = bert_config(base)
    return replace(
        config,
        feed_forward=choose(values, "hidden_act", {"gelu": "gelu-exact"}, "gelu"),
        norm_epsilon=named_epsilon(config, values.get("layer_norm_eps", 1e-12)),
        segments=values.get("type_vocab_size", 2),
    )


def write_bert(config: TransformerConfig) -> dict[str, Any]:
    return {
        "architectures": ["BertForMaskedLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp_width,
        "hidden_act": "gelu",
        "max_position_embeddings": config.context,
        "type_vocab_size": config.segments,
        "layer_norm_eps": config.epsilon,
        "tie_word_embeddings": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def bert_rules(config: TransformerConfig) -> Iterator[Rule]:
    yield padded("embedding.weight", "bert.embeddings.word_embeddings.weight", config)
    yield same("position_embedding.weight", "bert.embeddings.position_embeddings.weight")
    yield same("segment_embedding.weight", "bert.embeddings.token_type_embeddings.weight")
    yield from with_bias("embedding_norm", "bert.embeddings.LayerNorm")
    for i in range(config.layers):
        for part, name in (
            ("attention.query", "attention.self.query"),
            ("attention.key", "attention.self.key"),
            ("attention.value", "attention.self.value"),
            ("attention.output", "attention.output.dense"),
            ("attention_norm", "attention.output.LayerNorm"),
            ("feed_forward.up", "intermediate.dense"),
            ("feed_forward.down", "output.dense"),
            ("feed_forward_norm", "output.LayerNorm"),
        ):
            yield from with_bias(f"layers.{i}.{part}", f"bert.encoder.layer.{i}.{name}")
    yield from with_bias("head_transform.dense", "cls.predictions.transform.dense")
    yield from with_bias("head_transform.norm", "cls.predictions.transform.LayerNorm")
    yield padded("head.bias", "cls.predictions.bias", config)


# the pooler and the sentence-order head take no part in predicting masked tokens; the decoder is the embedding
IGNORED_NAMES = r"^cls\.predictions\.decoder\.|^bert\.pooler\.|^cls\.seq_relationship\.|\.position_ids$"
BERT = Family("bert", read_bert, write_bert, bert_rules, IGNORED_NAMES)
