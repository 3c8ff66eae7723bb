import pytest

from seedbed.recipe.schema import TrainConfig
from seedbed.train.schedules import lr_fraction, muon_momentum

STEPS = 1000


def config(**fields: object) -> TrainConfig:
    return TrainConfig.model_validate({"steps": STEPS, "warmup_fraction": 0.1, "final_lr_fraction": 0.02, **fields})


def test_a_trapezoid_rises_stays_and_falls_in_straight_lines() -> None:
    train = config(schedule="trapezoid", decay_fraction=0.5)
    values = {step: lr_fraction(step, STEPS, train) for step in (0, 49, 99, 300, 500, 750, 989, 999)}
    assert values == pytest.approx(
        {0: 0.01, 49: 0.5, 99: 1.0, 300: 1.0, 500: 1.0, 750: 0.5, 989: 0.022, 999: 0.02}, rel=1e-9
    )


def test_a_cosine_rises_and_falls_to_its_end() -> None:
    train = config(schedule="cosine")
    values = {step: lr_fraction(step, STEPS, train) for step in (0, 99, 100, 550, 1000)}
    assert values == pytest.approx({0: 0.01, 99: 1.0, 100: 1.0, 550: 0.51, 1000: 0.02}, rel=1e-9)


@pytest.mark.parametrize("schedule", ["trapezoid", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_a_schedule_stays_above_nothing_and_below_its_peak(schedule: str, steps: int) -> None:
    train = config(schedule=schedule, warmup_fraction=0.0, decay_fraction=1.0)
    assert all(0 < lr_fraction(step, steps, train) <= 1 for step in range(steps))


def test_momentum_rises_to_its_plateau() -> None:
    assert [muon_momentum(step, 10_000) for step in (0, 150, 300, 9_999)] == pytest.approx([0.85, 0.90, 0.95, 0.95])
    assert muon_momentum(0, 1) == pytest.approx(0.85)
