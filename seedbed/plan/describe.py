"""One plan of the search in full: every figure with its interval, its unit, its boundary and how it was made."""

from typing import Any

import numpy as np

from seedbed.plan.chips import Chip
from seedbed.plan.estimate import Estimate, Range, as_range, estimate, spread
from seedbed.plan.footprint import Building, Footprint, footprint
from seedbed.plan.frontier import Cells, costs_of, serving_of, spend
from seedbed.plan.money import PARTS, Terms
from seedbed.plan.question import Asked
from seedbed.plan.tables import Tables

Factors = tuple[float, float]


def describe(cells: Cells, tokens: float, asked: Asked) -> dict[str, Any]:
    """Of the first cell at so many tokens."""
    setting = asked.setting
    chip, building = setting.chips[int(cells.chip[0])], setting.buildings[int(cells.building[0])]
    terms = setting.terms[chip.name]
    at = np.array([tokens])
    spent, costs = spend(cells, at, setting), costs_of(cells, at, setting)
    hours = float(spent.device_hours[0])
    made = footprint(chip, hours * terms.multiplier, building, setting.tables, float(spent.days[0]) * 24)
    experts, active = int(cells.experts[0]), float(cells.active[0])
    predicted = setting.losses.predict(active, tokens, experts)
    loss = Estimate(
        predicted.loss, predicted.low, predicted.high, setting.losses.unit, "law", setting.losses.law.source
    )
    serving = serving_of(cells, setting)
    rent = rent_range(terms.rent_usd_hour, chip)
    return {
        "experts": experts,
        "active_parameters": active,
        "total_parameters": float(cells.total[0]),
        "tokens": tokens,
        "tokens_per_parameter": tokens / active,
        "flops": 6 * active * tokens,
        "chip": chip.name,
        "devices": int(cells.devices[0]),
        "layout": {"tp": int(cells.tp[0]), "pp": int(cells.pp[0]), "batch_tokens": float(cells.batch_tokens[0])},
        "mfu": float(cells.mfu[0]),
        "goodput": float(cells.goodput[0]),
        "device_hours_final_run": hours,
        "region": building.grid.name,
        "warnings": list(predicted.warnings),
        "loss": loss.as_dict(),
        "days": estimate(
            spent.days[0], run_factors(setting.tables), "days", "final run", "6 N D over the rate"
        ).as_dict(),
        "usd": estimate(
            spent.usd[0], programme_factors(terms, setting.tables, rent), "USD", "programme", note_of(terms)
        ).as_dict(),
        "usd_parts": {part: float(np.asarray(getattr(costs, part)).reshape(-1)[0]) for part in PARTS},
        **footprint_figures(made, chip, terms, building, setting.tables),
        "serving": serving.as_dict() if serving else None,
        "serving_usd": float(cells.serving_usd[0]),
        "lifetime_usd": float(spent.lifetime_usd[0]),
    }


def footprint_figures(
    made: Footprint, chip: Chip, terms: Terms, building: Building, tables: Tables
) -> dict[str, dict[str, Any]]:
    """Energy by boundary, carbon by method and water by place."""
    prices, grid, note = tables.prices, building.grid, note_of(terms)
    devices = programme_factors(terms, tables)
    whole = programme_factors(terms, tables, as_range(prices["building"]["pue"]))
    site = as_range(prices["building"]["litres_site_kwh"])
    on_site = (devices[0] * site[0] / site[1], devices[1] * site[2] / site[1])
    litres = (made.litres_site * on_site[0] + made.litres_grid * whole[0]) / made.litres if made.litres > 0 else 1.0
    litres_most = (
        (made.litres_site * on_site[1] + made.litres_grid * whole[1]) / made.litres if made.litres > 0 else 1.0
    )
    operational = "facility, operational"
    return {
        "kwh": {
            "chip": figure(made.chip_kwh, devices, "kWh", "chip", f"{chip.watts:g} W x {chip.mean_draw:g}, {note}"),
            "server": figure(made.server_kwh, devices, "kWh", "server", f"x {chip.server_factor:g}"),
            "facility": figure(made.facility_kwh, whole, "kWh", "facility", f"x PUE {building.pue:g}"),
        },
        "kg": {
            "location": figure(made.kg_location, whole, "kg CO2e", operational, f"{grid.title}, {made.carbon_note}"),
            "market": figure(
                made.kg_market, whole, "kg CO2e", operational, f"contracts cover {building.clean_share:.0%}"
            ),
            "embodied": figure(made.kg_embodied, devices, "kg CO2e", "devices and servers", "by hours of use"),
        },
        "litres": {
            "site": figure(
                made.litres_site, on_site, "L", "building, evaporated", f"{building.litres_site_kwh:g} L a kWh of IT"
            ),
            "grid": figure(made.litres_grid, whole, "L", "power plants", f"{grid.litres_kwh:g} L a kWh"),
            "total": figure(made.litres, (litres, litres_most), "L", "building and power plants", "the sum of both"),
        },
    }


def figure(value: float, factors: Factors, unit: str, boundary: str, method: str) -> dict[str, Any]:
    return estimate(value, factors, unit, boundary, method).as_dict()


def note_of(terms: Terms) -> str:
    return f"{terms.multiplier:g} x the final run"


def run_factors(tables: Tables) -> Factors:
    """On the time of the final run: what a step reaches, and how much of the time is steps."""
    return spread([], slower(tables))


def programme_factors(terms: Terms, tables: Tables, *more: Range) -> Factors:
    """On what the programme spends: its multiplier as well, with the published range about the one that is used."""
    low, usual, high = as_range(tables.prices["programme"]["multiplier"])
    multiplier = (low, usual, high) if terms.multiplier == usual else (1.0, 1.0, 1.0)
    return spread([multiplier, *more], slower(tables))


def slower(tables: Tables) -> list[Range]:
    return [as_range(tables.prices["utilisation"]["mfu"]), as_range(tables.prices["programme"]["goodput"])]


def rent_range(rent: float, chip: Chip) -> Range:
    """The quotes' range where the rent is the table's usual one; a rent that was given is one quote."""
    quotes = chip.rent_usd_hour
    return quotes if quotes is not None and rent == quotes[1] else (1.0, 1.0, 1.0)
