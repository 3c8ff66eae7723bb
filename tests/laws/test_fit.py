"""The fit: golden values on published points, exactness on noise-free ones, its intervals, and the same numbers every time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.laws import PUBLISHED, Points, load_law, read_points
from seedbed.laws.compare import held_out_errors, pooled, spread_at, suited_forms
from seedbed.laws.fit import Outliers, best_fit, fit_law
from seedbed.laws.forms import CHINCHILLA, FORMS, KAPLAN, REPETITION, TIED, make_inputs

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "laws"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is absent")


def synthetic(noise: float = 0.0, seed: int = 0, sizes: int = 6, lengths: int = 6) -> Points:
    """Points of Besiroglu's law on a grid of sizes and lengths, with normal noise on log loss."""
    params, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(5e7, 5e9, sizes), np.geomspace(2e9, 2e11, lengths)))
    loss = PUBLISHED["besiroglu"].loss(params, tokens)
    loss = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(loss)))
    return Points(make_inputs(params, tokens), loss, "synthetic")


@pytest.fixture(scope="module")
def chinchilla_points() -> Points:
    return read_points(DATA / "chinchilla_points.csv")


@needs_data
def test_chinchilla_s_points_give_the_golden_values(chinchilla_points: Points) -> None:
    theta, _, share = best_fit(CHINCHILLA, Outliers(5).kept(chinchilla_points))
    found = {name: float(value) for name, value in CHINCHILLA.natural(theta).items()}
    assert found["E"] == pytest.approx(1.8172, abs=0.002)
    assert found["A"] == pytest.approx(477.8, rel=0.01)
    assert found["B"] == pytest.approx(2143, rel=0.03)
    assert found["alpha"] == pytest.approx(0.3473, abs=0.002)
    assert found["beta"] == pytest.approx(0.3672, abs=0.002)
    assert share == 1.0  # every start ends in the same minimum


@needs_data
def test_the_five_highest_losses_decide_beta(chinchilla_points: Points) -> None:
    theta, _, _ = best_fit(CHINCHILLA, chinchilla_points)
    assert theta[4] == pytest.approx(0.453, abs=0.005)


@needs_data
def test_the_worth_of_repetition_covers_the_published_one() -> None:
    points = read_points(DATA / "datablations_runs.csv")
    base = PUBLISHED["muennighoff"]
    fixed = frozenset({"E", "A", "B", "alpha"})
    law = fit_law(points, REPETITION, Outliers(20), 200, start=base.theta, fixed=fixed, calibrate=False)
    low, high = law.intervals()["R_D"]
    assert low < 15.388 < high < 200
    assert law.parameters["R_D"] == pytest.approx(15.388, rel=0.05)
    assert law.parameters["A"] == pytest.approx(base.parameters["A"])


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=8, deadline=None)
def test_noise_free_points_give_their_law_back(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = {"E": draw.uniform(1, 2.5), "alpha": draw.uniform(0.2, 0.6), "beta": draw.uniform(0.2, 0.6)}
    values["A"] = draw.uniform(0.2, 1) * 3e8 ** values["alpha"]
    values["B"] = draw.uniform(0.2, 1) * 1e10 ** values["beta"]
    theta = CHINCHILLA.theta(values)
    points = synthetic()
    loss = np.exp(CHINCHILLA.log_loss(theta, points.inputs)[0])
    found, _, _ = best_fit(CHINCHILLA, Points(points.inputs, loss, "exact"))
    for name, value in CHINCHILLA.natural(found).items():
        assert float(value) == pytest.approx(values[name], rel=2e-3)


@pytest.mark.parametrize("form", [TIED, KAPLAN], ids=lambda form: form.name)
def test_other_forms_give_their_law_back(form) -> None:  # type: ignore[no-untyped-def]
    truth = {
        "E": 1.8,
        "A": 400.0,
        "B": 400.0,
        "alpha": 0.3,
        "N_c": 6.4e13,
        "D_c": 1.8e13,
        "alpha_N": 0.076,
        "alpha_D": 0.103,
    }
    theta = form.theta(truth)
    points = synthetic()
    loss = np.exp(form.log_loss(theta, points.inputs)[0])
    found, _, _ = best_fit(form, Points(points.inputs, loss, "exact"))
    np.testing.assert_allclose(form.log_loss(found, points.inputs), np.log(loss)[None], atol=1e-6)


def test_an_outlier_moves_the_fit_little_and_none_when_left_out() -> None:
    points = synthetic(0.002)
    spoilt = Points(points.inputs, points.loss * np.where(points.loss == points.loss.max(), 1.5, 1.0), "spoilt")
    clean, robust = fit_law(points, CHINCHILLA, bootstraps=0), fit_law(spoilt, CHINCHILLA, bootstraps=0)
    dropped = [fit_law(p, CHINCHILLA, Outliers(1), 0).parameters for p in (points, spoilt)]
    assert robust.predict(7e9, 1e12).loss == pytest.approx(clean.predict(7e9, 1e12).loss, rel=0.01)
    assert dropped[0] == dropped[1]


@pytest.mark.parametrize("sizes", [4, 7])
def test_intervals_hold_about_as_often_as_they_say(sizes: int) -> None:
    """4 x 4 points: residuals drawn anew; 7 x 7: points drawn. Of 12 data sets 90% intervals of a new run should hold 11."""
    truth = PUBLISHED["besiroglu"].loss(1e10, 4e11)
    draw = np.random.default_rng(sizes)
    held = 0
    for seed in range(12):
        law = fit_law(synthetic(0.005, seed, sizes, sizes), CHINCHILLA, bootstraps=60, calibrate=False)
        assert ("pairs" in law.method) == (sizes == 7)
        said = law.predict(1e10, 4e11)
        held += said.low <= truth * np.exp(0.005 * draw.standard_normal()) <= said.high
    assert held >= 9


def test_a_fit_is_the_same_every_time_and_survives_its_file(tmp_path: Path) -> None:
    first, second = (fit_law(synthetic(0.005), CHINCHILLA, bootstraps=30) for _ in range(2))
    assert np.array_equal(first.draws, second.draws) and first.parameters == second.parameters
    first.save(tmp_path / "law.json")
    loaded = load_law(tmp_path / "law.json")
    said, again = first.predict(7e9, 1e12), loaded.predict(7e9, 1e12)
    assert (
        again.loss == said.loss and again.low == pytest.approx(said.low, rel=1e-7) and again.warnings == said.warnings
    )
    (tmp_path / "law.json").write_text('{"form": "chinchilla"}')
    with pytest.raises(InputError, match="not a law"):
        load_law(tmp_path / "law.json")


def test_forms_are_judged_on_the_largest_runs() -> None:
    points = synthetic(0.002)
    forms = [FORMS[name] for name in ("chinchilla", "tied", "kaplan")]
    errors = {held.form: held for held in held_out_errors(points, forms, Outliers(), bootstraps=50)}
    assert abs(errors["chinchilla"].mean_error) < 0.005 < abs(errors["kaplan"].mean_error)
    assert errors["chinchilla"].runs == 7
    laws = [fit_law(points, form, bootstraps=50, calibrate=False) for form in forms]
    far = make_inputs(1e11, 2e12)
    _, low_end, high_end = pooled(laws, far)
    alone = [law.ends(far, 0.9) for law in laws]
    assert high_end / low_end > max(high / low for low, high in alone[:2])  # the form is open too
    low, high = spread_at(laws, 1e26)
    assert high / low > 1.05
    assert {form.name for form in suited_forms(points)} == {"chinchilla", "tied", "kaplan"}


def test_too_few_points_are_refused_with_a_remedy() -> None:
    points = synthetic()
    with pytest.raises(InputError, match=r"5 points for the 5 parameters.*--form tied"):
        fit_law(points.take(np.arange(5)), CHINCHILLA)
    with pytest.raises(InputError, match="fewer than 3 different sizes"):
        fit_law(points.take(np.flatnonzero(points.inputs.params < 2e8)), CHINCHILLA)
    with pytest.raises(InputError, match="--drop-highest"):
        fit_law(points, CHINCHILLA, Outliers(36))
    with pytest.raises(InputError, match="unique_tokens"):
        fit_law(points, REPETITION)
