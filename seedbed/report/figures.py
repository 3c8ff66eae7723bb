"""Pieces of figures as plain Plotly values. Colours are names (`c0`, `ink`, ...) that the page's script looks up."""

import math
from typing import Any


def line(x: list[Any], y: list[float], name: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": x,
        "y": short(y),
        "mode": "lines",
        "name": name,
        "line": {"color": colour, "width": 2.4},
    }


def layout(
    x_title: str, y_title: str, log_x: bool = False, y_format: str = "", x_format: str = ".1~e"
) -> dict[str, Any]:
    x_axis: dict[str, Any] = {"title": {"text": x_title}}
    if log_x:
        x_axis |= {"type": "log", "tickformat": x_format, "dtick": 1}
    return {"xaxis": x_axis, "yaxis": {"title": {"text": y_title}, "tickformat": y_format}, "hovermode": "closest"}


def short(values: list[float]) -> list[float | None]:
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values]


def band(x: list[float], low: list[float], high: list[float], name: str) -> dict[str, Any]:
    """The area between two lines."""
    return {
        "type": "scatter", "x": x + x[::-1], "y": short(high + low[::-1]), "fill": "toself", "fillcolor": "accent-soft",
        "mode": "none", "name": name, "hoverinfo": "skip", "line": {"color": "accent-soft"},
    }  # fmt: skip


def edge(at: float, height: float, text: str, ends: tuple[float, float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(a shape, a trace): an upright dotted line at `at` of a logarithmic axis with these ends, its words on the wider side."""
    wider_left = at * at > ends[0] * ends[1]
    shape = {
        "type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "muted", "dash": "dot"}
    }  # fmt: skip
    words = {
        "type": "scatter", "x": [at], "y": [height], "mode": "text", "text": [f" {text} "],
        "textposition": "middle left" if wider_left else "middle right",
        "showlegend": False, "hoverinfo": "skip",
    }  # fmt: skip
    return shape, words
