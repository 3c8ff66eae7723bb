"""The planner's search: more of anything is never worse, units are what they say, wrong input is one line with the remedy."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.laws import PUBLISHED
from seedbed.plan import units
from seedbed.plan.frontier import best_plan, make_cells, pareto, pareto_rows, spend
from seedbed.plan.losses import LossModel, leverage
from seedbed.plan.query import answer
from seedbed.plan.question import Question, interpret
from seedbed.plan.roofline import training_rate
from seedbed.plan.tables import load_tables

BASE = Question(budget="100000", deadline="14d")


@cache
def searched(experts: tuple[int, ...] = ()) -> Any:
    asked = interpret(replace(BASE, experts=experts))
    return asked.setting, make_cells(asked.setting)


def least(caps: dict[str, float]) -> float:
    setting, cells = searched()
    best = best_plan(setting, caps, None, cells)
    return float("inf") if best is None else setting.losses.loss(best.cells.active[0], best.tokens)


CAPS = st.fixed_dictionaries(
    {"days": st.floats(0.1, 300)},
    optional={
        "usd": st.floats(10, 1e8),
        "kwh": st.floats(1, 1e8),
        "kg": st.floats(1, 1e7),
        "litres": st.floats(10, 1e8),
    },
)


@settings(max_examples=25, deadline=None)
@given(CAPS, st.floats(1.0, 10.0), st.data())
def test_more_of_a_cap_is_never_worse(caps: dict[str, float], factor: float, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(caps)))
    assert least({**caps, name: caps[name] * factor}) <= least(caps) + 1e-9


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.floats(2.0, 20_000.0), st.floats(1.0, 3.0))
def test_more_carbon_is_never_worse_whatever_the_month(month: int, kg: float, more: float) -> None:
    """A run's months differ in carbon, yet it never emits less for lasting longer: bisection under the cap holds."""
    asked = interpret(Question(carbon=f"{kg!r}kg", region=("USA", "CHL", "FRA"), start_month=month))
    cells = make_cells(asked.setting)

    def reached(cap: float) -> float:
        best = best_plan(asked.setting, {**asked.caps, "kg": cap}, None, cells)
        if best is None:
            return float("inf")
        assert float(spend(best.cells, np.array([best.tokens]), asked.setting).kg[0]) <= cap * (1 + 1e-9)
        return float(asked.setting.losses.loss(best.cells.active[0], best.tokens))

    assert reached(kg * more) <= reached(kg) + 1e-9


@pytest.mark.parametrize(
    ("cap", "low", "high"),
    [("days", 0.05, 30.0), ("kwh", 50.0, 1e6), ("kg", 20.0, 1e6), ("litres", 200.0, 1e7), ("usd", 300.0, 1e7)],
)
def test_each_cap_alone_is_used_and_more_of_it_is_strictly_better(cap: str, low: float, high: float) -> None:
    caps = [{"days": 30.0, "usd": 1e7} | {cap: float(value)} for value in np.geomspace(low, high, 5)]
    losses = [least(each) for each in caps]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]


@settings(max_examples=15, deadline=None)
@given(CAPS)
def test_the_best_plan_is_within_its_caps_and_the_binding_one_is_used_up(caps: dict[str, float]) -> None:
    setting, cells = searched()
    best = best_plan(setting, caps, None, cells)
    if best is None:
        return
    spent = spend(best.cells, np.array([best.tokens]), setting)
    for name, cap in caps.items():
        assert getattr(spent, name)[0] <= cap * (1 + 1e-9)
    assert all(gain >= -1e-9 for gain in best.gains.values())


@settings(max_examples=10, deadline=None)
@given(st.floats(1.9, 3.0), st.floats(1.0, 3.0))
def test_a_lower_loss_is_never_cheaper(loss: float, more: float) -> None:
    setting, cells = searched()
    found = [best_plan(setting, {"days": 1000.0}, target, cells) for target in (loss, loss * more)]
    prices = [float(spend(b.cells, np.array([b.tokens]), setting).usd[0]) if b else np.inf for b in found]
    assert prices[1] <= prices[0] * (1 + 1e-9)


SAME = [
    ({"budget": "100000"}, {"budget": "100k"}),
    ({"budget": "100000"}, {"budget": "$0.1M"}),
    ({"deadline": "14d"}, {"deadline": "2w"}),
    ({"deadline": "14d"}, {"deadline": "336h"}),
    ({"energy": "20MWh"}, {"energy": "20_000 kWh"}),
    ({"energy": "20MWh"}, {"energy": "72GJ"}),
    ({"carbon": "5t"}, {"carbon": "5000kg"}),
    ({"water": "50m3"}, {"water": "50,000L"}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_units_of_one_quantity_ask_the_same(one: dict[str, str], other: dict[str, str]) -> None:
    first, second = (interpret(replace(BASE, **each)).caps for each in (one, other))
    assert first == pytest.approx(second)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e3, 1e8), st.sampled_from([("k", 1e3), ("M", 1e6), ("", 1.0)]))
def test_dollars_do_not_depend_on_their_unit(usd: float, unit: tuple[str, float]) -> None:
    assert units.dollars("--budget-usd", f"{usd / unit[1]!r}{unit[0]}") == pytest.approx(usd)


@given(st.text(max_size=20))
def test_any_text_is_a_quantity_or_one_line(text: str) -> None:
    for read in (units.dollars, units.days, units.kwh, units.kilograms, units.litres, units.count, units.tokens_day):
        try:
            assert read("--x", text) > 0
        except InputError as error:
            assert "\n" not in str(error) and str(error).startswith("--x")


WRONG = [
    ({"deadline": "14"}, "--deadline: '14' has no unit: give one of min, h, d"),
    ({"deadline": "14kWh"}, "--deadline: '14kWh' has the unit 'kWh'"),
    ({"budget": "-5"}, "--budget-usd: '-5' is not a quantity above 0"),
    ({"budget": "nan"}, "--budget-usd: 'nan' is not a quantity above 0"),
    ({"carbon": "3MWh"}, "--carbon: '3MWh' has the unit 'MWh': give one of g, kg, t"),
    ({"traffic": "2e9"}, "--traffic: '2e9': give tokens over time, such as 2e9/day"),
    ({"chip": ("h10",)}, "--chip: 'h10' is not in the table: did you mean h100"),
    ({"chip": ("tpu-v7",)}, "--chip tpu-v7: no published rent_usd_hour: give it in a file for --tables"),
    ({"chip": ("tpu-v5p",), "energy": "5MWh"}, "--chip tpu-v5p: no published watts"),
    ({"region": ("Frence",)}, "--region: 'Frence' is not in the table: did you mean France"),
    ({"target_loss": "1.5"}, "--target-loss 1.5: law besiroglu never goes below 1.817"),
    ({"target_loss": "2.0", "budget": "100"}, "--budget-usd: $100 is too little: that loss needs $"),
    ({"budget": "0.000001"}, "--budget-usd: $1e-06 is too little: the smallest plan needs"),
    ({"law": "chinchila"}, "--law: 'chinchila' is neither a file nor published: did you mean chinchilla"),
    ({"law": "no/such.json"}, "no/such.json: "),
    ({"law": "muennighoff"}, "--unique-tokens: this law knows repetition"),
    ({"pue": 0.5}, "--pue: 0.5 is not between 1 and 3"),
    ({"multiplier": 0.0}, "--multiplier: 0 is not between 1 and 100"),
    ({"start_month": 13}, "--start-month: 13 is not between 1 and 12"),
    ({"lifetime": "1M"}, "--lifetime-usd: serving is part of it: give --traffic"),
    ({"own": True, "rent": 2.0}, "--rent: devices are owned"),
    ({"experts": (1,)}, "--experts: 1 is not between 2 and 256"),
    ({"budget": None}, "give at least one of --budget-usd"),
    ({"budget": "100000EUR"}, "has the unit 'EUR': give one of none, k, K, M"),
    ({"budget": "1e30"}, "--budget-usd: '1e30' is more than 1e+18"),
    ({"traffic": "1e30/day"}, "--traffic: '1e30' is more than 1e+18"),
    ({"traffic": "0/day"}, "--traffic: '0' is not a quantity above 0"),
    ({"deadline": "-3d"}, "--deadline: '-3d' is not a quantity above 0"),
    ({"deadline": "2025-01-01"}, "--deadline: '2025-01-01' has the unit '-01-01': give one of min, h, d"),
    ({"deadline": "14days"}, "has the unit 'days': give one of min, h, d, w, mo, y"),
    ({"chip": ("",)}, "--chip: no name is given: give one such as h100"),
    ({"chip": (",",)}, "--chip: no name is given"),
    ({"region": ("",)}, "--region: no name is given: give one such as USA"),
    ({"region": ("any,FRA",)}, "--region: any is all of the table: give it alone"),
    ({"price": 30_000.0}, "--price-usd: rented devices have neither price nor age: add --own"),
    ({"age_years": 3.0}, "--age-years: rented devices have neither price nor age: add --own"),
    ({"growth": 0.5}, "--growth: it says how a model is served: add --traffic"),
    ({"months": 24.0}, "--months: it says how a model is served: add --traffic"),
    ({"token_ms": 20.0}, "--token-ms: it says how a model is served: add --traffic"),
    ({"unique_tokens": "5B"}, "--unique-tokens: law besiroglu knows no repetition: leave it out"),
    ({"data_usd": 6.0, "curation_mb_s": 4.3}, "--data-usd, --curation-mb-s: the price of data is given or follows"),
    ({"devices": 0}, "--chips: 0 is not between 1 and 1e+06"),
    ({"mfu": float("nan")}, "--mfu: nan is not between 0.001 and 1"),
    ({"carbon": "0t"}, "--carbon: '0t' is not a quantity above 0"),
    ({"water": "3gal"}, "--water: '3gal' has the unit 'gal': give one of mL, L, kL, ML, m3"),
    ({"target_loss": "1.82"}, "--target-loss 1.82: no model of up to 3e+12 parameters reaches it by this law"),
    ({"tables": Path("nowhere.toml")}, "--tables: nowhere.toml: No such file or directory: give a TOML file"),
    ({"lifetime": "10", "traffic": "1e9/day"}, "--lifetime-usd: $10 is too little: the smallest plan needs $"),
]


@pytest.mark.parametrize(("given", "said"), WRONG)
def test_wrong_input_is_one_line_with_the_remedy(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        answer(replace(BASE, **given))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_the_figure_of_carbon_is_the_one_that_was_capped_in_any_month() -> None:
    for month, region in ((4, "USA"), (8, "USA"), (11, "CHL")):
        found = answer(Question(carbon="5t", region=(region,), start_month=month))
        kg = found["best"]["kg"]
        assert kg["location"]["value"] + kg["embodied"]["value"] == pytest.approx(5000, rel=1e-6)
        assert f"from month {month}" in kg["location"]["method"]
    assert any(
        "changes nothing in FRA" in each
        for each in interpret(replace(BASE, region=("FRA",), start_month=1)).assumptions
    )


def test_no_default_is_silent() -> None:
    said = " ".join(interpret(Question(budget="1M")).assumptions)
    for option in ("--chip", "--region", "--deadline", "--law", "--multiplier", "--pue", "--data-usd"):
        assert f"assumed: {option}" in said


def test_the_pareto_set_has_no_plan_that_another_beats() -> None:
    points = np.random.default_rng(0).integers(0, 12, (3000, 3))
    rows = set(pareto_rows(points).tolist())
    for row, point in enumerate(points[:400]):
        others = (points <= point).all(-1) & (points < point).any(-1)
        assert not (row in rows and others.any())
        if not others.any():
            assert any((points[kept] == point).all() for kept in rows)
    setting, cells = searched()
    chosen, _, spent, losses = pareto(setting, {"usd": 1e5, "days": 14.0}, ("usd", "days"), cells)
    assert len(chosen) > 10 and spent.usd.max() <= 1e5 * (1 + 1e-9)
    order = np.lexsort((spent.usd, losses))
    assert losses[order[0]] == losses.min()


def test_what_is_predicted_for_405b_is_near_what_was_measured() -> None:
    """Whole-run 34.5% of the peak for Llama 3.1 405B on 16,384 H100s, 28 to 43% for other dense models (anchors of validate)."""
    tables = load_tables()
    mfu, goodput = tables.prices["utilisation"]["mfu"][1], tables.prices["programme"]["goodput"][1]
    chip = searched()[0].chips[0]
    for size, devices, measured in ((405.9e9, 16_384, 0.345), (70.6e9, 2048, 0.36)):
        rate = training_rate(np.array([[size]]), np.array([[size]]), np.array([[devices]]), chip, mfu, goodput, tables)
        assert float((rate.mfu * rate.goodput)[0, 0]) == pytest.approx(measured, rel=0.15)


def test_a_mixture_is_worth_more_than_its_active_parameters_and_no_more_than_reported() -> None:
    sizes, tokens = np.array([1e8, 1e9, 1e10]), np.array([1e10, 1e11, 1e12])
    few, many = leverage(sizes, tokens, 8), leverage(sizes, tokens, 32)
    assert (few > 1).all() and (many > few).all() and (many <= 7).all()
    model = LossModel(PUBLISHED["besiroglu"])
    assert model.loss(1e9, 1e11, 8) < model.loss(1e9, 1e11)
    assert model.loss(2e9, model.tokens_for(np.array(2e9), 2.3)) == pytest.approx(2.3, abs=1e-4)


def test_any_region_offers_little_carbon_and_little_water_and_the_trade_between() -> None:
    found = answer(replace(BASE, region=("any",)), full=True)
    rows = found["pareto"]
    best = [row for row in rows if row["loss"] <= min(r["loss"] for r in rows) * 1.02]
    assert len({row["region"] for row in rows}) > 3
    cleanest, driest = min(best, key=lambda r: r["kg"] / r["usd"]), min(best, key=lambda r: r["litres"] / r["usd"])
    assert (
        cleanest["region"] != driest["region"]
        and cleanest["litres"] / cleanest["usd"] > driest["litres"] / driest["usd"]
    )


def test_the_command_answers_and_says_what_binds() -> None:
    command = [
        sys.executable,
        "-m",
        "seedbed",
        "plan",
        "query",
        "--budget-usd",
        "100000",
        "--chip",
        "h100",
        "--deadline",
        "14d",
    ]
    done = subprocess.run([*command, "--traffic", "2e9/day", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    best = found["best"]
    assert found["binding"] == "usd" and best["usd"]["value"] == pytest.approx(1e5, rel=1e-6)
    for figure in (best["loss"], best["usd"], best["days"], best["kwh"]["facility"], best["kg"]["location"]):
        assert figure["low"] < figure["value"] < figure["high"] and figure["boundary"] and figure["unit"]
    assert best["kwh"]["chip"]["value"] < best["kwh"]["server"]["value"] < best["kwh"]["facility"]["value"]
    assert best["serving"]["usd_million"] > 0 and found["life"]["crossover"]["usd"]
    wrong = subprocess.run([*command, "--carbon", "9"], capture_output=True, text=True)
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "no unit" in wrong.stderr
