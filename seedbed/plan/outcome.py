"""What a planned run costs and leaves behind: time, money, energy, carbon, water and loss of one recipe, with intervals.

Of this run alone: no experiments, failures, data or people. On rented or owned devices of the table, or on this machine, whose
electricity and grid are the recipe's `cost` section.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from seedbed.laws import PUBLISHED, Law
from seedbed.plan.calibration import Calibration
from seedbed.plan.chips import Chip
from seedbed.plan.describe import footprint_figures, programme_factors, rent_range, run_factors
from seedbed.plan.estimate import Estimate, estimate
from seedbed.plan.footprint import footprint
from seedbed.plan.money import goodput_of, programme_costs
from seedbed.plan.question import Question, buildings_of, law_of, terms_of
from seedbed.plan.tables import load_tables
from seedbed.recipe.schema import Recipe
from seedbed.run.cost import price

LEAST_EXTRAPOLATION = 100  # times less compute than the least fitted, below which the usual law says nothing
MEASURED = (0.75, 1.25)  # what a measured step is held to (bench/plan_accuracy.py)


def devices_outcome(
    chip: Chip, devices: int, step_seconds: float, steps: int, tokens: float, parameters: float, question: Question
) -> dict[str, Any]:
    """On devices of the table, in the building and on the terms of the question."""
    tables, said = load_tables(question.tables), list[str]()
    priced = question.own or question.rent is not None or chip.rent_usd_hour is not None
    once = replace(question, multiplier=1.0, data_usd=0.0, rent=question.rent if priced else 1.0)
    building = buildings_of(once, tables, said)[0]
    terms = terms_of(once, chip, tables, said)
    seconds = steps * step_seconds / goodput_of(devices, terms.goodput, tables)
    hours = devices * seconds / 3600
    costs = programme_costs(chip, terms, hours, seconds / 86_400, tokens, parameters, tables)
    usd = float(np.asarray(costs.total))
    made = footprint(chip, hours, building, tables, seconds / 3600)
    paid = programme_factors(terms, tables, rent_range(terms.rent_usd_hour, chip))
    money = {"usd": estimate(usd, paid, "USD", "run", "devices and storage").as_dict()} if priced else {}
    return {
        "seconds": estimate(seconds, run_factors(tables), "s", "run", "steps x step time / goodput").as_dict(),
        **money,
        **footprint_figures(made, chip, terms, building, tables),
        "region": building.grid.name,
        "assumptions": [
            each for each in said if not each.startswith(("programme", "data")) and (priced or "rented" not in each)
        ],
    }


def machine_outcome(
    step_seconds: float, steps: int, flops: float, watts: float, calibration: Calibration | None, recipe: Recipe
) -> dict[str, Any]:
    """On this machine: its watts by records of runs or by rule, money and grid by the recipe's `cost` section."""
    goodput = calibration.goodput if calibration and calibration.goodput else 1.0
    seconds = steps * step_seconds
    whole = seconds / goodput
    cost = price(watts * whole, whole, flops, "estimated", "watts x time", recipe.cost)
    known = calibration is not None and calibration.watts is not None
    basis = "of earlier runs here" if known else "by rule; no run here has said better"
    note = f"goodput {goodput:.0%}, {watts:.3g} W {basis}"
    facility = Estimate(
        cost.kwh.value, cost.kwh.value * MEASURED[0], cost.kwh.value * MEASURED[1], "kWh", "machine and PUE", note
    )
    figures = {
        "seconds": estimate(whole, MEASURED, "s", "run", note).as_dict(),
        "usd": estimate(cost.dollars.value, MEASURED, "USD", "run", cost.dollars.method).as_dict(),
        "kwh": {"facility": facility.as_dict()},
        "kg": {
            "location": estimate(cost.kg_co2.value, MEASURED, "kg CO2e", "operational", cost.kg_co2.method).as_dict()
        },
        "litres": {
            "grid": estimate(cost.litres_water.value, MEASURED, "L", "power plants", cost.litres_water.method).as_dict()
        },
    }
    return {**figures, "region": "recipe's cost section", "assumptions": []}


def loss_outcome(parameters: float, tokens: float, name: str | None) -> dict[str, Any] | None:
    """By a law; None where none was given and the compute is far below what the usual one was fitted on."""
    law, shown = law_of(name)
    if name is None and law.fitted and 6 * parameters * tokens < law.fitted.flops[0] / LEAST_EXTRAPOLATION:
        return None
    predicted = predict(law, parameters, tokens)
    unit = "nats a token" if shown in PUBLISHED else "the law's own unit"
    figure = Estimate(predicted.loss, predicted.low, predicted.high, unit, "law", f"law {shown}: {law.source}")
    return {**figure.as_dict(), "warnings": list(predicted.warnings)}


def predict(law: Law, parameters: float, tokens: float) -> Any:
    """A law that asks for more columns is given text enough and a dense model."""
    extra: dict[str, float] = {}
    if "unique_tokens" in law.form.columns:
        extra["unique_tokens"] = tokens
    if "experts" in law.form.columns:
        extra["experts"] = 1.0
    if "active_fraction" in law.form.columns:
        extra["active_fraction"] = 1.0
    return law.predict(parameters, tokens, **extra)
