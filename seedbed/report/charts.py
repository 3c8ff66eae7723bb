"""The page's charts as plain Plotly figures. Colours are names (`c0`, `ink`, ...) that the page's script looks up."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seedbed.run.events import scores_of

MAX_POINTS = 900  # a chart is at most 1,200 pixels wide
AXES = ("tokens", "seconds", "flops")
NUM_COLOURS = 8


def loss_chart(steps: list[dict[str, Any]], losses: Any, transformer_losses: Any = None) -> dict[str, Any]:
    """Training loss in nats per token: each step (thinned), and the running mean over a fortieth of the run.

    `transformer_losses`, where they differ, are the transformer's without its n-gram expert.
    """
    if losses is not None and len(losses):
        values = np.asarray(losses, dtype=np.float64)
        at_steps = np.arange(1, len(values) + 1, dtype=np.float64)
    else:
        values = np.array([step["loss"] for step in steps], dtype=np.float64)
        at_steps = np.array([step["step"] for step in steps], dtype=np.float64)
    keep = thin(len(values))
    axes = {name: interpolate(steps, name, at_steps[keep]) for name in AXES}
    span = max(1, len(values) // 40)
    traces = [{**line("each step", values[keep], axes, "faint", width=1), "showlegend": False}]
    alone = None if transformer_losses is None else np.asarray(transformer_losses, dtype=np.float64)
    if alone is not None and len(alone) == len(values) and not np.array_equal(alone, values, equal_nan=True):
        traces.append(line("transformer alone", running_mean(alone, span)[keep], axes, "c1", width=1.8))
    traces.append(line("the model", running_mean(values, span)[keep], axes, "c0", width=2.2))
    return figure(traces, tickformat=".2f", legend=True)


def validation_chart(validations: list[dict[str, Any]], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores on held-out text over training, one line a domain; `all` is drawn strong."""
    scores = [scores_of(v)[1] for v in validations]
    at_steps = np.array([v["step"] for v in validations], dtype=np.float64)
    axes = {name: interpolate(steps, name, at_steps) for name in AXES}
    domains = [name for name in scores[-1] if name != "all"]
    series = [("all", "ink", 2.6), *((name, f"c{index % NUM_COLOURS}", 1.8) for index, name in enumerate(domains))]
    traces = []
    for name, colour, width in series:
        values = np.array([score.get(name, np.nan) for score in scores], dtype=np.float64)
        if np.isfinite(values).any():
            traces.append(line(name, values, axes, colour, width=width, markers=True))
    return figure(traces, tickformat=".2f", legend=True)


def rate_chart(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return single(steps, "lr", "learning rate", "c2", tickformat=".3~g", from_zero=True)


def throughput_chart(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return single(steps, "tokens_per_second", "tokens per second", "c1", tickformat=",.3~s", from_zero=True)


def mfu_chart(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return single(steps, "mfu", "model FLOPs utilisation", "c3", tickformat=".2~p", from_zero=True)


def lines_chart(entries: list[tuple[int, dict[str, float]]], steps: list[dict[str, Any]], log: bool) -> dict[str, Any]:
    """One line a name over (step, {name: value}); the y axis logarithmic where values span orders of magnitude."""
    entries = [entries[i] for i in thin(len(entries))]
    axes_at = np.array([step for step, _ in entries], dtype=np.float64)
    axes = {axis: interpolate(steps, axis, axes_at) for axis in AXES}
    names = dict.fromkeys(name for _, values in entries for name in values)
    traces = []
    for index, name in enumerate(names):
        found = np.array([values.get(name, np.nan) for _, values in entries], dtype=np.float64)
        traces.append(line(name, found, axes, f"c{index % NUM_COLOURS}", width=1.8, markers=len(entries) < 30))
    made = figure(traces, tickformat=".2~g", legend=True)
    if log:
        made["layout"]["yaxis"] |= {"type": "log"}
    return made


def single(
    steps: list[dict[str, Any]], field: str, title: str, colour: str, tickformat: str, from_zero: bool = False
) -> dict[str, Any]:
    shown = [step for step in steps if step.get(field) is not None]
    keep = thin(len(shown))
    axes = {name: np.array([shown[i][name] for i in keep], dtype=np.float64) for name in AXES}
    values = np.array([shown[i][field] for i in keep], dtype=np.float64)
    return figure([line(title, values, axes, colour, width=2)], tickformat=tickformat, from_zero=from_zero)


def figure(
    traces: list[dict[str, Any]], tickformat: str, legend: bool = False, from_zero: bool = False
) -> dict[str, Any]:
    """The page's captions say what the y axis holds; the page's script titles the x axis."""
    y_axis: dict[str, Any] = {"tickformat": tickformat, "zeroline": False, "automargin": True}
    if from_zero:
        y_axis["rangemode"] = "tozero"
    return {
        "data": traces,
        "layout": {
            "xaxis": {"tickformat": ".3~s", "zeroline": False, "rangemode": "tozero"},
            "yaxis": y_axis,
            "showlegend": legend,
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "hovermode": "x unified",
            "margin": {"l": 44, "r": 12, "t": 10, "b": 46},
        },
    }


def line(
    name: str, values: Any, axes: dict[str, Any], colour: str, width: float, markers: bool = False
) -> dict[str, Any]:
    """One line, of a single point a dot. `meta` holds its x values for each unit; the page switches between them."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if markers or np.isfinite(np.asarray(values, float)).sum() == 1 else "lines",
        "name": name,
        "x": numbers(axes["tokens"]),
        "y": numbers(values),
        "line": {"color": colour, "width": width},
        "marker": {"color": colour, "size": 5},
        "meta": {axis: numbers(x) for axis, x in axes.items()},
    }


def thin(count: int) -> Any:
    """At most MAX_POINTS indices, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_POINTS)).round().astype(np.int64))


def running_mean(values: Any, span: int) -> Any:
    """Mean of the `span` values around each, of fewer at both ends. What is not finite counts as the mean of all."""
    finite = np.where(
        np.isfinite(values), values, values[np.isfinite(values)].mean() if np.isfinite(values).any() else 0.0
    )
    sums = np.concatenate([[0.0], np.cumsum(finite)])
    at = np.arange(len(values))
    starts, ends = np.maximum(at - span // 2, 0), np.minimum(at + span // 2 + 1, len(values))
    return (sums[ends] - sums[starts]) / (ends - starts)


def interpolate(steps: Sequence[dict[str, Any]], field: str, at_steps: Any) -> Any:
    """`field` at the given steps, from the recorded ones; a straight line through zero before the first."""
    known = np.array([0.0, *(step["step"] for step in steps)])
    values = np.array([0.0, *(step[field] for step in steps)])
    return np.interp(at_steps, known, values)


def numbers(values: Any) -> list[float | None]:
    """Five digits are more than a screen shows; what is not finite becomes a gap."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in np.asarray(values, dtype=np.float64)]
