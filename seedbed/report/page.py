"""The page: one self-contained HTML file. No network, no fonts to load, readable on a phone and in the dark."""

import json
from importlib import resources
from typing import Any

from seedbed.quantities import byte_size, counted, duration, money, quantity, volume, weight
from seedbed.recipe.dump import dump_recipe
from seedbed.report import charts
from seedbed.report.gather import RunData
from seedbed.report.html import bars, chart, esc, facts, section, table, tag
from seedbed.report.sections import PREDICTORS, data_section, evaluation_section, samples_section, tokens_section
from seedbed.run.events import SCORES, scores_of

# What a page opened from a disk may do: run the scripts in it, and reach nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def render(data: RunData) -> str:
    """The page as HTML."""
    figures, training = training_section(data)
    curation, text = data_section(data)
    figures |= curation
    sections = [
        ("data", "Data", text),
        ("tokens", "Tokens", tokens_section(data)),
        ("training", "Training", training),
        ("evaluation", "Evaluation", evaluation_section(data)),
        ("samples", "Samples", samples_section(data)),
        ("receipt", "Receipt", receipt_section(data)),
        ("again", "Make it again", again_section(data)),
    ]
    present = [(identifier, title, body) for identifier, title, body in sections if body]
    links = "".join(f'<li><a href="#{identifier}">{title}</a></li>' for identifier, title, _ in present)
    name = esc(data.recipe.name)
    return "\n".join(
        [
            document_head(f"{name} · Seedbed", asset("style.css")),
            header(data),
            f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
            f"<main>{''.join(body for _, _, body in present)}</main>",
            f"<footer>Written by Seedbed {esc(data.receipt['versions']['seedbed'] or '')}. "
            "The same facts for programs: receipt.json, beside this page.</footer>",
            scripts(figures),
            "</body></html>\n",
        ]
    )


def document_head(title: str, style: str) -> str:
    """Up to the opened body. `title` is HTML."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{title}</title>",
            f"<style>{style}</style></head><body>",
        ]
    )


def asset(name: str) -> str:
    return (resources.files("seedbed.report") / "assets" / name).read_text(encoding="utf-8")


def scripts(figures: dict[str, Any]) -> str:
    """Plotly, the figures and the script that draws them; nothing where there is nothing to draw."""
    if not figures:
        return ""
    from plotly.offline import get_plotlyjs

    values = json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c")  # no text can end the script element
    library = get_plotlyjs().replace("</script", "<\\/script")
    return (
        f'<script type="application/json" id="figures">{values}</script>'
        f"<script>{library}</script><script>{asset('page.js')}</script>"
    )


def header(data: RunData) -> str:
    day = (data.receipt["ended"] or "")[:10]
    eyebrow = " · ".join(part for part in ("Seedbed", esc(data.recipe.name), esc(data.recipe.description), day) if part)
    comparison = ""
    scores = (data.evaluation or {}).get("bits_per_byte", {}).get("all")
    masked = (data.evaluation or {}).get("bits_per_masked_token", {}).get("all")
    if masked:
        title = (
            f"An encoder that needs <strong>{masked['model']:.2f} bits</strong> for a masked token of text it never saw"
        )
        comparison = bars(
            [
                ("this model", 0.0, masked["model"] / masked["unigram"], f"{masked['model']:.2f}", "own"),
                ("token frequencies", 0.0, 1.0, f"{masked['unigram']:.2f}", ""),
            ]
        )
    elif scores:
        title = f"A base model that needs <strong>{scores['model']:.2f} bits</strong> for a byte of text it never saw"
        values = {label: scores[name] for name, label in PREDICTORS.items() if scores.get(name) is not None}
        longest = max(values.values())
        rows = [
            (label, 0.0, value / longest, f"{value:.2f}", "own" if label == "this model" else "")
            for label, value in sorted(values.items(), key=lambda item: item[1])
        ]
        comparison = bars(rows)
    elif data.history.get("validations"):
        last = data.history["validations"][-1]
        name, found = scores_of(last)
        unit = "byte" if name == "bits_per_byte" else "masked token"
        score = found.get("all")
        shown_score = f": <strong>{score:.2f} bits</strong> a {unit} at step {counted(last['step'])}" if score else ""
        title = f"A base model in the making{shown_score}"
    else:
        title = "A run that has not come to its model yet"
    state = "" if data.receipt["finished"] else unfinished(data)
    return f'<header><p class="eyebrow">{eyebrow}</p><h1>{title}</h1>{state}{comparison}{key_numbers(data)}</header>'


def unfinished(data: RunData) -> str:
    done = ", ".join(esc(name) for name in data.stages) or "none"
    return f'<p class="lead">This run is not finished (stages done: {done}). The same command continues it.</p>'


def key_numbers(data: RunData) -> str:
    training, cost = data.receipt["training"], data.receipt["cost"]
    items = []
    parameters = data.summary("train").get("parameters")
    if parameters:
        items.append(("parameters", quantity(parameters).strip(), shape(data)))
    if training:
        items.append(
            ("trained on", f"{quantity(training['tokens']).strip()} tokens", f"{counted(training['steps'])} steps")
        )
        items.append(
            ("training time", duration(training["seconds"]), f"of {duration(cost['seconds']['value'])} in all")
        )
        if training["tokens_per_second"]:
            mfu = f"{training['mfu']:.0%} of this machine's measured peak" if training["mfu"] is not None else ""
            items.append(("throughput", f"{counted(training['tokens_per_second'])} tokens/s", mfu))
    if training:
        items.append(("compute", f"{quantity(cost['flops']['value'])}FLOP", "training, counted from shapes"))
    items.append(("energy", energy(cost["joules"]["value"]), tag(cost["joules"]["kind"])))
    items.append(
        ("money", money(cost["dollars"]["value"]), f"{tag(cost['dollars']['kind'])} {esc(cost['dollars']['method'])}")
    )
    items.append(("carbon", f"{weight(cost['kg_co2']['value'])} CO₂e", tag(cost["kg_co2"]["kind"])))
    return facts(items)


def energy(joules: float) -> str:
    kwh = joules / 3.6e6
    return f"{kwh:,.2f} kWh" if kwh >= 0.1 else f"{joules / 3600:.2g} Wh"


def shape(data: RunData) -> str:
    model = data.recipe.model
    return f"{model.layers} layers, width {model.width}, context {model.context}"


def training_section(data: RunData) -> tuple[dict[str, Any], str]:
    """(figures by the id of their place, the section)."""
    steps, validations = data.history.get("steps", []), data.history.get("validations", [])
    if not steps:
        return {}, ""
    figures = {"loss": charts.loss_chart(steps, data.losses, data.transformer_losses)}
    parts = [chart("loss", "Training loss", "nats per token")]
    if validations:
        figures["validation"] = charts.validation_chart(validations, steps)
        parts.append(
            chart("validation", "Held-out text", f"{SCORES[scores_of(validations[-1])[0]]}, by domain; lower is better")
        )
    small = []
    for identifier, field, build, title, unit in (
        ("throughput", "tokens_per_second", charts.throughput_chart, "Throughput", "tokens per second"),
        ("mfu", "mfu", charts.mfu_chart, "MFU", "of this machine's measured peak"),
        ("rate", "lr", charts.rate_chart, "Learning rate", ""),
    ):
        if any(step.get(field) is not None for step in steps):
            figures[identifier] = build(steps)
            small.append(chart(identifier, title, unit))
    parts.append(f'<div class="charts">{"".join(small)}</div>')
    sources = [(step["step"], step["loss_by_source"]) for step in steps if step.get("loss_by_source")]
    if sources:
        figures["sources"] = charts.lines_chart(sources, steps, log=False)
        parts.append(chart("sources", "Loss by source", "nats per target"))
    norms = data.history.get("norms", [])
    if len(norms) > 1:
        wide = []
        for kind in ("gradient", "update"):
            figures[f"{kind}-norms"] = charts.lines_chart(
                [(entry["step"], {name: values[kind] for name, values in entry["groups"].items()}) for entry in norms],
                steps,
                log=True,
            )
            wide.append(chart(f"{kind}-norms", f"{kind.capitalize()} norms", "by group of parameters"))
        parts.append(f'<div class="charts">{"".join(wide)}</div>')
    parts.append(time_bars(data.receipt["goodput"].get("seconds", {})))
    parts.append(candidates_table(data))
    buttons = "".join(
        f'<button type="button" data-unit="{unit}" aria-pressed="{str(unit == "tokens").lower()}">{label}</button>'
        for unit, label in (("tokens", "Tokens"), ("seconds", "Time"), ("flops", "FLOPs"))
    )
    switch = f'<div class="switch" role="group" aria-label="Horizontal axis">{buttons}</div>'
    return figures, section("training", "Training", training_lead(data), switch, *parts)


KINDS = {
    "step": "steps the model is made of",
    "repeated": "steps trained again",
    "data": "waiting for data",
    "compile": "compiling",
    "record": "records",
    "look": "looks",
    "checkpoint": "checkpoints",
    "guard": "steps not trained on",
    "rewind": "going back",
    "resume": "resuming",
    "elsewhere": "other stages, start-up",
}


def time_bars(seconds: dict[str, float]) -> str:
    """Wall clock of all processes by kind of work, each bar where the one before ended."""
    whole = sum(seconds.values())
    if not whole:
        return ""
    rows, before = [], 0.0
    for kind in sorted(seconds, key=list(KINDS).index):
        share = seconds[kind] / whole
        rows.append(
            (KINDS[kind], before, share, f"{seconds[kind]:,.1f} s · {share:.1%}", "own" if kind == "step" else "")
        )
        before += share
    return "<h3>Where the time went</h3>" + bars(rows, wide=True)


def training_lead(data: RunData) -> str:
    train, measured = data.recipe.train, data.measure or {}
    parts = [] if train.objective == "causal" else [f"{train.objective} objective"]
    parts += ["Muon and AdamW" if train.optimizer == "muon" else "AdamW", f"{train.schedule} schedule"]
    if train.batch_tokens:
        parts.append(f"batches of {counted(train.batch_tokens)} tokens")
    parts.append(measured.get("precision", train.precision))
    compiled = measured.get("compile", {"on": True, "off": False}.get(train.compile))
    parts += [] if compiled is None else ["compiled" if compiled else "not compiled"]
    return esc(", ".join(part for part in parts if part != "auto") + ".")


def candidates_table(data: RunData) -> str:
    """What the measure stage tried on this machine, the chosen one marked."""
    measured = data.measure or {}
    rows = []
    for entry in measured.get("candidates", []):
        chosen = all(entry[name] == measured[name] for name in ("precision", "compile", "micro_batch_rows"))
        rate = (data.recipe.train.batch_tokens or 0) / entry["step_seconds"]
        rows.append(
            [
                esc(f"{entry['precision']}, {'compiled' if entry['compile'] else 'not compiled'}"),
                counted(entry["micro_batch_rows"]),
                f"{entry['first_step_seconds']:.1f} s",
                f"{1000 * entry['step_seconds']:,.1f} ms",
                f"{'*' if chosen else ''}{counted(rate)}",
            ]
        )
    if not rows:
        return ""
    header = ["tried", "rows at once", "first step", "step", "tokens/s"]
    return "<h3>What this machine was measured to do</h3>" + table(header, rows, numeric=4)


def receipt_section(data: RunData) -> str:
    receipt = data.receipt
    goodput = receipt["goodput"]["fraction"]
    lead = "What the run cost over every process that worked on it, killed and repeated ones included."
    if goodput:
        lead += f" {goodput:.0%} of the time went into steps of the model that came out (goodput)."
    parts = [cost_table(receipt["cost"]), "<h3>Stages</h3>", stage_bars(receipt["stages"]), "<h3>Machine</h3>"]
    parts += [machine_table(machine) for machine in receipt["machines"]]
    parts += plan_parts(receipt.get("plan", {}))
    parts += ["<h3>SHA-256</h3>", hash_table(receipt)]
    if receipt["interventions"]:
        rows = [[esc(item["time"]), esc(item["stage"]), esc(item["what"])] for item in receipt["interventions"]]
        parts += ["<h3>What happened on the way</h3>", table(["time", "stage", "what"], rows, numeric=0)]
    return section("receipt", "Receipt", lead, *parts)


def plan_parts(plan: dict[str, Any]) -> list[str]:
    """What the planner would have said before the run, beside what happened."""
    if not plan:
        return []
    rows = [
        [
            PLANNED[name][0],
            "unknown" if row["planned"] is None else PLANNED[name][1](row["planned"]),
            "unknown" if row["actual"] is None else PLANNED[name][1](row["actual"]),
            "" if row["error"] is None else f"{row['error']:+.0%}",
        ]
        for name, row in plan["figures"].items()
    ]
    shown = table(["", "planned", "actual", "error"], rows, numeric=3)
    return ["<h3>Planned and actual</h3>", f'<p class="lead">Planned from {esc(plan["basis"])}.</p>', shown]


PLANNED: dict[str, tuple[str, Any]] = {
    "step_seconds": ("a step", lambda v: f"{v:.3g} s"),
    "training_seconds": ("training", duration),
    "memory_bytes": ("peak memory", byte_size),
    "watts": ("power", lambda v: f"{v:.3g} W"),
    "joules": ("energy", lambda v: energy(v)),
    "goodput": ("goodput", lambda v: f"{v:.0%}"),
    "loss": ("training loss", lambda v: f"{v:.3f}"),
}


def cost_table(cost: dict[str, Any]) -> str:
    values = {
        "wall clock": ("seconds", duration),
        "training compute": ("flops", lambda v: f"{quantity(v)}FLOP"),
        "energy": ("joules", lambda v: f"{quantity(v)}J"),
        "electricity": ("kwh", lambda v: energy(v * 3.6e6)),
        "money": ("dollars", money),
        "carbon": ("kg_co2", lambda v: f"{weight(v)} CO₂e"),
        "water": ("litres_water", volume),
    }
    rows = [
        [label, esc(show(cost[name]["value"])), tag(cost[name]["kind"]), esc(cost[name]["method"])]
        for label, (name, show) in values.items()
    ]
    return table(["", "amount", "", "how it is known"], rows, numeric=0)


def stage_bars(stages: list[dict[str, Any]]) -> str:
    """Each stage's time as a bar that begins where the one before ended."""
    whole = sum(item["seconds"] or 0.0 for item in stages) or 1.0
    rows, before = [], 0.0
    for item in stages:
        joules, seconds = f"{quantity(item['joules'])}J", item["seconds"] or 0.0
        if item["stage"] == "other":
            rows.append(("start-up, other recipes", before, 0.0, joules, ""))
        else:
            rows.append((esc(item["stage"]), before, seconds / whole, f"{seconds:,.1f} s · {joules}", "own"))
        before += seconds / whole
    return bars(rows, wide=True)


def machine_table(machine: dict[str, Any]) -> str:
    cores = f"{machine['cores']} cores" + (
        f" ({machine['logical_cores']} logical)" if machine["logical_cores"] != machine["cores"] else ""
    )
    gpus = ", ".join(f"{gpu['name']} ({byte_size(gpu['memory_bytes'])})" for gpu in machine["gpus"]) or "none"
    fast = ", ".join(f"{dtype} ({name})" for dtype, name in machine["accelerated"].items()) or "none known"
    rows = [
        ["processor", esc(f"{machine['cpu']}, {cores}")],
        ["memory", byte_size(machine["memory_bytes"])],
        ["GPU", esc(gpus)],
        ["fast types on the CPU", esc(fast)],
        ["system", esc(f"{machine['os']}, Python {machine['python']}, torch {machine['torch']}")],
    ]
    return table(["", ""], rows, numeric=0)


def hash_table(receipt: dict[str, Any]) -> str:
    rows = [[esc(name), f'<span class="hash">{esc(value)}</span>'] for name, value in receipt["hashes"].items()]
    commit = receipt["code"].get("commit")
    if commit:
        note = ", with changes since" if receipt["code"]["changed_since_commit"] else ""
        rows.append(["commit", f'<span class="hash">{esc(commit)}</span>{note}'])
    versions = ", ".join(f"{name} {version}" for name, version in receipt["versions"].items() if version)
    rows.append(["versions", esc(versions)])
    return table(["", ""], rows, numeric=0)


def again_section(data: RunData) -> str:
    lead = (
        "In this run's folder. recipe.toml holds every value, also what was measured on this machine; "
        "on the same machine and versions the same bits come out."
    )
    recipe = f"<details><summary>recipe.toml</summary><pre>{esc(dump_recipe(data.recipe))}</pre></details>"
    return section("again", "Make it again", lead, f"<pre>{esc(data.receipt['command'])}</pre>", recipe)
