"""Each parameter of each architecture is moved by exactly one optimizer, and by the one that suits it."""

from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from seedbed.model.config import ARCHITECTURES, ExpertsConfig, LatentConfig, TransformerConfig
from seedbed.model.transformer import Transformer
from seedbed.recipe.schema import TrainConfig
from seedbed.train.optimizers import Optimizer
from seedbed.train.optimizers.group import LearningRates, derive_learning_rates, split_parameters
from seedbed.train.parallel.stage import keep_stage
from seedbed.train.parallel.tables import make_dense

BASE = TransformerConfig(96, 2, 32, 2, 2, 64, 16)
MODELS = {name: build(BASE) for name, build in ARCHITECTURES.items()}
MODELS["experts and latent attention"] = replace(
    MODELS["llama"],
    experts=ExpertsConfig(4, 2, 32, shared_experts=1, dense_layers=1),
    latent=LatentConfig(16, 8, 8, 16, query_rank=16),
)
MODELS["seedbed with every table"] = replace(MODELS["seedbed"], ngram_rows=64, prior_order=3)


@pytest.mark.parametrize("name", MODELS)
def test_each_parameter_is_in_one_group(name: str) -> None:
    with torch.device("meta"):
        model = Transformer(MODELS[name])
    model.tie_head()
    groups = split_parameters(model, model.config.tied_head)
    members = [parameter for group in fields(groups) for parameter in getattr(groups, group.name)]
    assert sorted(members) == sorted(name for name, _ in model.named_parameters())
    for parameter, value in groups.matrices.items():
        assert parameter.startswith("layers.") and value.ndim in (2, 3) and "value_gate" not in parameter, parameter
    for parameter, value in groups.scalars.items():
        assert value.ndim < 2 or "gate" in parameter or parameter.endswith("bias"), parameter
    assert all("embedding" in parameter and value.ndim == 2 for parameter, value in groups.tables.items())
    assert ("head.weight" in groups.head) != model.config.tied_head
    assert ("embedding.weight" in groups.head) == model.config.tied_head


@pytest.mark.parametrize("layers", [range(1), range(1, 2)])
@pytest.mark.parametrize("name", MODELS)
def test_a_stage_of_a_pipeline_puts_each_parameter_where_the_whole_model_does(name: str, layers: range) -> None:
    config = replace(MODELS[name], layers=2)
    with torch.device("meta"):
        model, part = Transformer(config), Transformer(config)
    make_dense(part)
    keep_stage(part, layers)
    whole, here = (split_parameters(m, config.tied_head) for m in (model, part))
    for group in fields(here):
        # a tied head has the embedding's name where both are
        extra = {"head.weight"} if config.tied_head else set()
        assert set(getattr(here, group.name)) - extra <= set(getattr(whole, group.name)), group.name


def test_routers_expert_stacks_segments_and_biases_find_their_group() -> None:
    model = nn.Module()
    layer = nn.Module()
    layer.router = nn.Linear(8, 4)
    layer.experts_up = nn.Parameter(torch.zeros(4, 16, 8))
    layer.norm = nn.LayerNorm(8)
    model.layers = nn.ModuleList([layer])
    model.segment_embedding = nn.Embedding(2, 8)
    model.embedding = nn.Embedding(64, 8)
    model.mlm_dense = nn.Linear(8, 8)
    groups = split_parameters(model, tied_head=False)
    assert list(groups.tables) == ["embedding.weight"]
    assert sorted(groups.matrices) == ["layers.0.experts_up", "layers.0.router.weight"]
    assert sorted(groups.head) == ["mlm_dense.weight", "segment_embedding.weight"]
    assert sorted(groups.scalars) == [
        "layers.0.norm.bias", "layers.0.norm.weight", "layers.0.router.bias", "mlm_dense.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_step_moves_every_parameter(optimizer: str) -> None:
    model = Transformer(MODELS["seedbed with every table"])
    model.init_weights(1)
    tokens = torch.randint(0, 96, (4, 16), generator=torch.Generator().manual_seed(1))
    prior = torch.full((4, 16, 3), -1.0)
    train = TrainConfig(steps=10, optimizer=optimizer)  # type: ignore[arg-type]
    chosen = Optimizer(model, train, 10)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    for step in range(2):  # zero-initialised projections hold back the gradients of what is before them for a step
        mixed, own = model.losses(tokens, tokens.roll(-1, 1), prior)
        (mixed + own).sum().backward()
        chosen.step(step)
        model.zero_grad()
    assert [name for name, value in model.named_parameters() if torch.equal(value, before[name])] == []


def test_learning_rates_follow_the_width_by_their_rules_and_yield_to_the_recipe() -> None:
    def rates(width: int, optimizer: str, architecture: str = "seedbed", **fields: float) -> LearningRates:
        config = ARCHITECTURES[architecture](replace(BASE, width=width))
        return derive_learning_rates(config, TrainConfig(steps=1, optimizer=optimizer, **fields))  # type: ignore[arg-type]

    assert rates(768, "muon") == LearningRates(matrix=0.02, table=0.3, head=0.008, scalar=0.01)
    narrow, wide = rates(192, "muon"), rates(768, "muon")
    assert (narrow.matrix, narrow.table, narrow.head) == (wide.matrix, 2 * wide.table, 2 * wide.head)
    assert rates(128, "adamw").matrix == 0.006 and rates(256, "adamw").matrix == 0.003
    assert rates(128, "adamw", "llama").matrix == 0.003
    assert rates(128, "muon", "llama").table == pytest.approx(rates(128, "muon").table / 40)
    chosen = rates(256, "muon", matrix_lr=0.5, embedding_lr=0.25, head_lr=0.125)
    assert chosen == LearningRates(0.5, 0.25, 0.125, 0.01)
