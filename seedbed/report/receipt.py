"""The page's section on the receipt: cost, stages, machines, plan, hashes, and what happened on the way."""

from typing import Any

from seedbed.quantities import byte_size, duration, energy, money, quantity, volume, weight
from seedbed.report.gather import RunData
from seedbed.report.html import bars, esc, section, table, tag


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
        rows = [
            [f"<time>{esc(item['time'][:19].replace('T', ' '))}</time>", esc(item["stage"]), esc(item["what"])]
            for item in receipt["interventions"]
        ]
        parts += ["<h3>What happened on the way</h3>", table(["time (UTC)", "stage", "what"], rows, numeric=0)]
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
        [label, f"<data>{esc(show(cost[name]['value']))}</data>", tag(cost[name]["kind"]), esc(cost[name]["method"])]
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
