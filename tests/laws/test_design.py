"""The next run: what it is said to narrow, it narrows; and laws of rates come back from sweeps."""

import numpy as np
import pytest

from seedbed.errors import InputError
from seedbed.laws import PUBLISHED, Points
from seedbed.laws.design import next_run, variance_left
from seedbed.laws.fit import fit_law
from seedbed.laws.forms import CHINCHILLA, make_inputs
from seedbed.laws.rates import fit_rates, rates_report

TARGET = (7e10, 1.4e12)


def runs(params: list[float], tokens: list[float], noise: float, seed: int) -> Points:
    n, d = (x.ravel() for x in np.meshgrid(params, tokens))
    loss = PUBLISHED["besiroglu"].loss(n, d)
    return Points(
        make_inputs(n, d), loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n))), "made up"
    )


def test_variance_left_is_that_of_the_normal_posterior() -> None:
    draw = np.random.default_rng(0)
    mixed = draw.standard_normal((200_000, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    left = variance_left(mixed[:, :1], mixed[:, 1], noise=0.5)
    assert left[0] == pytest.approx(1 - 0.6**2 / 1.5, rel=0.02)


def test_the_proposed_run_narrows_the_prediction_once_it_is_made() -> None:
    points = runs([1e8, 3e8, 1e9], [4e9, 1e10, 3e10], 0.003, 0)
    law = fit_law(points, CHINCHILLA, bootstraps=400)
    found = next_run(law, 1e21, *TARGET)
    assert found.best.flops <= 1e21 and found.best.after < found.before
    assert found.before**2 - found.best.after**2 >= 0.5 * (found.before**2 - found.most.after**2)

    def spread_after(params: float, tokens: float) -> float:
        """Standard deviation of the target once four such runs are among the points."""
        more = runs([params] * 4, [tokens], 0.003, 1)
        n = np.concatenate([points.inputs.params, more.inputs.params])
        d = np.concatenate([points.inputs.tokens, more.inputs.tokens])
        both = Points(make_inputs(n, d), np.concatenate([points.loss, more.loss]), "both")
        again = fit_law(both, CHINCHILLA, bootstraps=400, calibrate=False)
        return float(np.std(again.form.log_loss(again.draws, make_inputs(*TARGET))))

    middle = spread_after(3e8, 1e10)  # where the points are thick already
    assert spread_after(found.most.params, found.most.tokens) < middle


def test_more_budget_never_narrows_less() -> None:
    law = fit_law(runs([1e8, 3e8, 1e9], [4e9, 1e10, 3e10], 0.003, 0), CHINCHILLA, bootstraps=200)
    after = [next_run(law, budget, *TARGET).most.after for budget in (1e19, 1e20, 1e21, 1e22)]
    assert after == sorted(after, reverse=True)
    with pytest.raises(InputError, match="--budget"):
        next_run(law, 1e15, *TARGET)
    with pytest.raises(InputError, match="--bootstrap"):
        next_run(PUBLISHED["chinchilla"], 1e21, *TARGET)


def test_a_law_of_learning_rates_comes_back_from_sweeps() -> None:
    n, d, lr, loss = [], [], [], []
    for params, tokens in ((1e8, 1e10), (3e8, 1e10), (1e9, 2e10), (1e9, 1e11), (3e9, 3e10)):
        best = 1.79 * params**-0.713 * tokens**0.307
        for times in (0.25, 0.5, 1, 2, 4):
            n.append(params)
            d.append(tokens)
            lr.append(best * times)
            loss.append(3.0 + 0.02 * np.log(times) ** 2)
    points = Points(make_inputs(np.array(n), np.array(d)), np.array(loss), "sweeps", {"learning_rate": np.array(lr)})
    bests, law = fit_rates(points, "learning_rate")
    assert len(bests) == 5 and all(best.inside for best in bests)
    assert law.factor == pytest.approx(1.79, rel=1e-6)
    assert law.exponents == pytest.approx({"params": -0.713, "tokens": 0.307})
    assert rates_report(points)["learning_rate"]["published"]["step"](params=1e9, tokens=2e10) == pytest.approx(
        bests[2].value
    )
    with pytest.raises(InputError, match="2 sweeps"):
        fit_rates(points.take(np.arange(10)), "learning_rate")
    with pytest.raises(InputError, match="batch_tokens"):
        fit_rates(points, "batch_tokens")
