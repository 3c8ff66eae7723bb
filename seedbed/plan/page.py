"""The answer to a question as one self-contained page: no network, readable on a phone and in the dark."""

from pathlib import Path
from typing import Any

from seedbed.files import write_asked
from seedbed.plan.answer_text import interval, one, spent_a_million, whole_model_text
from seedbed.plan.pictures import figures
from seedbed.plan.query import CAP_OPTIONS, amount
from seedbed.quantities import quantity
from seedbed.report.document import document
from seedbed.report.html import bars, chart, esc, facts, section, table

PARTS = {
    "devices": "devices",
    "network": "network",
    "electricity": "electricity",
    "cooling": "cooling and losses",
    "storage": "storage",
    "data": "data preparation",
    "staff": "people",
}


def write_page(path: Path, found: dict[str, Any]) -> None:
    """Raises InputError where the file cannot be written."""
    write_asked("--html", path, render(found))


def render(found: dict[str, Any]) -> str:
    parts = [
        money_section(found),
        loss_section(found),
        front_section(found),
        serving_section(found),
        footprint_section(found),
        assumptions_section(found),
    ]
    return document("Plan", header(found), parts, figures(found), "seedbed plan query ...")


def header(found: dict[str, Any]) -> str:
    best, target = found["best"], found["target_loss"]
    caps = ", ".join(f"{CAP_OPTIONS[name]} {amount(name, cap)}" for name, cap in found["caps"].items())
    model = esc(whole_model_text(best))
    title = (
        f"Loss {target:g} for <strong>{amount('usd', best['usd']['value'])}</strong>: {model}"
        if target is not None
        else f"Loss <strong>{best['loss']['value']:.3f}</strong>, predicted for a model of {model}"
    )
    usd, days, loss = best["usd"], best["days"], best["loss"]
    items = [
        ("loss", f"{loss['value']:.3f}", esc(range_text(loss, lambda v: f"{v:.3f}"))),
        ("money", amount("usd", usd["value"]), esc(range_text(usd, lambda v: amount("usd", v)))),
        ("final run", amount("days", days["value"]), esc(range_text(days, lambda v: amount("days", v)))),
        ("devices", f"{best['devices']:,} x {esc(best['chip'])}", f"{best['mfu']:.0%} MFU, goodput {best['goodput']:.0%}"),
        ("tokens", quantity(best["tokens"]).strip(), f"{best['tokens_per_parameter']:,.0f} a parameter"),
        ("energy", one(best["kwh"]["facility"], "kwh"), "programme, facility"),
        ("carbon", one(best["kg"]["location"], "kg"), f"location-based, {esc(best['region'])}"),
        ("water", one(best["litres"]["total"], "litres"), "on site and off"),
    ]  # fmt: skip
    warnings = "".join(f'<p class="lead">Warning: {esc(warning)}.</p>' for warning in best["warnings"])
    return f'<header><p class="eyebrow">Seedbed plan · {esc(caps)}</p><h1>{title}</h1>{warnings}{facts(items)}</header>'


def range_text(figure: dict[str, Any], show: Any) -> str:
    if figure["low"] is None or figure["low"] != figure["low"]:
        return "no interval: the law has none"
    return f"{show(figure['low'])} to {show(figure['high'])}"


def money_section(found: dict[str, Any]) -> str:
    best = found["best"]
    parts = {name: value for name, value in best["usd_parts"].items() if value > 0}
    whole = sum(parts.values())
    rows, before = [], 0.0
    for name, value in parts.items():
        rows.append((PARTS[name], before, value / whole, f"{amount('usd', value)} · {value / whole:.1%}", "own"))
        before += value / whole
    gains, target = found["gains_of_a_tenth_more"], found["target_loss"]
    binding = found["binding"]
    held = "None of the caps holds the plan."
    if binding:
        gain = amount("usd", gains[binding]) if target is not None else f"{gains[binding]:.4f} of loss"
        held = f"{CAP_OPTIONS[binding]} holds the plan: a tenth more would give {gain}."
    lead = f"Of the whole programme, {esc(best['usd']['method'])} in compute. {esc(held)}"
    return section("money", "Money", lead, bars(rows, wide=True))


def loss_section(found: dict[str, Any]) -> str:
    source = esc(found["best"]["loss"]["method"])
    return section(
        "loss",
        "Loss against compute",
        f"Least loss of a dense model by the law: {source}.",
        chart("curve", "Predicted loss"),
    )


def front_section(found: dict[str, Any]) -> str:
    lead = f"{len(found['pareto']):,} plans that no other beats in everything at once; what is spent up to the caps."
    return section(
        "others", "What else could be done", lead, chart("front", "Loss against dollars", "by days of the final run")
    )


def serving_section(found: dict[str, Any]) -> str:
    best, life = found["best"], found.get("life")
    if not best["serving"] or not life:
        return ""
    s = best["serving"]
    rows = [
        [name, shown(key, life["training"][key]), shown(key, life["serving"][key][-1]), month(life["crossover"][key])]
        for key, name in (
            ("usd", "money"),
            ("kwh", "energy, facility"),
            ("kg", "carbon, location-based and embodied"),
            ("litres", "water"),
        )
    ]
    lead = (
        f"{s['servers']} server(s) of {s['devices_a_server']} {esc(best['chip'])}, busy {s['busy']:.0%}: "
        f"${s['usd_million']:.3g}, {', '.join(spent_a_million(s))} a million tokens."
    )
    parts = [
        chart("life", "Training and serving", "dollars"),
        table(["", "training", f"{life['months']} months of serving", "crossover"], rows, 3),
    ]
    if found.get("payback"):
        parts.append(
            chart("payback", "Which model is cheapest over its life", f"all at loss {found['payback']['loss']:.3f}")
        )
    return section("serving", "Serving", lead, *parts)


def shown(kind: str, value: float | None) -> str:
    return "not known" if value is None else amount(kind, value)


def month(crossing: float | None) -> str:
    return "later" if crossing is None else f"month {crossing:.1f}"


def footprint_section(found: dict[str, Any]) -> str:
    best, rows = found["best"], []
    for group, kind in (("kwh", "kwh"), ("kg", "kg"), ("litres", "litres")):
        for name, figure in best[group].items():
            text = interval(figure, lambda v, kind=kind: amount(kind, v))
            rows.append([f"{GROUPS[group]}, {name}", esc(text), esc(figure["boundary"]), esc(figure["method"])])
    picture = chart("grids", "The same plan elsewhere", "little carbon is not little water") if found["grids"] else ""
    lead = "Of the whole programme. Every figure says what it counts."
    return section(
        "footprint", "Energy, carbon, water", lead, table(["", "amount", "boundary", "how"], rows, 0), picture
    )


GROUPS = {"kwh": "energy", "kg": "carbon", "litres": "water"}


def assumptions_section(found: dict[str, Any]) -> str:
    listed = "".join(f"<li>{esc(each)}</li>" for each in found["assumptions"])
    return section(
        "assumptions", "Assumptions", "What was given, and what was assumed because it was not.", f"<ul>{listed}</ul>"
    )
