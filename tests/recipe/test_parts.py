"""Experts and latent attention in a recipe: what is derived, and what is refused with one line."""

import pytest

from seedbed.errors import InputError
from seedbed.model.arithmetic import count_parameters
from seedbed.model.config import ExpertsConfig, LatentConfig
from seedbed.recipe import load_recipe
from seedbed.recipe.shape import parse_count
from seedbed.train.measure import model_config

MOE = ["model.num_experts=8"]
MLA = ["model.attention=mla"]


def test_moe_small_is_eight_experts_two_a_token_and_one_shared() -> None:
    recipe = load_recipe("moe-small")
    experts = model_config(recipe, 32_768).experts
    assert experts is not None
    assert (experts.num_experts, experts.experts_per_token, experts.shared_experts) == (8, 2, 1)
    assert (experts.balance, experts.bias_rate) == ("bias", 0.001)


@pytest.mark.parametrize("size", ["1M", "120M", "1B"])
@pytest.mark.parametrize("architecture", ["seedbed", "llama"])
def test_the_size_is_that_of_what_a_token_uses(size: str, architecture: str) -> None:
    wanted = [f"model.architecture={architecture}"]
    dense = count_parameters(model_config(load_recipe("moe-small", [*wanted, "model.num_experts=0", "model.shared_experts=0",
                                                       "model.experts_per_token=none"], size=size), 4096))  # fmt: skip
    sparse = count_parameters(model_config(load_recipe("moe-small", wanted, size=size), 4096))
    assert sparse.layers == pytest.approx(dense.layers, rel=0.1)
    assert sparse.layers == pytest.approx(parse_count(size), rel=0.25)
    assert sparse.layers + sparse.resting > 1.8 * sparse.layers


def test_a_long_run_moves_the_bias_in_smaller_steps() -> None:
    rates = [load_recipe("moe-small", [f"train.steps={n}"]).model.balance_rate for n in (9_999, 10_000)]
    assert rates == [0.01, 0.001]
    assert load_recipe("moe-small", minutes=4.0).model.balance_rate == 0.01


def test_every_field_reaches_the_model() -> None:
    settings = [*MOE, "model.experts_per_token=3", "model.shared_experts=2", "model.expert_width=40", "model.dense_layers=1",
                "model.expert_gate=softmax", "model.normalise_gates=false", "model.routed_scale=2.5", "model.expert_groups=4",
                "model.groups_per_token=2", "model.balance=loss", "model.balance_rate=0.02", "model.balance_loss=0.03",
                "model.router_z_loss=0.001"]  # fmt: skip
    assert model_config(load_recipe(settings=settings), 512).experts == ExpertsConfig(
        8, 3, 40, 2, 1, "softmax", False, 2.5, 4, 2, "loss", 0.02, 0.03, 0.001
    )
    settings = [*MLA, "model.kv_rank=48", "model.query_rank=24", "model.plain_width=20", "model.rope_width=6",
                "model.value_width=10"]  # fmt: skip
    config = model_config(load_recipe(settings=settings), 512)
    assert config.latent == LatentConfig(kv_rank=48, plain_width=20, rope_width=6, value_width=10, query_rank=24)
    assert not config.value_embeddings and not config.qk_norm
    unbalanced = model_config(load_recipe(settings=[*MOE, "model.balance=off"]), 512).experts
    assert unbalanced is not None and unbalanced.balance == "off"


def test_latent_attention_takes_deepseeks_proportions() -> None:
    config = model_config(load_recipe(settings=[*MLA, "model.width=7168", "model.heads=56", "model.layers=2"]), 512)
    assert config.latent == LatentConfig(kv_rank=512, plain_width=128, rope_width=64, value_width=128)


def test_a_resolved_recipe_resolves_to_itself() -> None:
    for settings in ([], MOE, MLA):
        recipe = load_recipe(settings=settings)
        again = [f"model.{name}={value}" for name, value in recipe.model if value is not None]
        assert load_recipe(settings=again).model == recipe.model


REFUSED = {
    "model.experts_per_token": [["model.experts_per_token=2"], [*MOE, "model.experts_per_token=9"],
                                [*MOE, "model.expert_groups=8", "model.experts_per_token=2"]],
    "model.shared_experts": [["model.shared_experts=1"]],
    "model.balance": [["model.balance=loss"], [*MOE, "model.balance=luck"]],
    "model.num_experts": [["model.num_experts=1"], ["model.num_experts=-1"]],
    "model.expert_groups": [[*MOE, "model.expert_groups=3"]],
    "model.groups_per_token": [[*MOE, "model.groups_per_token=2"]],
    "model.dense_layers": [[*MOE, "model.layers=3", "model.dense_layers=3"]],
    "model.kv_rank": [["model.kv_rank=64"], [*MLA, "model.kv_rank=0"]],
    "model.attention": [[*MLA, "model.architecture=gpt2"], ["model.attention=linear"]],
    "model.kv_heads": [[*MLA, "model.heads=4", "model.kv_heads=2"]],
    "model.rope_width": [[*MLA, "model.rope_width=7"]],
}  # fmt: skip


@pytest.mark.parametrize(("field", "settings"), [(field, case) for field, cases in REFUSED.items() for case in cases])
def test_bad_combinations_are_one_line_that_names_the_field(field: str, settings: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        load_recipe(settings=settings)
    message = str(refused.value)
    assert f"{field}: " in message and "\n" not in message
