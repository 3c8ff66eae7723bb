"""The answer to a question: the best plan with its intervals and what holds it, the Pareto set, serving, and the model's life."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from seedbed.errors import InputError
from seedbed.plan.describe import describe
from seedbed.plan.frontier import (
    Best,
    Cells,
    Setting,
    Spent,
    best_plan,
    make_cells,
    most_tokens,
    pareto,
    pareto_rows,
    served_cell,
    spend,
    tokens_for,
)
from seedbed.plan.lifetime import life, payback
from seedbed.plan.question import Asked, Question, interpret
from seedbed.quantities import quantity, volume, weight

CAP_OPTIONS = {
    "usd": "--budget-usd",
    "lifetime_usd": "--lifetime-usd",
    "kwh": "--energy",
    "kg": "--carbon",
    "litres": "--water",
    "days": "--deadline",
    "devices": "--chips",
}
SHOWN = 8  # plans of the Pareto set in the text


def answer(question: Question, full: bool = False) -> dict[str, Any]:
    """Raises InputError where no plan meets the caps, naming the one that forbids it. `full`: all of the Pareto set, payback."""
    asked = interpret(question)
    setting, caps = asked.setting, asked.caps
    cells = make_cells(setting)
    best = best_plan(setting, caps, asked.target, cells)
    if best is None:
        raise InputError(why_none(asked, cells))
    if asked.target is None:
        best.gains.update(device_gain(asked, best, question))
    found: dict[str, Any] = {
        "question": {k: str(v) if v.__class__.__name__ == "PosixPath" else v for k, v in vars(question).items()},
        "caps": caps,
        "target_loss": asked.target,
        "assumptions": asked.assumptions,
        "binding": best.binding,
        "gains_of_a_tenth_more": best.gains,
        "best": describe(best.cells, best.tokens, asked),
        "pareto": front(asked, cells, full),
    }
    if full:
        from seedbed.plan.pictures import grid_table, loss_curve

        described = found["best"]
        kwh = {name: figure["value"] for name, figure in described["kwh"].items()}
        found["curve"] = loss_curve(setting.losses, described["flops"])
        found["grids"] = grid_table(asked, kwh, described["litres"]["site"]["value"])
    if setting.load:
        found["life"] = life_of(best, asked)
        if full:
            loss = asked.target or float(found["best"]["loss"]["value"])
            found["payback"] = payback(setting, loss * 1.0001, caps["days"], setting.experts[1:] or (8, 32)).as_dict()
    return known(found)


def known(value: Any) -> Any:
    """The same with None for every number that is not one: JSON has no other word for it."""
    if isinstance(value, dict):
        return {name: known(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def device_gain(asked: Asked, best: Best, question: Question) -> dict[str, float]:
    """What the next larger number of devices would give, where --chips is a cap."""
    if question.devices is None:
        return {}
    more = replace(asked.setting, most_devices=question.devices * 1.5)
    other = best_plan(more, asked.caps, None)
    here = loss_now(best, asked.setting)
    return {"devices": here - loss_now(other, asked.setting) if other else 0.0}


def loss_now(best: Best, setting: Setting) -> float:
    return float(setting.losses.loss(best.cells.active[0], best.tokens, int(best.cells.experts[0])))


def why_none(asked: Asked, cells: Cells) -> str:
    """Which cap alone forbids every plan, and what it would have to be."""
    setting, caps, target = asked.setting, asked.caps, asked.target
    if target is not None:
        tokens = tokens_for(cells, target, setting)
        reach = np.isfinite(tokens) & (tokens < 1e15)
        if not reach.any():
            most = f"{setting.sizes[-1]:.0e} parameters"
            return f"--target-loss {target:g}: no model of up to {most} reaches it by this law: ask for more"
        spent = spend(cells.take(reach), np.maximum(tokens[reach], cells.active[reach]), setting)
    else:
        spent = spend(cells, cells.active, setting)
    for name, cap in caps.items():
        least = float(np.nanmin(getattr(spent, name)))
        if not least <= cap:
            need = "that loss needs" if target is not None else "the smallest plan needs"
            return f"{CAP_OPTIONS[name]}: {amount(name, cap)} is too little: {need} {amount(name, least)} at least: allow more"
    pairs = ", ".join(CAP_OPTIONS[name] for name in caps)
    lonely = best_plan(setting, {k: v for k, v in caps.items() if k != "days"}, target, cells)
    remedy = "allow more of one"
    if lonely is not None:
        days = float(spend(lonely.cells, np.array([lonely.tokens]), setting).days[0])
        remedy = f"without --deadline it would take {days:,.0f} days"
    return f"{pairs}: each can be met, and no plan meets all: {remedy}"


def front(asked: Asked, cells: Cells, full: bool) -> list[dict[str, Any]]:
    """The Pareto set in loss, dollars, days, and what else is capped or differs; thinned to a few unless `full`."""
    setting, axes = asked.setting, ["usd", "days"]
    if setting.load:
        axes.append("lifetime_usd")
    axes += [name for name in ("kg", "litres", "kwh") if name in asked.caps]
    if len(setting.buildings) > 1:
        axes += [name for name in ("kg", "litres") if name not in axes]
    if asked.target is not None:  # then all that reaches it is alike in loss: tokens are given by it
        tokens = tokens_for(cells, asked.target, setting)
        most = most_tokens(cells, asked.caps, setting)
        at = np.isfinite(tokens) & (np.maximum(tokens, cells.active) <= most)
        some, tokens = cells.take(at), np.maximum(tokens[at], cells.active[at])
        spent = spend(some, tokens, setting)
        rows = pareto_rows(np.stack([getattr(spent, axis) for axis in axes], -1))
        chosen, tokens = some.take(rows), tokens[rows]
        spent = Spent(*(getattr(spent, name)[rows] for name in Spent.__dataclass_fields__))
        losses = np.full(len(rows), asked.target)
    else:
        chosen, tokens, spent, losses = pareto(setting, asked.caps, tuple(axes), cells)
    order = np.argsort(losses if asked.target is None else spent.usd)
    if not full and len(order) > SHOWN:
        order = order[np.unique(np.linspace(0, len(order) - 1, SHOWN).round().astype(int))]
    return [
        {
            "loss": float(losses[i]),
            "active_parameters": float(chosen.active[i]),
            "experts": int(chosen.experts[i]),
            "tokens": float(tokens[i]),
            "chip": setting.chips[int(chosen.chip[i])].name,
            "devices": int(chosen.devices[i]),
            "region": setting.buildings[int(chosen.building[i])].grid.name,
            **{
                name: clean(getattr(spent, name)[i])
                for name in ("days", "usd", "lifetime_usd", "kwh", "kg", "kg_market", "litres")
            },
        }
        for i in order
    ]


def clean(value: Any) -> float | None:
    """None for what is not known."""
    return float(value) if math.isfinite(float(value)) else None


def life_of(best: Best, asked: Asked) -> dict[str, Any]:
    setting = asked.setting
    chip = setting.chips[int(best.cells.chip[0])]
    building = setting.buildings[int(best.cells.building[0])]
    spent = spend(best.cells, np.array([best.tokens]), setting)
    training = {name: float(getattr(spent, name)[0]) for name in ("usd", "kwh", "kg", "litres")}
    model = served_cell(float(best.cells.active[0]), int(best.cells.experts[0]))
    assert setting.load
    months = max(1, round(setting.months))
    return life(
        training, model, chip, setting.load, asked.growth, months, setting.terms[chip.name], building, setting.tables
    ).as_dict()


def amount(name: str, value: float) -> str:
    """A figure of `Spent` in a unit that suits it."""
    if name.endswith("usd"):
        return f"${value:,.0f}" if value >= 10 else f"${value:.2g}"
    if name == "days":
        return f"{value:,.1f} days" if value >= 1 else f"{value * 24:.2g} hours"
    if name == "kwh":
        return f"{quantity(value * 1000)}Wh"
    return f"{weight(value)} CO2e" if name == "kg" else volume(value)
