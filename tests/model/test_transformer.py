"""The model computes what its formulas say, in whatever pieces it is asked."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seedbed.model.arithmetic import count_parameters, keys_attended, training_flops_per_token
from seedbed.model.config import (
    ARCHITECTURES,
    ExpertsConfig,
    LatentConfig,
    RopeScaling,
    TransformerConfig,
    window_pattern,
)
from seedbed.model.initialisation import Draw
from seedbed.model.transformer import Transformer, build_model
from seedbed.train.store import load_model, load_weights, save_model, weights_of

BASE = TransformerConfig(vocab_size=70, layers=2, width=32, heads=4, kv_heads=2, mlp_width=48, context=12)
CONFIGS = {name: make(BASE) for name, make in ARCHITECTURES.items()}
CONFIGS["seedbed with everything"] = replace(CONFIGS["seedbed"], ngram_rows=31, prior_order=4)
EXPERTS = ExpertsConfig(num_experts=6, experts_per_token=2, expert_width=24, shared_experts=1)
LATENT = LatentConfig(kv_rank=20, plain_width=6, rope_width=4, value_width=5)
CONFIGS["seedbed, experts"] = replace(CONFIGS["seedbed"], experts=EXPERTS)
CONFIGS["llama, experts after a dense layer"] = replace(
    CONFIGS["llama"], experts=replace(EXPERTS, dense_layers=1, gate="softmax", balance="loss", groups=2)
)
CONFIGS["gpt2, experts"] = replace(CONFIGS["gpt2"], experts=EXPERTS)
CONFIGS["llama, latent attention"] = replace(CONFIGS["llama"], latent=replace(LATENT, query_rank=14))
CONFIGS["seedbed, latent attention and experts"] = replace(
    CONFIGS["seedbed"], qk_norm=False, value_embeddings=False, latent=LATENT, experts=EXPERTS
)
CONFIGS["llama, wide heads"] = replace(CONFIGS["llama"], head_channels=12)
CONFIGS["windows"] = replace(CONFIGS["llama"], layers=3, windows=(3, 5, 0), qkv_bias=True)
CONFIGS["seedbed with windows"] = replace(CONFIGS["seedbed"], layers=4, windows=(4, 4, 4, 0), logit_softcap=15.0)
CONFIGS["latent with windows"] = replace(CONFIGS["llama, latent attention"], windows=(4, 0))
CONFIGS["yarn"] = replace(CONFIGS["qwen3"], rope_scaling=RopeScaling("yarn", 4.0, 12))
CONFIGS["encoder with windows"] = replace(CONFIGS["bert"], windows=(4, 0))
CONFIGS["seedbed, one key head"] = replace(CONFIGS["seedbed"], kv_heads=1, layers=3, ngram_rows=8)

CAUSAL = [name for name, config in CONFIGS.items() if config.causal]

every_causal_config = pytest.mark.parametrize("name", CAUSAL)
every_config = pytest.mark.parametrize("name", CONFIGS)


def random_model(config: TransformerConfig) -> Transformer:
    """A model in which every parameter matters: fresh ones have zeros where they start gently."""
    model = build_model(config, seed=3)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def random_tokens(rows: int, length: int) -> Tensor:
    return torch.randint(0, BASE.vocab_size, (rows, length), generator=torch.Generator().manual_seed(5))


@every_config
def test_the_count_of_parameters_is_that_of_the_modules(name: str) -> None:
    config = CONFIGS[name]
    with torch.device("meta"):
        model = Transformer(config)
        model.tie_head()
    counted = count_parameters(config)
    assert counted.total == sum(p.numel() for p in model.parameters())
    matrices = {n: p.numel() for n, p in model.layers.named_parameters() if p.ndim >= 2 and "value_gate" not in n}
    assert counted.layers + counted.resting == sum(matrices.values())
    routed = sum(numel for n, numel in matrices.items() if ".experts." in n)
    assert counted.resting == routed * 4 // 6  # a token uses two of six
    head = [m.weight for m in (model.head, *model.head_transform.modules()) if isinstance(m, torch.nn.Linear)]
    assert counted.head == sum(weight.numel() for weight in head)


def test_training_flops_are_those_of_the_palm_paper() -> None:
    # 6 N + 12 L H Q T (PaLM, appendix B) for layers of 4 x 64 x 64 + 2 x 64 x 256 weights and a head of 128 x 64
    config = TransformerConfig(vocab_size=128, layers=2, width=64, heads=2, kv_heads=2, mlp_width=256, context=32)
    matrices = 2 * (4 * 64 * 64 + 2 * 64 * 256) + 128 * 64
    assert training_flops_per_token(config) == 6 * matrices + 12 * 2 * 2 * 32 * 32


def test_training_flops_of_experts_and_latents_are_those_of_the_products_a_step_makes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seedbed.model.block_attention.MOST_KEYS", 0)  # attention in products that can be counted
    for name in ("llama", "llama, experts after a dense layer", "llama, latent attention"):
        config = replace(CONFIGS[name], vocab_size=128, context=16)
        config = replace(config, experts=config.experts and replace(config.experts, balance="bias"))
        model = build_model(config, seed=1).train()
        multiplied: list[int] = []
        counted = CountProducts(multiplied)
        with counted:
            hidden = model.hidden(torch.randn(1, 16, 32, requires_grad=True), [])
            model.head(hidden).sum().backward()
        assert sum(multiplied) == training_flops_per_token(config) * 16, name


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [0, 1, 5, 12])
def test_keys_that_are_seen_are_those_of_the_mask(causal: bool, window: int) -> None:
    config = replace(CONFIGS["llama"], causal=causal, windows=(window, window))
    reach = window or 12
    pairs = [(q, k) for q in range(12) for k in range(12) if abs(q - k) < reach and (k <= q or not causal)]
    assert keys_attended(config, 0) == pytest.approx(len(pairs) / 12)
    seen = training_flops_per_token(config, "seen") - 6 * count_parameters(config).matrices
    assert seen == pytest.approx(12 * config.heads * config.head_width * 2 * len(pairs) / 12)


def test_layers_that_run_twice_cost_a_forward_more() -> None:
    config = CONFIGS["llama"]
    head = 6 * count_parameters(config).head
    once, twice = training_flops_per_token(config), training_flops_per_token(config, recompute=True)
    assert twice - head == pytest.approx((once - head) * 4 / 3)


class CountProducts(TorchDispatchMode):
    """Collects 2 x rows x inner x columns of every matrix product, forward and backward."""

    def __init__(self, multiplied: list[int]) -> None:
        super().__init__()
        self.multiplied = multiplied

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name
        if name in ("aten::mm", "aten::bmm"):
            self.multiplied.append(2 * result.numel() * args[0].shape[-1])
        elif name == "aten::addmm":
            self.multiplied.append(2 * result.numel() * args[1].shape[-1])
        elif name == "seedbed::grouped_product":
            self.multiplied.append(2 * result.numel() * args[0].shape[-1])
        elif name == "seedbed::grouped_product_backward":
            self.multiplied.append(4 * args[0].numel() * args[1].shape[-1])
        return result


def test_training_flops_count_what_a_window_leaves_in_view() -> None:
    whole = TransformerConfig(vocab_size=128, layers=3, width=64, heads=2, kv_heads=2, mlp_width=256, context=32)
    windows = replace(whole, windows=(8, 48, 0))
    assert training_flops_per_token(whole) - training_flops_per_token(windows) == 12 * 2 * 32 * (32 - 8)
    both_ways = replace(windows, causal=False)
    assert training_flops_per_token(whole) - training_flops_per_token(both_ways) == 12 * 2 * 32 * (32 - 15)


def test_a_pattern_of_windows_ends_with_a_layer_that_sees_all() -> None:
    assert window_pattern("SSSL", 64, 8) == (64, 64, 64, 0, 64, 64, 64, 0)
    assert window_pattern("SSSL", 64, 6) == (64, 64, 64, 0, 64, 0)
    assert window_pattern("S", 64, 3) == (64, 64, 0)
    assert window_pattern("L", 64, 3) == window_pattern("S", 64, 1) == ()
    with pytest.raises(ValueError, match="2 for 3 layers"):
        replace(CONFIGS["llama"], layers=3, windows=(4, 0))


def norm64(x: Tensor, module: torch.nn.Module | None, epsilon: float, kind: str) -> Tensor:
    if kind == "layer":
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + epsilon).sqrt()
        return x * module.weight.double() + module.bias.double()
    x = x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt()
    return x if module is None else x * module.weight.double()


def linear64(x: Tensor, module: torch.nn.Linear) -> Tensor:
    y = x @ module.weight.double().T
    return y if module.bias is None else y + module.bias.double()


def rotated64(x: Tensor, position: int, base: float) -> Tensor:
    """RoPE as complex numbers: channel i and i + K/2 turn together by position x base^(-2i/K)."""
    half = x.shape[-1] // 2
    angles = torch.tensor([position * base ** (-2 * i / x.shape[-1]) for i in range(half)], dtype=torch.float64)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones(half, dtype=torch.float64), angles)
    return torch.cat((turned.real, turned.imag), dim=-1)


def reference_logits(model: Transformer, tokens: list[int]) -> Tensor:
    """GPT-2 or Llama from their papers, one token and one head at a time, in float64."""
    config = model.config
    kind, K, group = config.norm, config.head_width, config.heads // config.kv_heads
    epsilon = 1e-5  # that of GPT-2, and of Llama 2 and 3
    x = model.embedding.weight.double()[tokens]
    if config.position == "learned":
        x = x + model.position_embedding.weight.double()[: len(tokens)]
    for layer in model.layers:
        attention = layer.attention
        normed = norm64(x, layer.attention_norm, epsilon, kind)
        q, k, v = (linear64(normed, m) for m in (attention.query, attention.key, attention.value))
        attended = torch.zeros(len(tokens), config.heads * K, dtype=torch.float64)
        for head in range(config.heads):
            own, shared = slice(head * K, head * K + K), slice(head // group * K, head // group * K + K)
            for t in range(len(tokens)):
                queries, keys = q[t, own], k[: t + 1, shared]
                if config.position == "rope":
                    queries = rotated64(queries, t, config.rope_base)
                    keys = torch.stack([rotated64(key, s, config.rope_base) for s, key in enumerate(keys)])
                weights = (keys @ queries / math.sqrt(K)).exp()
                attended[t, own] = (weights / weights.sum()) @ v[: t + 1, shared]
        x = x + linear64(attended, attention.output)
        normed, feed = norm64(x, layer.feed_forward_norm, epsilon, kind), layer.feed_forward
        up = linear64(normed, feed.up)
        if config.feed_forward == "gelu":
            inner = 0.5 * up * (1 + torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
        else:
            gate = linear64(normed, feed.gate)
            inner = gate / (1 + (-gate).exp()) * up
        x = x + linear64(inner, feed.down)
    return linear64(norm64(x, model.final_norm, epsilon, kind), model.head)[:, : config.vocab_size]


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama, wide heads"])
def test_logits_equal_a_plain_float64_reference(name: str) -> None:
    model = random_model(CONFIGS[name])
    tokens = random_tokens(1, 9)
    expected = reference_logits(model, tokens[0].tolist())
    torch.testing.assert_close(model(tokens)[0].double(), expected, rtol=0, atol=2e-5)


@every_causal_config
def test_a_cache_gives_what_the_whole_text_gives(name: str) -> None:
    model, tokens = random_model(CONFIGS[name]), random_tokens(2, 12)
    whole = model(tokens)
    cache = model.make_cache(2, 12)
    pieces = [model(tokens[:, start:stop], cache) for start, stop in ((0, 5), (5, 6), (6, 7), (7, 10), (10, 12))]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=2e-5)


@every_causal_config
def test_a_token_changes_nothing_before_it(name: str) -> None:
    model, tokens = random_model(CONFIGS[name]), random_tokens(1, 12)
    before = model(tokens)
    for t in (3, 8, 11):
        changed = tokens.clone()
        changed[0, t] = (changed[0, t] + 1) % BASE.vocab_size
        after = model(changed)
        if CONFIGS[name].experts:  # how many rows an expert has decides how its product rounds
            torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=1e-5)
        else:
            assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.equal(after[:, t], before[:, t])


def hidden_of(model: Transformer, tokens: Tensor, documents: Tensor | None = None) -> Tensor:
    return model.hidden(*model.embed(tokens), documents_BT=documents)


@pytest.mark.parametrize("context", [12, 600])
@pytest.mark.parametrize("causal", [True, False])
def test_documents_in_one_row_do_not_see_each_other(context: int, causal: bool) -> None:
    """RoPE tells distances only, so a document in a row equals the document alone, whatever stands beside it."""
    model = random_model(replace(CONFIGS["llama"], context=context, causal=causal))
    tokens = random_tokens(2, context)
    cut = context // 3
    documents = (torch.arange(context) >= cut).long().repeat(2, 1)
    documents[1, -2:] = -1
    together = hidden_of(model, tokens, documents)
    torch.testing.assert_close(together[:, :cut], hidden_of(model, tokens[:, :cut]), rtol=0, atol=5e-5)
    torch.testing.assert_close(together[:1, cut:], hidden_of(model, tokens[:1, cut:]), rtol=0, atol=5e-5)
    torch.testing.assert_close(together[1:, cut:-2], hidden_of(model, tokens[1:, cut:-2]), rtol=0, atol=5e-5)
    assert together.isfinite().all()


def test_an_encoder_sees_both_ways() -> None:
    model = random_model(replace(CONFIGS["llama"], causal=False))
    tokens = random_tokens(1, 12)
    changed = tokens.clone()
    changed[0, 7] = (changed[0, 7] + 1) % BASE.vocab_size
    difference = (hidden_of(model, tokens) - hidden_of(model, changed)).abs().amax(-1)[0]
    assert (difference > 1e-4).all()


def test_grouped_heads_that_repeat_equal_full_attention() -> None:
    grouped = random_model(CONFIGS["llama"])
    full = random_model(replace(CONFIGS["llama"], kv_heads=4))
    state = grouped.state_dict()
    for name in list(state):
        if name.endswith((".key.weight", ".value.weight")):
            heads = state[name].view(2, 8, 32)
            state[name] = heads.repeat_interleave(2, dim=0).reshape(32, 32)
    full.load_state_dict(state)
    tokens = random_tokens(2, 12)
    torch.testing.assert_close(full(tokens), grouped(tokens), rtol=0, atol=1e-5)


def test_long_contexts_take_another_path_to_the_same_attention() -> None:
    config = replace(CONFIGS["seedbed"], context=600, layers=1)
    model = random_model(config)
    tokens = random_tokens(1, 600)
    cache = model.make_cache(1, 600)
    pieces = torch.cat([model(tokens[:, :520], cache), model(tokens[:, 520:], cache)], dim=1)
    torch.testing.assert_close(pieces, model(tokens), rtol=0, atol=5e-5)


@every_config
def test_losses_are_the_negative_log_likelihoods_of_the_logits(name: str) -> None:
    config = CONFIGS[name]
    model, tokens = random_model(config), random_tokens(2, 12)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    own = -model(inputs).double().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    if not config.prior_order:
        mixed, alone = model.losses(inputs, targets)
        assert mixed is alone
        torch.testing.assert_close(alone.double(), own, rtol=0, atol=1e-5)
        return
    masses = torch.rand(2, 11, config.prior_order - 1, generator=torch.Generator().manual_seed(6))
    expert = torch.full((2, 11, 1), 0.3).log()
    mixed, alone = model.losses(inputs, targets, torch.cat((expert, masses), dim=-1))
    _, hidden = model.predict(inputs)
    gate = model.prior_gate
    odds = torch.cat((hidden, masses), -1).double() @ gate.weight.double()[0] + gate.bias.double()
    share = torch.sigmoid(odds)
    torch.testing.assert_close(alone.double(), own, rtol=0, atol=1e-5)
    torch.testing.assert_close(mixed.double(), -(share * (-own).exp() + (1 - share) * 0.3).log(), rtol=0, atol=1e-5)


def test_a_tied_head_is_its_embedding_also_after_loading(tmp_path: Path) -> None:
    model = random_model(CONFIGS["gpt2"])
    (tmp_path / "tokenizer").write_text("{}")
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(folder, model, tmp_path / "tokenizer", expert=None)
    loaded = load_model(folder).transformer
    assert loaded.head.weight is loaded.embedding.weight
    assert "head.weight" not in weights_of(loaded)
    tokens = random_tokens(1, 12)
    assert torch.equal(loaded(tokens), model.eval()(tokens))


@every_config
def test_weights_survive_a_round_trip(name: str) -> None:
    model, other = random_model(CONFIGS[name]), build_model(CONFIGS[name], seed=9)
    load_weights(other, weights_of(model))
    tokens = random_tokens(1, 12)
    assert torch.equal(other.eval()(tokens), model(tokens))


@every_config
def test_the_same_seed_draws_the_same_weights(name: str) -> None:
    first, same, other = (build_model(CONFIGS[name], seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 32, 1000, 2**20 - 3, 2**20, 2**20 + 5, 2**21 + 16])
def test_skipped_weights_leave_the_generator_as_drawn_ones_do(count: int) -> None:
    drawn, skipped = Draw(3), Draw(3)
    drawn.normal(torch.empty(count), 1.0)
    skipped.normal(torch.empty(count, device="meta"), 1.0)
    assert torch.equal(drawn.generator.get_state(), skipped.generator.get_state())


def test_config_survives_json() -> None:
    for config in CONFIGS.values():
        assert TransformerConfig.from_json(config.to_json()) == config
