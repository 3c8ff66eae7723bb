"""The page's section on training: curves, what was read of each source, where the time went, what was measured before."""

from typing import Any

from seedbed.quantities import counted
from seedbed.report import charts
from seedbed.report.gather import RunData
from seedbed.report.html import bars, chart, esc, section, table
from seedbed.run.events import SCORES, scores_of


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
    parts.append(sources_table(data))
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


def sources_table(data: RunData) -> str:
    """What training read of each source of a mixture."""
    sources = data.summary("train").get("sources", [])
    if not sources:
        return ""
    whole = sum(source["tokens"] for source in sources)
    rows = [
        [
            esc(source["name"]),
            f"{source['tokens'] / whole:.1%}",
            counted(source["tokens"]),
            counted(source["unique_tokens"]),
            f"{source['epochs']:.2f}",
            counted(source["effective_tokens"]),
        ]
        for source in sources
    ]
    header = ["source", "share of training", "tokens read", "tokens it has", "epochs", "worth in new tokens"]
    return "<h3>What training read</h3>" + table(header, rows, numeric=5)


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
    lead = ", ".join(part for part in parts if part != "auto") + "."
    return esc(lead[:1].upper() + lead[1:])


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
