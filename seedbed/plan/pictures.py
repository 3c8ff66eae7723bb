"""Figures of an answer as plain Plotly values. Colours are names (`c0`, `ink`, ...) that the page's script looks up."""

import math
from typing import Any

import numpy as np

from seedbed.plan.losses import LossModel
from seedbed.plan.question import Asked
from seedbed.report.figures import band, edge, layout, line, short

CURVE_POINTS = 41
CURVE_DECADES = (-3.0, 1.5)  # about the plan's compute
KINDS = {"compute-optimal dense": "c0", "over-trained dense": "c1"}


def loss_curve(losses: LossModel, flops: float) -> dict[str, Any]:
    """Least loss at each compute about the plan's, with the law's interval, and where the fitted points end."""
    compute = flops * 10.0 ** np.linspace(*CURVE_DECADES, CURVE_POINTS)
    sizes = 10.0 ** np.arange(5.0, 13.01, 0.04)
    tokens = compute[:, None] / 6 / sizes[None, :]
    found = np.asarray(losses.loss(np.broadcast_to(sizes, tokens.shape), tokens))
    at = found.argmin(-1)
    best, its_tokens = sizes[at], tokens[np.arange(len(at)), at]
    asked, extra = losses.asked(best, its_tokens, 1)
    predicted = losses.law.predict(asked, its_tokens, **extra)
    fitted = losses.law.fitted
    return {
        "flops": compute.tolist(),
        "loss": np.asarray(predicted.loss).tolist(),
        "low": known(predicted.low),
        "high": known(predicted.high),
        "active_parameters": best.tolist(),
        "fitted_flops": list(fitted.flops) if fitted else None,
    }


def known(values: Any) -> list[float] | None:
    found = np.asarray(values, dtype=float)
    return found.tolist() if np.isfinite(found).all() else None


def grid_table(asked: Asked, kwh: dict[str, float | None], litres_site: float | None) -> list[dict[str, Any]]:
    """The plan's carbon and water if it ran in each region of the table."""
    whole = kwh["facility"]
    if whole is None:
        return []
    rows = []
    for code, row in asked.setting.tables.grids.items():
        litres = (litres_site or 0.0) + whole * row["litres_kwh"]
        rows.append({"code": code, "name": row.get("name", code), "kg": whole * row["kg_co2_kwh"], "litres": litres})
    return rows


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """By the name of their place on the page."""
    made = {"curve": curve_figure(found["curve"], found["best"]), "front": front_figure(found["pareto"], found["best"])}
    if found.get("life"):
        made["life"] = life_figure(found["life"])
    if found.get("payback"):
        made["payback"] = payback_figure(found["payback"])
    if found["grids"]:
        made["grids"] = grid_figure(found["grids"], found["best"]["region"])
    return made


def curve_figure(curve: dict[str, Any], best: dict[str, Any]) -> dict[str, Any]:
    data = []
    if curve["low"]:
        data.append(band(curve["flops"], curve["low"], curve["high"], "90% interval"))
    data.append(line(curve["flops"], curve["loss"], "least loss", "c0"))
    interval = best["loss"]
    error = {}
    if interval["low"] is not None and interval["low"] == interval["low"]:
        arrays = {"array": [interval["high"] - interval["value"]], "arrayminus": [interval["value"] - interval["low"]]}
        error = {"error_y": {"type": "data", "symmetric": False, **arrays, "color": "c1"}}
    data.append(
        {"type": "scatter", "x": [best["flops"]], "y": [interval["value"]], "mode": "markers", "name": "this plan",
         "marker": {"color": "c1", "size": 11}, **error}
    )  # fmt: skip
    figure = layout("compute of the final run, FLOP", best["loss"]["unit"], log_x=True, y_format=".2f")
    if curve["fitted_flops"]:
        shape, words = edge(
            curve["fitted_flops"][1],
            max(curve["loss"]),
            "end of the fitted points",
            (curve["flops"][0], curve["flops"][-1]),
        )
        figure["shapes"] = [shape]
        data.append(words)
    return {"data": data, "layout": figure}


def front_figure(rows: list[dict[str, Any]], best: dict[str, Any]) -> dict[str, Any]:
    text = [
        f"{r['active_parameters'] / 1e9:.3g}B, {r['tokens'] / 1e9:.3g}B tokens<br>{r['devices']} x {r['chip']}, "
        f"{r['days']:.2g} days<br>{r['region']}"
        for r in rows
    ]
    days = [math.log10(max(r["days"], 1e-3)) for r in rows]
    ticks = list(range(math.floor(min(days)), math.ceil(max(days)) + 1))
    marker = {
        "size": 7, "color": short(days), "colorscale": "Viridis", "opacity": 0.85,
        "colorbar": {"title": {"text": "days"}, "tickvals": ticks, "ticktext": [f"{10.0**t:g}" for t in ticks], "thickness": 10},
    }  # fmt: skip
    data = [
        {"type": "scatter", "x": short([r["usd"] for r in rows]), "y": short([r["loss"] for r in rows]), "mode": "markers",
         "marker": marker, "text": text, "hovertemplate": "%{text}<br>$%{x:,.0f}, %{y:.3f}<extra></extra>", "showlegend": False},
        {"type": "scatter", "x": [best["usd"]["value"]], "y": [best["loss"]["value"]], "mode": "markers", "name": "this plan",
         "marker": {"color": "c1", "size": 13, "symbol": "circle-open", "line": {"width": 3, "color": "c1"}}},
    ]  # fmt: skip
    return {
        "data": data,
        "layout": layout(
            "dollars of the programme", best["loss"]["unit"], log_x=True, y_format=".2f", x_format="$.2~s"
        ),
    }


def life_figure(life: dict[str, Any]) -> dict[str, Any]:
    months = list(range(life["months"] + 1))
    data = [
        line(months, [0.0, *life["serving"]["usd"]], "serving, summed", "c1"),
        line([0, life["months"]], [life["training"]["usd"]] * 2, "training, once", "c0"),
    ]
    crossing = life["crossover"]["usd"]
    if crossing is not None:
        data.append(
            {"type": "scatter", "x": [crossing], "y": [life["training"]["usd"]], "mode": "markers", "name": "crossover",
             "marker": {"color": "ink", "size": 10}}
        )  # fmt: skip
    return {"data": data, "layout": layout("months of serving", "dollars", y_format="$.2~s")}


def payback_figure(found: dict[str, Any]) -> dict[str, Any]:
    names = sorted({c["kind"] for row in found["cheapest_first"] for c in row}, key=lambda n: ("dense" not in n, n))
    data = []
    for index, name in enumerate(names):
        points = [
            (tokens, c["usd"], c["active"])
            for tokens, row in zip(found["tokens_day"], found["cheapest_first"], strict=True)
            for c in row
            if c["kind"] == name
        ]
        trace = line([p[0] for p in points], [p[1] for p in points], name, KINDS.get(name, f"c{2 + index}"))
        trace["text"] = [f"{p[2] / 1e9:.3g}B active" for p in points]
        trace["hovertemplate"] = "%{text}, $%{y:,.0f}"
        data.append(trace)
    figure = layout("tokens served a day", "dollars with training", log_x=True, y_format="$.2~s", x_format=".2~s")
    figure["yaxis"] |= {"type": "log", "dtick": 1}
    return {"data": data, "layout": figure}


def grid_figure(rows: list[dict[str, Any]], region: str) -> dict[str, Any]:
    def points(chosen: list[dict[str, Any]], colour: str, size: int, name: str) -> dict[str, Any]:
        return {
            "type": "scatter", "x": short([r["kg"] / 1000 for r in chosen]), "y": short([r["litres"] / 1000 for r in chosen]),
            "mode": "markers+text", "text": [r["code"] for r in chosen], "textposition": "top center", "textfont": {"size": 10},
            "customdata": [r["name"] for r in chosen], "marker": {"color": colour, "size": size}, "name": name,
            "hovertemplate": "%{customdata}: %{x:.3g} t, %{y:.3g} m³<extra></extra>", "showlegend": False,
        }  # fmt: skip

    data = [points([r for r in rows if r["code"] != region], "c2", 7, "regions")]
    data.append(points([r for r in rows if r["code"] == region], "c1", 12, "this plan"))
    return {"data": data, "layout": layout("t CO2e, operational, location-based", "m³ of water, on site and off")}
