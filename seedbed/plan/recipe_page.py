"""The plan of a recipe as one self-contained page: memory by part, what the run costs and leaves behind, loss against compute."""

from pathlib import Path
from typing import Any

from seedbed.files import write_asked
from seedbed.plan.answer_text import interval
from seedbed.plan.losses import LossModel
from seedbed.plan.pictures import curve_figure, loss_curve
from seedbed.plan.query import amount
from seedbed.plan.question import law_of
from seedbed.plan.report import Plan, time_text, total_litres
from seedbed.quantities import byte_size, counted, quantity
from seedbed.report.document import document
from seedbed.report.html import bars, chart, esc, facts, section, table

PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "gathered": "gathered by FSDP",
    "activations": "activations",
    "logits": "logits",
}

NO_MONEY = ("money", "unknown", "no published rent (--rent)")


def write_page(path: Path, plan: Plan, law: str | None) -> None:
    """Raises InputError where the file cannot be written."""
    write_asked("--html", path, render(plan, law))


def render(plan: Plan, law: str | None) -> str:
    figures = {"curve": curve_of(plan, law)} if plan.get("loss") else {}
    parts = [
        run_section(plan),
        memory_section(plan),
        loss_section(plan),
        outcome_section(plan),
        assumptions_section(plan),
    ]
    return document(f"Plan of {plan['recipe']}", header(plan), parts, figures, f"seedbed plan {plan['recipe']} ...")


def header(plan: Plan) -> str:
    loss, tokens = plan.get("loss"), plan["tokens"]
    size = f"{quantity(plan['parameters']['total']).strip()} parameters"
    trained = f" on {quantity(tokens).strip()} tokens" if tokens else ""
    items = [("step", f"{step_seconds(plan):.3g} s", how_step(plan))]
    if "seconds" in plan:
        kwh, kg, litres = plan["kwh"]["facility"], plan["kg"]["location"], total_litres(plan["litres"])
        items += [
            ("time", time_text(plan["seconds"]["value"]), between(plan["seconds"], time_text)),
            ("money", dollars(plan["usd"]["value"]), between(plan["usd"], dollars))
            if "usd" in plan
            else ("money", "unknown", "no rent"),
            ("energy", amount("kwh", kwh["value"]), between(kwh, lambda v: amount("kwh", v))),
            ("carbon", amount("kg", kg["value"]), between(kg, lambda v: amount("kg", v))),
            ("water", amount("litres", litres["value"]), between(litres, lambda v: amount("litres", v))),
        ]
    if loss:
        items.append(("loss", f"{loss['value']:.3f}", between(loss, lambda v: f"{v:.3f}")))
    said = "".join(f'<p class="lead">Warning: {esc(line)}.</p>' for line in (loss or {}).get("warnings", ()))
    return (
        f'<header><p class="eyebrow">Seedbed plan · {esc(place(plan))}</p><h1>{esc(plan["recipe"])}: '
        f"<strong>{esc(size)}</strong>{esc(trained)}</h1>{said}{facts(items)}</header>"
    )


def dollars(value: float) -> str:
    return amount("usd", value)


def place(plan: Plan) -> str:
    return str(plan["device"]) if "probe" in plan else f"{plan['devices']:,} x {plan['gpu']['name']}"


def step_seconds(plan: Plan) -> float:
    return float(plan["probe"]["step_seconds"] if "probe" in plan else plan["step_seconds_estimated"])


def how_step(plan: Plan) -> str:
    return "measured here" if "probe" in plan else f"estimated, products at {plan['mfu_assumed']:.0%} of the peak"


def between(figure: dict[str, Any], show: Any) -> str:
    low, high = figure["low"], figure["high"]
    return "no interval: the law has none" if low is None or low != low else esc(f"{show(low)} to {show(high)}")


def run_section(plan: Plan) -> str:
    model = plan["model"]
    rows = [
        [
            "model",
            f"{model['layers']} layers x {model['width']}, {model['heads']} heads ({model['kv_heads']} of keys and values)",
        ],
        ["context, vocabulary", f"{model['context']:,} tokens, {model['vocab_size']:,} entries"],
        [
            "parameters",
            f"{plan['parameters']['total']:,}, of which {plan['parameters']['active']:,} work on each token",
        ],
        ["FLOPs a token", f"{plan['flops_per_token']:.4g} in training"],
        ["batch", f"{counted(plan['batch_tokens'])} tokens"],
    ]
    if plan["tokens"]:
        rows.append(
            ["run", f"{plan['steps']:,} steps, {quantity(plan['tokens']).strip()} tokens, {plan['flops']:.3g} FLOPs"]
        )
    if "layout" in plan:
        work = plan["work"]
        twice = ", layers run twice to save memory" if work["recompute"] else ""
        rows.append(
            [
                "layout",
                f"{plan['layout']['text']}, micro-batches of {work['micro_rows']} x {work['micro_batches']}{twice}",
            ]
        )
    cells = [[esc(name), esc(value)] for name, value in rows]
    return section("run", "The run", "Counted from the recipe.", table(["", ""], cells, 0))


def memory_section(plan: Plan) -> str:
    if "probe" in plan:
        found = plan["probe"]
        depths = " and ".join(map(str, found["depths"]))
        lead = (
            f"{byte_size(found['peak_bytes'])} at the most in the process that trains, libraries in, measured on {depths} layers "
            f"in {found['precision']} on {found['threads']} threads."
        )
        return section("memory", "Memory", esc(lead))
    memory, usable = plan["memory_bytes_estimated"], plan["usable_memory_bytes_assumed"]
    rows, before = [], 0.0
    for name, title in PARTS.items():
        share = memory[name] / usable
        rows.append((title, before, share, f"{byte_size(memory[name])} · {share:.1%}", "own"))
        before += share
    left = f"{byte_size(usable - memory['total'])} · {1 - before:.1%}"
    rows.append(("free", before, max(0.0, 1 - before), left, ""))
    lead = f"Estimated on the fullest device, of {byte_size(usable)} taken as usable; weights as in the modules that were built."
    return section("memory", "Memory", esc(lead), bars(rows, wide=True))


def loss_section(plan: Plan) -> str:
    loss = plan.get("loss")
    if not loss:
        return ""
    return section(
        "loss",
        "Loss against compute",
        esc(f"Least loss of a dense model: {loss['method']}."),
        chart("curve", "Predicted loss"),
    )


def curve_of(plan: Plan, name: str | None) -> dict[str, Any]:
    law, _ = law_of(name)
    losses = LossModel(law, plan["tokens"] if "unique_tokens" in law.form.columns else None, plan["loss"]["unit"])
    flops = 6.0 * plan["parameters"]["active"] * plan["tokens"]
    return curve_figure(loss_curve(losses, flops), {"loss": plan["loss"], "flops": flops})


def outcome_section(plan: Plan) -> str:
    if "seconds" not in plan:
        return ""
    rows = [["time", interval(plan["seconds"], time_text), plan["seconds"]]]
    if "usd" in plan:
        rows.append(["money", interval(plan["usd"], dollars), plan["usd"]])
    for group, title in (("kwh", "energy"), ("kg", "carbon"), ("litres", "water")):
        for name, figure in plan[group].items():
            rows.append([f"{title}, {name}", interval(figure, lambda v, kind=group: amount(kind, v)), figure])
    cells = [[esc(title), esc(text), esc(figure["boundary"]), esc(figure["method"])] for title, text, figure in rows]
    lead = f"Of this run alone, without experiments or failures, in {plan['region']}. Every figure says what it counts."
    return section("outcome", "What it takes", esc(lead), table(["", "amount", "boundary", "how"], cells, 0))


def assumptions_section(plan: Plan) -> str:
    listed = "".join(f"<li>{esc(each)}</li>" for each in plan.get("assumptions", ()))
    lead = "What was given, and what was assumed because it was not."
    return section("assumptions", "Assumptions", lead, f"<ul>{listed}</ul>") if listed else ""
