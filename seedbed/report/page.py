"""The page: one self-contained HTML file. No network, no fonts to load, readable on a phone and in the dark."""

import json
from importlib import resources
from typing import Any

from seedbed.quantities import counted, duration, energy, money, quantity, weight
from seedbed.recipe.dump import dump_recipe
from seedbed.report.gather import RunData
from seedbed.report.html import bars, esc, facts, section, tag
from seedbed.report.receipt import receipt_section
from seedbed.report.sections import PREDICTORS, data_section, evaluation_section, samples_section, tokens_section
from seedbed.report.training import training_section
from seedbed.run.events import scores_of

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
        comparison = scores_as_bars({"this model": masked["model"], "token frequencies": masked["unigram"]})
    elif scores:
        title = f"A base model that needs <strong>{scores['model']:.2f} bits</strong> for a byte of text it never saw"
        comparison = scores_as_bars(
            {label: scores[name] for name, label in PREDICTORS.items() if scores.get(name) is not None}
        )
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


def scores_as_bars(scores: dict[str, float]) -> str:
    """Bits of each predictor, the best first."""
    longest = max(scores.values())
    return bars(
        (label, 0.0, bits / longest, f"{bits:.2f}", "own" if label == "this model" else "")
        for label, bits in sorted(scores.items(), key=lambda item: item[1])
    )


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
        epochs = data.summary("train").get("epochs")
        passes = f"{counted(training['steps'])} step{'s' * (training['steps'] != 1)}" + (
            f", {epochs:.2g} epochs" if epochs else ""
        )
        items.append(("trained on", f"{quantity(training['tokens']).strip()} tokens", passes))
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


def shape(data: RunData) -> str:
    model = data.recipe.model
    return f"{model.layers} layer{'s' * (model.layers != 1)}, width {model.width}, context {model.context}"


def again_section(data: RunData) -> str:
    lead = (
        "In this run's folder. recipe.toml holds every value, also what was measured on this machine; "
        "on the same machine and versions the same bits come out."
    )
    recipe = f"<details><summary>recipe.toml</summary><pre>{esc(dump_recipe(data.recipe))}</pre></details>"
    return section("again", "Make it again", lead, f"<pre>{esc(data.receipt['command'])}</pre>", recipe)
