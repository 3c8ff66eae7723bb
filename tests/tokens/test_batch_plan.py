import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.tokens.batch_plan import BatchPlan

PHASES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=3).map(tuple)


@given(st.integers(1, 12), PHASES, st.integers(0, 60))
def test_rows_before_a_step_are_the_sum_of_the_batches_before_it(rows: int, phases: tuple, step: int) -> None:
    plan = BatchPlan(rows, phases)
    assert plan.rows_before(step) == sum(plan.rows_at(i) for i in range(step))


@given(st.integers(1, 12), PHASES, st.integers(1, 60))
def test_a_horizon_in_rows_comes_back_to_its_steps(rows: int, phases: tuple, steps: int) -> None:
    plan = BatchPlan(rows, phases)
    assert plan.steps_for(plan.rows_before(steps)) == steps


def test_a_plan_grows_in_its_stated_steps() -> None:
    plan = BatchPlan(16, ((2, 4), (3, 8)))
    assert [plan.rows_at(step) for step in range(7)] == [4, 4, 8, 8, 8, 16, 16]
    assert plan.warmup_steps == 5 and plan.rows_before(5) == 32
    assert [plan.steps_for(rows) for rows in (0, 5, 32, 39, 41)] == [1, 1, 5, 5, 6]


def test_without_phases_rows_are_a_product() -> None:
    assert BatchPlan(7).rows_before(13) == pytest.approx(91) and BatchPlan(7).warmup_steps == 0
