"""A model of each family gives the logits that Transformers gives, and its weights survive the way there and back."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from seedbed.model.config import ARCHITECTURES, ExpertsConfig, LatentConfig, TransformerConfig
from seedbed.model.convert import export_model, find_family, import_model
from seedbed.model.transformer import Transformer, build_model
from seedbed.train.store import load_weights, weights_of

TOLERANCE = 1e-5  # float32, on logits of size 1

LLAMA = {
    "vocab_size": 70, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 48,
}  # fmt: skip
ORIGINAL = {"original_max_position_embeddings": 16}
CASES: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2", "vocab_size": 70, "n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "gpt2, untied": {
        "model_type": "gpt2", "vocab_size": 64, "n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4,
        "n_inner": 56, "activation_function": "gelu", "tie_word_embeddings": False,
    },
    "llama": {"model_type": "llama", **LLAMA},
    "llama 3": {
        "model_type": "llama", **LLAMA, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, **ORIGINAL,
        },
    },
    "llama, linear": {
        "model_type": "llama", **LLAMA,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 3.0},
    },
    "llama, yarn": {
        "model_type": "llama", **LLAMA, "head_dim": 24,
        "rope_parameters": {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 3.0, **ORIGINAL},
    },
    "qwen2": {"model_type": "qwen2", **LLAMA, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "qwen3": {"model_type": "qwen3", **LLAMA, "head_dim": 16},
    "qwen3, windows": {
        "model_type": "qwen3", **LLAMA, "head_dim": 8, "use_sliding_window": True, "sliding_window": 7,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 1_000_000.0, "factor": 4.0, "beta_fast": 20.0, "beta_slow": 2.0,
            "attention_factor": 1.3, **ORIGINAL,
        },
    },
    "olmo2": {"model_type": "olmo2", **LLAMA, "rms_norm_eps": 1e-6},
    "mixtral": {"model_type": "mixtral", **LLAMA, "num_local_experts": 6, "num_experts_per_tok": 2},
    "mixtral, windows": {
        "model_type": "mixtral", **LLAMA, "head_dim": 12, "num_local_experts": 3, "num_experts_per_tok": 1,
        "sliding_window": 7, "tie_word_embeddings": True,
    },
    "qwen3_moe": {
        "model_type": "qwen3_moe", **LLAMA, "head_dim": 16, "num_experts": 6, "num_experts_per_tok": 3,
        "moe_intermediate_size": 24, "norm_topk_prob": False, "mlp_only_layers": [0],
    },
    "deepseek_v3": {
        "model_type": "deepseek_v3", **LLAMA, "num_key_value_heads": 4, "moe_intermediate_size": 24,
        "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 3, "first_k_dense_replace": 1,
        "n_group": 4, "topk_group": 2, "kv_lora_rank": 20, "q_lora_rank": 14, "qk_nope_head_dim": 6,
        "qk_rope_head_dim": 8, "v_head_dim": 10,
    },
    "deepseek_v3, yarn": {
        "model_type": "deepseek_v3", **LLAMA, "num_key_value_heads": 4, "moe_intermediate_size": 24,
        "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 2,
        "n_group": 1, "topk_group": 1, "kv_lora_rank": 20, "q_lora_rank": 14, "qk_nope_head_dim": 6,
        "qk_rope_head_dim": 8, "v_head_dim": 10,
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "mscale": 0.7, "mscale_all_dim": 0.7, **ORIGINAL,
        },
    },
    "deepseek_v3, plain queries": {
        "model_type": "deepseek_v3", **LLAMA, "num_key_value_heads": 4, "moe_intermediate_size": 24,
        "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 0,
        "n_group": 1, "topk_group": 1, "kv_lora_rank": 20, "q_lora_rank": None, "qk_nope_head_dim": 6,
        "qk_rope_head_dim": 8, "v_head_dim": 10, "norm_topk_prob": False, "routed_scaling_factor": 1.5,
    },
    "bert": {
        "model_type": "bert", "vocab_size": 70, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 48,
    },
}  # fmt: skip

every_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return pytest.importorskip("transformers", reason="Transformers is the reference these models are compared with")


def random_theirs(transformers: ModuleType, values: dict[str, Any]) -> Any:
    """A Transformers model in which every parameter is drawn, norms and biases too."""
    config = transformers.AutoConfig.for_model(**values, attn_implementation="eager")
    kind = transformers.AutoModelForMaskedLM if values["model_type"] == "bert" else transformers.AutoModelForCausalLM
    model = kind.from_config(config).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        biases = [b for name, b in model.named_buffers() if name.endswith("e_score_correction_bias")]
        for parameter in [*model.parameters(), *biases]:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + (parameter.ndim == 1))
    return model


def ours_from(config: TransformerConfig, weights: dict[str, Tensor]) -> Transformer:
    model = build_model(config, seed=1)
    load_weights(model, weights)
    return model.eval()


def difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


@every_case
@torch.no_grad()
def test_logits_equal_those_of_transformers(transformers: ModuleType, name: str) -> None:
    theirs = random_theirs(transformers, CASES[name])
    config, weights = import_model(theirs.config.to_dict(), theirs.state_dict())
    ours = ours_from(config, weights)
    tokens = torch.randint(0, config.vocab_size, (2, 40), generator=torch.Generator().manual_seed(5))
    expected = theirs(input_ids=tokens).logits
    assert expected.std() > 0.1
    assert difference(ours(tokens), expected) < TOLERANCE
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters()) - padding(config)


def padding(config: TransformerConfig) -> int:
    rows = config.padded_vocab_size - config.vocab_size
    return rows * (config.width * (1 if config.tied_head else 2) + config.head_transform)


@every_case
@torch.no_grad()
def test_a_model_goes_there_and_back(transformers: ModuleType, name: str, tmp_path: Path) -> None:
    theirs = random_theirs(transformers, CASES[name])
    config, weights = import_model(theirs.config.to_dict(), theirs.state_dict())
    values, state = export_model(config, weights)
    again, weights_again = import_model(values, state)
    assert again == config
    assert weights.keys() == weights_again.keys() == weights_of(ours_from(config, weights)).keys()
    assert all(torch.equal(weights[key], weights_again[key]) for key in weights)
    (tmp_path / "config.json").write_text(json.dumps(values))
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    reopened, found = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not found["unexpected_keys"] and not found["mismatched_keys"]
    assert all(
        "lm_head" in key or "decoder" in key for key in found["missing_keys"]
    )  # tied, or a second name of a bias
    tokens = torch.randint(0, config.vocab_size, (1, 40), generator=torch.Generator().manual_seed(6))
    assert difference(reopened(input_ids=tokens).logits, theirs(input_ids=tokens).logits) < TOLERANCE


@torch.no_grad()
def test_padding_of_an_encoder_is_a_document_of_its_own(transformers: ModuleType) -> None:
    theirs = random_theirs(transformers, CASES["bert"])
    config, weights = import_model(theirs.config.to_dict(), theirs.state_dict())
    ours = ours_from(config, weights)
    tokens = torch.randint(0, 70, (2, 20), generator=torch.Generator().manual_seed(5))
    seen = torch.ones(2, 20, dtype=torch.int64)
    seen[1, 13:] = 0
    hidden = ours.hidden(*ours.embed(tokens), documents_BT=seen - 1)
    logits = ours.head(hidden)[..., :70]
    expected = theirs(input_ids=tokens, attention_mask=seen).logits
    assert difference(logits[0], expected[0]) < TOLERANCE
    assert difference(logits[1, :13], expected[1, :13]) < TOLERANCE


@torch.no_grad()
def test_published_gpt2_files_leave_the_prefix_out(transformers: ModuleType) -> None:
    theirs = random_theirs(transformers, CASES["gpt2"])
    state = {key.removeprefix("transformer."): value for key, value in theirs.state_dict().items()}
    state["h.0.attn.bias"] = torch.ones(1, 1, 48, 48)
    _, weights = import_model(theirs.config.to_dict(), state)
    _, expected = import_model(theirs.config.to_dict(), theirs.state_dict())
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


EXPERTS = ExpertsConfig(num_experts=4, experts_per_token=2, expert_width=24)
LATENT = LatentConfig(kv_rank=20, plain_width=6, rope_width=4, value_width=5)
BASE = TransformerConfig(vocab_size=70, layers=2, width=32, heads=4, kv_heads=2, mlp_width=48, context=12)


def test_a_family_is_found_by_its_parts() -> None:
    named = ["gpt2", "llama", "qwen3", "olmo2", "bert"]
    configs = {name: ARCHITECTURES[name](replace(BASE, kv_heads=4)) for name in named}
    assert [find_family(config).model_type for config in configs.values()] == named
    assert find_family(replace(configs["llama"], qkv_bias=True)).model_type == "qwen2"
    softmax = replace(EXPERTS, gate="softmax", balance="loss", z_loss_weight=0.001)
    narrow = replace(configs["llama"], mlp_width=24)  # without dense layers, their width is the experts'
    assert find_family(replace(narrow, experts=softmax)).model_type == "mixtral"
    assert find_family(replace(configs["qwen3"], experts=softmax)).model_type == "qwen3_moe"
    shared = replace(EXPERTS, shared_experts=1)
    assert find_family(replace(configs["llama"], experts=shared, latent=LATENT)).model_type == "deepseek_v3"
    for config in (
        ARCHITECTURES["seedbed"](BASE),
        replace(narrow, experts=EXPERTS),
        replace(narrow, experts=replace(softmax, shared_experts=1)),
        replace(configs["qwen3"], experts=replace(softmax, groups=2)),
        replace(configs["llama"], experts=EXPERTS, latent=LATENT),
        replace(configs["llama"], latent=LATENT),
        replace(configs["llama"], windows=(5, 0)),
        replace(configs["qwen3"], layers=3, windows=(5, 4, 0)),
        replace(configs["gpt2"], kv_heads=2),
        replace(configs["bert"], causal=True),
    ):
        with pytest.raises(ValueError, match="no model type of Transformers has all"):
            find_family(config)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "t5"}, "'t5' is not one of gpt2, llama"),
        ({**CASES["qwen3_moe"], "rms_norm_eps": 1e-6, "mlp_only_layers": [1]}, r"mlp_only_layers: \[1\]"),
        ({**CASES["deepseek_v3"], "scoring_func": "softmax"}, "scoring_func: 'softmax'"),
        ({"model_type": "llama", **LLAMA, "rms_norm_eps": 1e-6, "hidden_act": "relu"}, "hidden_act: 'relu'"),
        ({"model_type": "llama", **LLAMA, "rms_norm_eps": 1e-6, "attention_bias": True}, "attention_bias: True"),
        ({"model_type": "llama", **LLAMA, "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type: 'dynamic'"),
        ({**CASES["gpt2"], "activation_function": "relu"}, "activation_function: 'relu'"),
        ({**CASES["bert"], "position_embedding_type": "relative_key"}, "position_embedding_type: 'relative_key'"),
    ],
)
def test_what_the_parts_cannot_say_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        import_model(values, {})


def test_a_missing_and_an_unknown_weight_are_named() -> None:
    config = ARCHITECTURES["llama"](BASE)
    values, state = export_model(config, weights_of(build_model(config, seed=1)))
    del state["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(ValueError, match=r"^model\.layers\.1\.mlp\.up_proj\.weight: not among"):
        import_model(values, state)
    values, state = export_model(config, weights_of(build_model(config, seed=1)))
    state["model.layers.2.mlp.up_proj.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"^model\.layers\.2\.mlp\.up_proj\.weight: no weight of a llama"):
        import_model(values, state)
