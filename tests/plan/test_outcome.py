"""The plan of a recipe says what its run costs, emits and reaches, on devices of the table and on this machine."""

from typing import Any

import pytest

from seedbed.errors import InputError
from seedbed.plan.question import Question
from seedbed.plan.report import make_plan, plan_lines
from seedbed.recipe import load_recipe

SMALL = [
    "model.layers=2", "model.width=32", "model.context=16", "model.ngram_rows=0", "model.prior_order=0",
    "tokenizer.vocab_size=300", "train.batch_tokens=64", "train.steps=50", "train.precision=float32", "train.compile=off",
    "train.threads=1",
]  # fmt: skip


def ordered(figure: dict[str, Any]) -> bool:
    return figure["low"] <= figure["value"] <= figure["high"] and bool(figure["boundary"]) and bool(figure["unit"])


def test_a_recipe_on_rented_devices_has_every_figure_with_its_interval() -> None:
    found = make_plan(load_recipe("llama-8b"), 64, "h100", "fsdp=64", Question(region=("FRA",)))
    for figure in (
        found["seconds"],
        found["usd"],
        found["kwh"]["facility"],
        found["kg"]["location"],
        found["litres"]["total"],
    ):
        assert ordered(figure)
    assert ordered(found["loss"]) and found["loss"]["warnings"]
    hours = 64 * found["seconds"]["value"] / 3600
    assert found["usd"]["value"] == pytest.approx(hours * 2.99, rel=0.01)
    assert found["kwh"]["facility"]["value"] == pytest.approx(hours * 0.7 * 0.75 * 1.821 * 1.2)
    assert found["kg"]["location"]["value"] == pytest.approx(found["kwh"]["facility"]["value"] * 0.0442)


def test_a_recipe_on_this_machine_is_measured() -> None:
    found = make_plan(load_recipe(settings=SMALL), 1, "this", "auto")
    assert 0 < found["step_seconds_measured"] < 10 and 5e7 < found["probe"]["peak_bytes"] < 5e9
    assert found["seconds"]["value"] >= 50 * found["step_seconds_measured"] * 0.999
    assert found["kwh"]["facility"]["value"] > 0 and ordered(found["usd"])
    lines = "\n".join(plan_lines(found))
    assert "measured on 2 layers" in lines and "loss          unknown" in lines


def test_no_law_of_next_tokens_is_read_for_another_objective() -> None:
    found = make_plan(load_recipe("bert-small"), 1, "h100", "auto")
    assert found["loss"] is None and found["seconds"]["value"] > 0
    assert any("loss          unknown: published laws are of next-token losses" in line for line in plan_lines(found))


def test_a_device_without_a_price_plans_all_but_money() -> None:
    found = make_plan(load_recipe("llama-8b"), 64, "tpu-v7", "fsdp=64")
    assert "usd" not in found and found["kwh"]["facility"]["value"] > 0
    assert any("money         unknown: no published rent" in line for line in plan_lines(found))


@pytest.mark.parametrize(
    ("devices", "gpu", "question", "said"),
    [
        (64, "h100", Question(rent=-1.0), "--rent: -1 is not between 0.001 and 10000"),
        (64, "h100", Question(pue=9.0), "--pue: 9 is not between 1 and 3"),
        (64, "h100", Question(region=("",)), "--region: no name is given"),
        (64, "h100", Question(start_month=13), "--start-month: 13 is not between 1 and 12"),
        (1, "this", Question(region=("FRA",)), "--gpu this: --region is of rented or bought devices"),
        (64, "this", Question(), "--gpu this: --gpus is of rented or bought devices"),
        (1, "this", Question(), "model.size: a step needs about"),  # 8B parameters fit no machine that runs tests
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(devices: int, gpu: str, question: Question, said: str) -> None:
    with pytest.raises(InputError) as error:
        make_plan(load_recipe("llama-8b"), devices, gpu, "auto", question)
    assert said in str(error.value) and "\n" not in str(error.value)
