"""Charts are valid JSON with a value, or a gap, for every point."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.report import charts

STEPS = [
    {"step": s, "tokens": s * 10, "seconds": s / 2, "flops": s * 1e6, "loss": 5.0 - s / 100, "lr": 0.1}
    for s in (1, 50, 100)
]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=3000))
def test_any_losses_make_a_figure(losses: list[float]) -> None:
    figure = charts.loss_chart(STEPS, np.array(losses, dtype=np.float32))
    json.dumps(figure, allow_nan=False)
    raw = figure["data"][0]
    assert len(raw["x"]) == len(raw["y"]) <= charts.MAX_POINTS
    assert all(len(raw["meta"][axis]) == len(raw["x"]) for axis in charts.AXES)
    last = raw["y"][-1]
    assert last == pytest.approx(losses[-1], rel=1e-4) if math.isfinite(losses[-1]) else last is None


def test_a_run_of_one_step_shows_dots() -> None:
    made = [charts.loss_chart(STEPS[:1], np.ones(1)), charts.rate_chart(STEPS[:1])]
    assert all("markers" in trace["mode"] for figure in made for trace in figure["data"])
    assert charts.rate_chart(STEPS)["data"][0]["mode"] == "lines"


def test_the_transformer_alone_is_drawn_where_it_differs() -> None:
    def names(alone: np.ndarray | None) -> list[str]:
        return [trace["name"] for trace in charts.loss_chart(STEPS, np.ones(100), alone)["data"]]

    assert names(np.full(100, 2.0)) == ["each step", "transformer alone", "the model"]
    assert names(np.ones(100)) == names(None) == ["each step", "the model"]


def test_steps_between_records_lie_on_the_line_between_them() -> None:
    meta = charts.loss_chart(STEPS, np.zeros(100))["data"][0]["meta"]
    assert meta["tokens"] == [10.0 * step for step in range(1, 101)]
    assert meta["seconds"][:2] == [0.5, 1.0]


def test_the_running_mean_is_centred_and_shorter_at_the_ends() -> None:
    values = np.array([0.0, 3.0, 6.0, 9.0, 30.0])
    assert charts.running_mean(values, 3).tolist() == [1.5, 3.0, 6.0, 15.0, 19.5]


def test_one_bad_value_does_not_blank_the_mean() -> None:
    assert np.isfinite(charts.running_mean(np.array([1.0, np.nan, np.inf, 2.0]), 2)).all()


def test_thinning_keeps_both_ends() -> None:
    keep = charts.thin(1_000_000)
    assert keep[0] == 0 and keep[-1] == 999_999 and len(keep) == charts.MAX_POINTS
    assert charts.thin(3).tolist() == [0, 1, 2]


def test_a_domain_that_appears_late_has_gaps_before() -> None:
    looks = [{"step": 1, "bits_per_byte": {"all": 2.0}}, {"step": 50, "bits_per_byte": {"all": 1.9, "code": 2.5}}]
    traces = {trace["name"]: trace for trace in charts.validation_chart(looks, STEPS)["data"]}
    assert traces["code"]["y"] == [None, 2.5]
    assert traces["code"]["meta"]["seconds"] == [0.5, 25.0]
