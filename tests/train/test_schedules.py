import pytest

from seedbed.recipe.schema import TrainConfig
from seedbed.train.schedules import lr_fraction, muon_momentum

STEPS = 1000


def config(**fields: object) -> TrainConfig:
    return TrainConfig.model_validate({"steps": STEPS, "warmup_fraction": 0.1, "final_lr_fraction": 0.02, **fields})


@pytest.mark.parametrize("decay", [{"decay_fraction": 0.5}, {"decay_from_step": 500}])
def test_a_trapezoid_rises_stays_and_falls_in_straight_lines(decay: dict[str, float]) -> None:
    train = config(schedule="trapezoid", **decay)
    values = {step: lr_fraction(step, STEPS, train) for step in (0, 49, 99, 300, 500, 750, 989, 999)}
    assert values == pytest.approx(
        {0: 0.01, 49: 0.5, 99: 1.0, 300: 1.0, 500: 1.0, 750: 0.5, 989: 0.022, 999: 0.02}, rel=1e-9
    )


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("cosine", 0.51, 0.02), ("linear", 0.51, 0.02), ("inverse_sqrt", 0.42601, 0.31607)]
)
def test_a_schedule_rises_and_falls_to_its_end(schedule: str, middle: float, end: float) -> None:
    train = config(schedule=schedule)
    values = {step: lr_fraction(step, STEPS, train) for step in (0, 99, 550, 1000)}
    assert values == pytest.approx({0: 0.01, 99: 1.0, 550: middle, 1000: end}, rel=1e-4)


def test_an_inverse_root_does_not_know_its_horizon_beyond_the_warmup() -> None:
    short, long = (config(schedule="inverse_sqrt", warmup_fraction=100 / steps) for steps in (1000, 5000))
    assert all(lr_fraction(s, 1000, short) == pytest.approx(lr_fraction(s, 5000, long)) for s in range(0, 1000, 37))


@pytest.mark.parametrize("schedule", ["trapezoid", "cosine", "linear", "inverse_sqrt"])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_a_schedule_stays_above_nothing_and_below_its_peak(schedule: str, steps: int) -> None:
    train = config(schedule=schedule, warmup_fraction=0.0, decay_fraction=1.0)
    assert all(0 < lr_fraction(step, steps, train) <= 1 for step in range(steps))


def test_a_branch_is_past_its_warmup_and_decays_where_it_says() -> None:
    train = config(start_from="runs/long@30", decay_from_step=500)
    assert [lr_fraction(step, STEPS, train) for step in (30, 499, 500, 750)] == pytest.approx([1, 1, 1, 0.5])
    assert muon_momentum(30, STEPS, train) == 0.95


def test_momentum_rises_to_its_plateau() -> None:
    steps = (0, 150, 300, 9_999)
    assert [muon_momentum(step, 10_000, config()) for step in steps] == pytest.approx([0.85, 0.90, 0.95, 0.95])
    assert muon_momentum(0, 1, config()) == pytest.approx(0.85)
