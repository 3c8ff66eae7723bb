"""Parameters and FLOPs of every preset as counted are those of the modules built."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from seedbed.cli.plan import app
from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.model.transformer import Transformer
from seedbed.plan.shape import planned_config
from seedbed.recipe import Recipe, load_recipe
from seedbed.recipe.layers import preset_names


@pytest.mark.parametrize("name", preset_names())
def test_counts_of_a_preset_are_those_of_its_modules(name: str, tmp_path: Path) -> None:
    config = planned_config(load_recipe(name, corpus=[tmp_path]))  # some presets wait for the user's text
    with torch.device("meta"):
        model = Transformer(config)
        model.tie_head()
    counted = count_parameters(config)
    assert counted.total == sum(p.numel() for p in model.parameters())
    # every matrix that is multiplied: linear layers, and the chosen of the stacked experts
    named = dict(model.named_parameters())
    modules = [m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and "router" not in n]
    linear = sum(m.weight.numel() for m in modules) + sum(p.numel() for n, p in named.items() if "router" in n)
    gates = sum(p.numel() for n, p in named.items() if "value_gate.weight" in n or "prior_gate.weight" in n)
    stacked = sum(p.numel() for n, p in named.items() if ".experts." in n)
    chosen = stacked * config.experts.experts_per_token // config.experts.num_experts if config.experts else 0
    keys = sum(config.window(layer) or config.context for layer in range(config.layers))
    attention = 12 * config.heads * config.head_width * keys
    assert training_flops_per_token(config) == 6 * (linear - gates + chosen) + attention


@pytest.mark.parametrize(
    "asked, expected",
    [
        (["first-light"], (1, "this")),  # its length is minutes of this machine
        (["first-light", "--gpus", "4"], (4, "h100")),
        (["gpt2-124m"], (8, "h100")),
        (["gpt2-124m", "--gpu", "this"], (1, "this")),
    ],
)
def test_minutes_are_planned_for_this_machine(
    asked: list[str], expected: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, str]] = []

    def make_plan(recipe: Recipe, devices: int, gpu: str, *rest: object) -> dict[str, object]:
        heard.append((devices, gpu))
        return {}

    monkeypatch.setattr("seedbed.plan.report.make_plan", make_plan)
    monkeypatch.setattr("seedbed.plan.report.plan_lines", lambda found: [])
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert heard == [expected]
