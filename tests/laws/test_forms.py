"""Forms: gradients against finite differences, and published laws against the figures their papers print."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.laws import LEARNING_RATES, OPTIMA, PUBLISHED
from seedbed.laws.forms import FORMS, make_inputs


@pytest.mark.parametrize("name", FORMS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_gradients_are_exact(name: str, seed: int) -> None:
    form = FORMS[name]
    draw = np.random.default_rng(seed)
    params, tokens = np.exp(draw.uniform(12, 26, 6)), np.exp(draw.uniform(14, 30, 6))
    unique = np.exp(draw.uniform(14, 28, 6))
    inputs = make_inputs(params, tokens, unique, draw.uniform(1, 128, 6), draw.uniform(0.01, 1, 6))
    theta = form.starts(inputs, np.log(draw.uniform(1, 6, 6)))
    theta = theta[draw.integers(0, len(theta), 3)] + draw.uniform(-0.05, 0.05, (3, theta.shape[1]))
    _, gradient = form.evaluate(theta, inputs)
    for index in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[index] = 1e-6
        slope = (form.log_loss(theta + step, inputs) - form.log_loss(theta - step, inputs)) / 2e-6
        np.testing.assert_allclose(gradient[..., index], slope, rtol=1e-5, atol=1e-6)


def test_the_published_value_of_the_repetition_law() -> None:
    # value computed by the code that Muennighoff et al. 2023 released, for Galactica's shape on 25B unique tokens
    assert PUBLISHED["muennighoff"].loss(6.34e9, 242e9, unique_tokens=25e9) == pytest.approx(2.22564409, abs=1e-6)


def test_four_epochs_are_nearly_as_good_as_new_text() -> None:
    law = PUBLISHED["muennighoff"]
    new, four, forty = (law.loss(8.7e9, 178e9, unique_tokens=178e9 / epochs) for epochs in (1, 4, 40))
    assert (four - new) / new < 0.01  # their runs: +0.5% (Muennighoff et al. 2023, figure 1); their law: +0.7%
    assert forty > four > new


# Ludziejewski et al. 2025, table 4: the joint law at E experts is m N^mu + n D^nu + 1.3637
REDUCED = {
    1: (30.3640, -0.1817, 53.9838, -0.1965),
    2: (27.7982, -0.1780, 66.8401, -0.2065),
    8: (21.8330, -0.1676, 119.9126, -0.2338),
    32: (16.5424, -0.1557, 234.6726, -0.2652),
}


@pytest.mark.parametrize("experts", REDUCED)
def test_the_law_with_experts_reduces_to_the_paper_s_table(experts: int) -> None:
    m, mu, n, nu = REDUCED[experts]
    for params, tokens in ((1e8, 1e10), (1e9, 2e10), (2.7e9, 1e11)):
        expected = m * params**mu + n * tokens**nu + 1.3637
        assert PUBLISHED["ludziejewski"].loss(params, tokens, experts=experts) == pytest.approx(expected, abs=2e-3)


def test_published_optima() -> None:
    assert OPTIMA["llama3"][0](flops=3.8e25) == pytest.approx(16.55e12, rel=0.03)  # Llama 3, section 3.2.1
    tokens, per_token = OPTIMA["deepseek"]
    assert tokens(flops=1e24) * per_token(flops=1e24) == pytest.approx(1e24, rel=0.02)
    assert LEARNING_RATES["step"](params=1e9, tokens=1e11) == pytest.approx(1.79 * 1e9**-0.713 * 1e11**0.307)


def test_the_grid_s_optimum_is_the_closed_form_s() -> None:
    law = PUBLISHED["chinchilla"]
    p = law.parameters
    ratio = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / (p["alpha"] + p["beta"]))
    for flops in (1e15, 5.76e23, 1e27):
        expected = ratio * (flops / 6) ** (p["beta"] / (p["alpha"] + p["beta"]))
        found = law.optimum(flops)
        assert found.params == pytest.approx(expected, rel=1e-3)
        assert found.loss == pytest.approx(law.loss(expected, flops / 6 / expected), rel=1e-6)
        assert 6 * found.params * found.tokens == pytest.approx(flops)


def test_every_published_law_names_its_source_and_falls_with_scale() -> None:
    for law in PUBLISHED.values():
        assert law.source
        extra = {"unique_tokens": 1e13, "experts": 8.0, "active_fraction": 0.25}
        known = {name: extra[name] for name in law.form.columns}
        small, large = law.loss(1e8, 1e10, **known), law.loss(1e10, 1e12, **known)
        assert 1 < large < small < 6


def test_beyond_the_points_a_law_warns_and_its_interval_widens() -> None:
    law = PUBLISHED["besiroglu"]
    inside, beyond = law.predict(1e9, 2e10), law.predict(1e12, 2e13)
    assert inside.warnings == ()
    assert any("compute" in line for line in beyond.warnings)
    width = [(p.high - p.low) / p.loss for p in (inside, beyond)]
    assert inside.low < inside.loss < inside.high and width[1] > 1.5 * width[0]
    assert any("tokens per parameter" in line for line in law.predict(1e8, 1e12).warnings)
    assert np.isnan(PUBLISHED["chinchilla"].predict(1e9, 2e10).low)
