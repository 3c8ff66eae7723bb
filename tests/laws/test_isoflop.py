"""IsoFLOP analysis: Llama 3's published optimum, and the bias of parabolas, which noise-free points show."""

from pathlib import Path

import numpy as np
import pytest

from seedbed.errors import InputError
from seedbed.laws import Law, Points, read_points
from seedbed.laws.forms import CHINCHILLA, make_inputs
from seedbed.laws.isoflop import analyse
from seedbed.laws.law import FittedRange

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "laws"


def isoflop_points(law: Law, span: float, center: float = 1.0) -> Points:
    """Seven sizes a budget, from 1/span to span times `center` times the optimum, without noise."""
    params, tokens = [], []
    for flops in np.geomspace(1e18, 1e21, 7):
        best = law.optimum(flops).params
        sizes = best * center * np.geomspace(1 / span, span, 7)
        params.append(sizes)
        tokens.append(flops / 6 / sizes)
    n, d = np.concatenate(params), np.concatenate(tokens)
    return Points(make_inputs(n, d), law.loss(n, d), "synthetic")


def law_of(alpha: float, beta: float) -> Law:
    theta = CHINCHILLA.theta({"E": 1.8, "A": 400.0, "B": 2000.0, "alpha": alpha, "beta": beta})
    some = (1.0, 2.0)
    return Law(CHINCHILLA, theta, np.zeros((0, 5)), np.zeros(0), FittedRange(some, some, some, some), "made up")


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is absent")
def test_llama_3_s_points_give_its_published_law() -> None:
    points = read_points(DATA / "extract_llama_3_isoflops.csv", ["condition=raw_loss"])
    found = analyse(points)
    assert found.tokens.factor == pytest.approx(0.299, abs=0.003)
    assert found.tokens.exponents["flops"] == pytest.approx(0.537, abs=0.001)
    assert len(found.minima) == 10 and found.skipped == ()


def test_parabolas_are_right_on_even_sides_and_biased_on_uneven_ones() -> None:
    """arXiv 2603.22339: with alpha = beta about the optimum the vertex is exact; unlike sides move it, the more the wider."""
    even = analyse(isoflop_points(law_of(0.35, 0.35), 10)).bias
    assert even.at_largest == pytest.approx(1, abs=0.005) and even.exponent == pytest.approx(0.5, abs=1e-3)
    near, wide = (analyse(isoflop_points(law_of(0.6, 0.3), span)).bias for span in (2, 30))
    assert abs(np.log(near.at_largest)) < abs(np.log(wide.at_largest))
    assert abs(np.log(wide.at_largest)) > 0.1


def test_the_stated_bias_is_the_error_on_noise_free_points() -> None:
    law = law_of(0.6, 0.3)
    found = analyse(isoflop_points(law, 10, center=2))
    error = found.minima[-1].tokens / law.optimum(found.minima[-1].flops).tokens
    assert found.bias.at_largest == pytest.approx(error, rel=0.03)
    assert found.bias.true_exponent == pytest.approx(0.6 / 0.9, rel=0.01)


def test_points_that_are_no_isoflops_are_refused() -> None:
    draw = np.random.default_rng(0)
    n, d = np.exp(draw.uniform(17, 22, 20)), np.exp(draw.uniform(21, 25, 20))
    with pytest.raises(InputError, match=r"budgets with 4 points.*runs of equal compute"):
        analyse(Points(make_inputs(n, d), law_of(0.3, 0.3).loss(n, d), "scattered"))


def test_a_budget_with_few_different_tokens_bends_no_parabola() -> None:
    points = isoflop_points(law_of(0.35, 0.35), 10)
    largest = points.inputs.params * points.inputs.tokens
    at = largest > 0.999 * largest.max()  # the last budget: all its runs but one at one size
    params = np.where(
        at & (np.arange(len(at)) > np.flatnonzero(at)[0]), points.inputs.params[at][-1], points.inputs.params
    )
    tokens = points.inputs.params * points.inputs.tokens / params
    found = analyse(Points(make_inputs(params, tokens), law_of(0.35, 0.35).loss(params, tokens), "repeated"))
    assert len(found.skipped) == 1 and "2 different numbers of tokens, fewer than 4" in found.skipped[0]
