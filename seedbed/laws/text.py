"""What `seedbed laws` prints: tables of laws, optima, held-out errors and proposals, and the same as JSON values."""

import math
from dataclasses import asdict
from typing import Any

from seedbed.corpus.yields import align
from seedbed.laws.compare import Held
from seedbed.laws.design import Candidate, Proposal
from seedbed.laws.isoflop import BEYOND, IsoFlop
from seedbed.laws.law import LEVEL, Ends, Law, Optimum
from seedbed.laws.power import PowerLaw
from seedbed.quantities import quantity

LITTLE = 0.05  # of the variance: less is not worth a run


def count(value: float) -> str:
    """1.4e12 -> '1.4T': parameters and tokens as the field writes them."""
    return quantity(value).replace(" ", "").replace("G", "B")


def span(ends: Ends, shown: str = ".4g") -> str:
    return "-" if math.isnan(ends[0]) else f"{ends[0]:{shown}} to {ends[1]:{shown}}"


def law_text(law: Law) -> str:
    intervals = law.intervals()
    rows = [["parameter", "value", f"{LEVEL:.0%} interval"]]
    rows += [[name, f"{value:.5g}", span(intervals[name])] for name, value in law.parameters.items()]
    lines = [f"{law.form.name}: {law.form.equation}", law.source, law.method, "", align(rows)]
    return "\n".join(lines + [f"note: {note}" for note in law.notes])


def optima_text(optima: list[Optimum]) -> str:
    rows = [["compute", "parameters", "", "tokens", "", "tokens/param", "loss", ""]]
    for best in optima:
        rows.append(
            [
                f"{best.flops:.3g}",
                count(best.params),
                count_span(best.params_range),
                count(best.tokens),
                count_span(best.tokens_range),
                f"{best.tokens / best.params:.3g}",
                f"{best.loss:.4f}",
                span(best.loss_range, ".4f"),
            ]
        )
    lines = [align(rows)]
    for best in optima:
        lines += [f"warning: at {best.flops:.3g} FLOPs {line}" for line in best.warnings]
    return "\n".join(lines)


def count_span(ends: Ends) -> str:
    return "-" if math.isnan(ends[0]) else f"{count(ends[0])} to {count(ends[1])}"


def held_text(held: list[Held], spread: Ends, flops: float, least_flops: float) -> str:
    """`held` is not empty; `spread`: least and most loss of the forms at `flops`."""
    rows = [["form", "mean error", "worst error", f"inside {LEVEL:.0%}"]]
    rows += [
        [entry.form, f"{entry.mean_error:+.2%}", f"{entry.worst_error:+.2%}", f"{entry.inside} of {entry.runs}"]
        for entry in held
    ]
    return "\n".join(
        [
            f"fitted without the {held[0].runs} runs of most compute ({least_flops:.3g} FLOPs and more), and asked about them:",
            align(rows),
            f"at {flops:.3g} FLOPs these forms, fitted to all points, say {spread[0]:.4f} to {spread[1]:.4f}",
        ]
    )


def proposal_text(found: Proposal) -> str:
    rows = [["", "parameters", "tokens", "FLOPs", "expected loss", "target known to"]]
    rows.append(["now", "", "", "", "", f"+-{found.before:.2%}"])
    rows.append(candidate_row("next run", found.best))
    if found.most != found.best:
        rows.append(candidate_row("narrows most", found.most))
    target = f"target: {count(found.target_params)} parameters on {count(found.target_tokens)} tokens"
    return "\n".join([f"{target}, predicted loss {found.target_loss:.4f}", "", align(rows), "", reason(found)])


def candidate_row(name: str, run: Candidate) -> list[str]:
    sizes = [count(run.params), count(run.tokens), f"{run.flops:.3g}"]
    return [name, *sizes, f"{run.loss:.4f}", f"+-{run.after:.2%}"]


def reason(found: Proposal) -> str:
    gain = 1 - found.best.after**2 / found.before**2
    line = (
        f"the next run takes {gain:.0%} of the variance at the target (one standard deviation is shown): the most per FLOP "
        "among the runs that take at least half of what the budget can"
    )
    if gain < LITTLE:
        line += "\nno single run in this budget tells much more about the target: runs nearer to its compute would"
    return line


def isoflop_text(found: IsoFlop) -> str:
    rows = [["compute", "points", "parameters", "tokens", "loss", ""]]
    for m in found.minima:
        outside = "" if m.inside else "beyond its points"
        rows.append([f"{m.flops:.3g}", str(m.points), count(m.params), count(m.tokens), f"{m.loss:.4f}", outside])
    bias = found.bias
    lines = [align(rows), *(f"left out: {line}" for line in found.skipped), ""]
    lines += [power_text(found.tokens), power_text(found.params), ""]
    lines += [
        "bias of the parabolas: on noise-free losses of the law fitted to these points",
        f"  ({', '.join(parameters_of(found.law))})",
        f"  they find tokens ~ C^{bias.exponent:.4f} where the law has C^{bias.true_exponent:.4f}: "
        f"{bias.at_largest - 1:+.1%} tokens at the largest budget, {bias.beyond - 1:+.1%} at {BEYOND:g} times it",
    ]
    return "\n".join(lines)


def parameters_of(law: Law) -> list[str]:
    return [f"{name} {value:.4g}" for name, value in law.parameters.items()]


def power_text(law: PowerLaw) -> str:
    """The law, and its intervals where it was fitted."""
    if not law.intervals:
        return f"{law}   ({law.source})"
    parts = [f"{name} {span(ends)}" for name, ends in law.intervals.items()]
    return f"{law}   ({LEVEL:.0%}: {'; '.join(parts)})"


def isoflop_json(found: IsoFlop) -> dict[str, Any]:
    values = {name: getattr(found, name) for name in ("minima", "tokens", "params", "bias", "skipped")}
    return {**plain_json(values), "law": law_json(found.law)}


def rates_text(found: dict[str, Any]) -> str:
    """The sweeps' bests beside what published laws say there, and the fitted law."""
    blocks = []
    for name, entry in found.items():
        rows = [["parameters", "tokens", name.replace("_", " "), *entry["published"]]]
        for best in entry["bests"]:
            known = {"params": best.params, "tokens": best.tokens, "flops": 6 * best.params * best.tokens}
            others = [law(**{key: known[key] for key in law.exponents}) for law in entry["published"].values()]
            shown = f"{best.value:.4g}" + ("" if best.inside else " (at the edge of its sweep)")
            rows.append([count(best.params), count(best.tokens), shown, *(f"{value:.4g}" for value in others)])
        published = [power_text(law) for law in entry["published"].values()]
        blocks.append("\n".join([align(rows), "", power_text(entry["law"]), *published]))
    return "\n\n".join(blocks)


def law_json(law: Law) -> dict[str, Any]:
    return {
        "form": law.form.name,
        "equation": law.form.equation,
        "source": law.source,
        "method": law.method,
        "parameters": law.parameters,
        "intervals": {name: none_if_nan(ends) for name, ends in law.intervals().items()},
        "fitted": asdict(law.fitted) if law.fitted else None,
        "notes": list(law.notes),
    }


def none_if_nan(ends: Ends) -> Ends | None:
    return None if math.isnan(ends[0]) else ends


def plain_json(value: Any) -> Any:
    """Dataclasses, tuples and NaN as JSON has them."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain_json(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {name: plain_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
