"""What a fit or an IsoFLOP analysis found, as one self-contained page: points, law and interval; where it errs; its tables."""

import math
from typing import Any

import numpy as np

from seedbed.laws.isoflop import BEYOND, IsoFlop, budgets_of
from seedbed.laws.law import LEVEL, Law, Optimum
from seedbed.laws.points import Points
from seedbed.laws.power import PowerLaw
from seedbed.laws.report import assumed
from seedbed.laws.text import count, count_span, span
from seedbed.report.document import document
from seedbed.report.figures import band, edge, layout, line, short
from seedbed.report.html import chart, esc, facts, section, table

CURVE_POINTS = 21  # of the best losses, from the least fitted compute to the most asked about
COLOURS = 8  # names c0 to c7 of the page's style
TOKENS_OF_A_PARABOLA = 31


def fit_page(law: Law, points: Points, report: dict[str, Any]) -> str:
    best: Optimum = report["optima"][-1]
    held = report["held_out"]
    interval = span(best.loss_range, ".4f")
    items = [
        ("points", f"{len(points)}", esc(name_of(points))),
        (f"loss at {best.flops:.3g} FLOPs", f"{best.loss:.4f}", f"{LEVEL:.0%} interval {interval}"),
        ("parameters there", count(best.params), count_span(best.params_range)),
        ("tokens there", count(best.tokens), count_span(best.tokens_range)),
    ]
    warned = "".join(f'<p class="lead">Warning: at {best.flops:.3g} FLOPs {esc(line)}.</p>' for line in best.warnings)
    eyebrow = f"Seedbed laws fit · {esc(law.form.name)}"
    header = f'<header><p class="eyebrow">{eyebrow}</p><h1>{esc(law.form.equation)}</h1>{warned}{facts(items)}</header>'
    parts = [
        section(
            "law", "Loss against compute", "Each run, and the least loss that the law gives at each compute.",
            chart("curve", "Runs and law", "colours: decades of parameters"),
        ),
        section(
            "errors", "Where it errs", "Measured over predicted loss of each run: a bend along compute is a form that is wrong.",
            chart("error", "Measured over predicted", "per cent"),
        ),
        parameters_section(law, points), optima_section(report["optima"]),
        held_section(held) if held else "",
    ]  # fmt: skip
    figures = {"curve": fit_figure(law, points, best.flops), "error": error_figure(law, points)}
    return document("Scaling law", header, parts, figures, "seedbed laws fit ...")


def fit_figure(law: Law, points: Points, most: float) -> dict[str, Any]:
    flops = np.geomspace(points.flops.min(), max(most, points.flops.max()), CURVE_POINTS)
    best = [law.optimum(float(c), **assumed(law, points)) for c in flops]
    compute = flops.tolist()
    data = []
    if all(map(math.isfinite, (end for b in best for end in b.loss_range))):
        data.append(
            band(compute, [b.loss_range[0] for b in best], [b.loss_range[1] for b in best], f"{LEVEL:.0%} interval")
        )
    data.append(line(compute, [b.loss for b in best], "least loss", "ink"))
    data += dots(points, points.flops, points.loss, "%{text}<br>loss %{y:.4f}<extra></extra>")
    figure = layout("compute, 6 N D, FLOP", "loss", log_x=True, y_format=".2f")
    shape, words = edge(
        float(points.flops.max()), float(points.loss.max()), "end of the points", (compute[0], compute[-1])
    )
    figure["shapes"] = [shape]
    return {"data": [*data, words], "layout": figure}


def error_figure(law: Law, points: Points) -> dict[str, Any]:
    predicted = law.loss(
        points.inputs.params, points.inputs.tokens, **{name: points.inputs.column(name) for name in law.form.columns}
    )
    errors = 100 * (points.loss / predicted - 1)
    data = dots(points, points.flops, errors, "%{text}<br>%{y:+.2f}%<extra></extra>")
    data.append(line([float(points.flops.min()), float(points.flops.max())], [0.0, 0.0], "as predicted", "muted"))
    return {"data": data, "layout": layout("compute, 6 N D, FLOP", "%", log_x=True, y_format="+.2~f")}


def dots(points: Points, x: Any, y: Any, hover: str) -> list[dict[str, Any]]:
    """The runs, a trace for each decade of parameters."""
    decade = np.floor(np.log10(points.inputs.params)).astype(int)
    made = []
    for number, power in enumerate(sorted(set(decade.tolist()))):
        at = np.flatnonzero(decade == power)
        text = [f"{count(points.inputs.params[i])} on {count(points.inputs.tokens[i])} tokens" for i in at]
        made.append(
            {"type": "scatter", "mode": "markers", "name": f"{count(10.0**power)} to {count(10.0 ** (power + 1))}",
             "x": short(x[at].tolist()), "y": short(y[at].tolist()), "text": text, "hovertemplate": hover,
             "marker": {"color": f"c{number % COLOURS}", "size": 6, "opacity": 0.8}}
        )  # fmt: skip
    return made


def name_of(points: Points) -> str:
    return points.origin.rsplit("/", 1)[-1]


def parameters_section(law: Law, points: Points) -> str:
    intervals = law.intervals()
    rows = [[esc(name), f"{value:.5g}", span(intervals[name])] for name, value in law.parameters.items()]
    lead = esc(f"{law.source.replace(points.origin, name_of(points))}. {law.method}.")
    return section("parameters", "Parameters", lead, table(["", "value", f"{LEVEL:.0%} interval"], rows, 2))


def optima_section(optima: list[Optimum]) -> str:
    rows = [
        [f"{best.flops:.3g}", with_span(count(best.params), count_span(best.params_range)),
         with_span(count(best.tokens), count_span(best.tokens_range)), f"{best.tokens / best.params:.3g}",
         with_span(f"{best.loss:.4f}", span(best.loss_range, ".4f"))]
        for best in optima
    ]  # fmt: skip
    warned = "".join(f"<li>at {best.flops:.3g} FLOPs {esc(each)}</li>" for best in optima for each in best.warnings)
    columns = ["compute, FLOP", "parameters", "tokens", "tokens a parameter", "loss"]
    lead = f"Of 6 N D, with {LEVEL:.0%} intervals."
    return section("optima", "Best splits", lead, table(columns, rows, 4), warned and f"<ul>{warned}</ul>")


def with_span(value: str, ends: str) -> str:
    return value if ends == "-" else f"{value}<br><small>{ends}</small>"


def held_section(held: dict[str, Any]) -> str:
    rows = [
        [esc(e.form), f"{e.mean_error:+.2%}", f"{e.worst_error:+.2%}", f"{e.inside} of {e.runs}"] for e in held["forms"]
    ]
    low, high = held["spread"]
    lead = (
        f"Fitted without the {held['forms'][0].runs} runs of most compute ({held['from_flops']:.3g} FLOPs and more), and asked "
        f"about them. At {held['at_flops']:.3g} FLOPs these forms, fitted to all points, say {low:.4f} to {high:.4f}."
    )
    return section(
        "forms", "Other forms", lead, table(["form", "mean error", "worst error", f"inside {LEVEL:.0%}"], rows, 3)
    )


def isoflop_page(found: IsoFlop, points: Points) -> str:
    bias, largest = found.bias, max(m.flops for m in found.minima)
    beyond = f"of tokens at {largest:.3g} FLOPs, {bias.beyond - 1:+.1%} at {BEYOND:g} times that"
    items = [
        ("budgets", str(len(found.minima)), f"{len(found.skipped)} left out"),
        ("best tokens", f"C^{found.tokens.exponents['flops']:.3f}", esc(ends_of_power(found.tokens))),
        ("best parameters", f"C^{found.params.exponents['flops']:.3f}", esc(ends_of_power(found.params))),
        ("bias of the parabolas", f"{bias.at_largest - 1:+.1%}", beyond),
    ]
    eyebrow = f"Seedbed laws isoflop · {esc(name_of(points))}"
    header = f'<header><p class="eyebrow">{eyebrow}</p><h1>Best {esc(str(found.tokens))}</h1>{facts(items)}</header>'
    rows = [
        [
            f"{m.flops:.3g}",
            str(m.points),
            count(m.params),
            count(m.tokens),
            f"{m.loss:.4f}",
            "" if m.inside else "beyond its points",
        ]
        for m in found.minima
    ]
    left = "".join(f"<li>left out: {esc(each)}</li>" for each in found.skipped)
    listed = table(["compute, FLOP", "points", "parameters", "tokens", "loss", ""], rows, 6)
    curves, power = chart("curves", "Loss against tokens", "a colour a budget"), chart("power-law", "Best tokens")
    lead = "A parabola in log tokens through each budget; its least loss is the open ring."
    parts = [
        section("budgets", "Runs of equal compute", lead, curves),
        section("power", "Best tokens against compute", "The minima, and the power law through them.", power),
        section("minima", "Minima", "Of the parabolas.", listed, f"<ul>{left}</ul>" if left else ""),
    ]
    figures = {"curves": budget_figure(found, points), "power-law": power_figure(found)}
    return document("IsoFLOP", header, parts, figures, "seedbed laws isoflop ...")


def ends_of_power(law: PowerLaw) -> str:
    ends = (law.intervals or {}).get("flops")
    return f"{LEVEL:.0%} interval {span(ends)}" if ends else "no interval"


def budget_figure(found: IsoFlop, points: Points) -> dict[str, Any]:
    minima = {m.flops: m for m in found.minima}
    data: list[dict[str, Any]] = []
    for number, (flops, rows) in enumerate((f, r) for f, r in budgets_of(points) if f in minima):
        own, colour = points.take(rows), f"c{number % COLOURS}"
        log_d = np.log(own.inputs.tokens)
        middle = float(log_d.mean())
        curve = np.poly1d(np.polyfit(log_d - middle, own.loss, 2))
        along = np.linspace(log_d.min(), log_d.max(), TOKENS_OF_A_PARABOLA)
        name = f"{flops:.2g}"
        data.append(line(np.exp(along).tolist(), curve(along - middle).tolist(), name, colour))
        text = [f"{count(n)} on {count(d)} tokens" for n, d in zip(own.inputs.params, own.inputs.tokens, strict=True)]
        data.append(
            {"type": "scatter", "mode": "markers", "x": short(own.inputs.tokens.tolist()), "y": short(own.loss.tolist()),
             "text": text, "hovertemplate": "%{text}<br>loss %{y:.4f}<extra>" + name + "</extra>",
             "marker": {"color": colour, "size": 5}, "showlegend": False}
        )  # fmt: skip
    data.append(
        {"type": "scatter", "mode": "markers", "name": "minima", "x": short([m.tokens for m in found.minima]),
         "y": short([m.loss for m in found.minima]), "hovertemplate": "%{x:.3g} tokens, %{y:.4f}<extra>minimum</extra>",
         "marker": {"color": "ink", "size": 10, "symbol": "circle-open", "line": {"width": 2, "color": "ink"}}}
    )  # fmt: skip
    return {"data": data, "layout": layout("tokens", "loss", log_x=True, y_format=".2f", x_format=".2~s")}


def power_figure(found: IsoFlop) -> dict[str, Any]:
    flops = [m.flops for m in found.minima]
    ends = np.geomspace(min(flops), BEYOND * max(flops), 9)
    scale = [float(found.tokens(flops=float(c))) for c in ends]
    optima = [found.law.optimum(float(c)).tokens for c in ends]
    data = [
        line(ends.tolist(), scale, "power law of the minima", "c0"),
        line(ends.tolist(), optima, "law fitted to the same points", "c2"),
        {"type": "scatter", "mode": "markers", "name": "minima", "x": short(flops), "y": short([m.tokens for m in found.minima]),
         "marker": {"color": "c1", "size": 9}, "hovertemplate": "%{x:.3g} FLOP: %{y:.3g} tokens<extra></extra>"},
    ]  # fmt: skip
    figure = layout("compute, FLOP", "tokens", log_x=True, y_format=".1~s")
    figure["yaxis"] |= {"type": "log", "dtick": 1}
    return {"data": data, "layout": figure}
