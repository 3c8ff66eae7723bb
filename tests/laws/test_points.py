"""Points from CSV: names and units as people write them, and one line with the remedy for what would mislead a fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.laws.points import NAMES, parse_points

ROWS = [(1e8, 2e9, 3.2), (1e9, 2e10, 2.6), (1e10, 2e11, 2.2)]


def table(header: str, row: str, values: list[tuple[float, float, float]] = ROWS) -> str:
    return "\n".join([header, *(row.format(n=n, d=d, y=y, c=6 * n * d) for n, d, y in values)])


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("params,tokens,loss", "{n},{d},{y}"),
        ("N,D,L", "{n},{d},{y}"),
        ("Model Size,Training FLOP,loss", "{n},{c},{y}"),
        ("run,Val Loss,Tokens (B),params_m", "a,{y},{d}e-9,{n}e-6"),
        ("name,num_params,budget,final-loss", "a,{n},{c},{y}"),
    ],
)
def test_columns_and_units_as_people_name_them(header: str, row: str) -> None:
    points = parse_points(table(header, row).replace(".0e-", "e-"), "runs.csv")
    np.testing.assert_allclose(points.inputs.params, [n for n, _, _ in ROWS])
    np.testing.assert_allclose(points.inputs.tokens, [d for _, d, _ in ROWS])
    np.testing.assert_allclose(points.loss, [y for _, _, y in ROWS])


def test_units_may_stand_in_the_values() -> None:
    points = parse_points("params,tokens,loss\n400M,8B,3.1\n1.3B,26B,2.7\n", "runs.csv")
    assert points.inputs.params.tolist() == [4e8, 1.3e9] and points.inputs.tokens.tolist() == [8e9, 2.6e10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no runs"),
        ("params,tokens,loss\n", "no runs"),
        ("params,tokens,loss\n1e8,2e9,nan\n", "line 2: loss: 'nan'.*take the line out"),
        ("params,tokens,loss\n1e8,2e9,3\n\n1e8,,3\n", "line 4: tokens: ''.*not a number"),
        ("params,tokens,loss\n0.4,8e9,3\n", r"params: 0.4 is too small.*params_b"),
        ("params,tokens,loss\n4e8,8,3\n", r"tokens: 8 is too small.*tokens_b"),
        ("params,tokens,loss\n-4e8,8e9,3\n", "must be above 0"),
        ("params,tokens,loss\n4e8,8e9,45.2\n", "looks like a perplexity"),
        ("params,tokens,loss\n4e300,8e9,3\n", "params: '4e300' is too large to be a count"),
        ("params,tokens,flops,loss\n4e8,8e9,1.9e10,3\n", "another unit"),
        ("parms,tokens,loss\n4e8,8e9,3\n", "no column params: is it 'parms'"),
        ("params,loss\n4e8,3\n", r"no column tokens \(or flops\)"),
        ("params,tokens,accuracy\n4e8,8e9,3\n", "no column loss"),
    ],
)
def test_what_is_no_point_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_points(text, "runs.csv")
    assert str(caught.value).startswith("runs.csv") and "\n" not in str(caught.value)


def test_conditions_choose_rows_and_name_the_nearest() -> None:
    text = "params,tokens,loss,role\n1e8,2e9,3,fit\n1e9,2e10,2.5,held out\n"
    assert len(parse_points(text, "runs.csv", ["role=fit"])) == 1
    for condition, message in (
        ("rol=fit", "did you mean 'role'"),
        ("role=fitt", "did you mean 'fit'"),
        ("role", "COLUMN=VALUE"),
    ):
        with pytest.raises(InputError, match=message):
            parse_points(text, "runs.csv", [condition])


PIECES = [*NAMES, "1e8", "3.1", ",", "\n", "\0", '"', "7B", "nan", "é"]


@given(text=st.text(max_size=300) | st.lists(st.sampled_from(PIECES)).map("".join))
@settings(max_examples=100, deadline=None)
def test_any_text_gives_points_or_one_line(text: str) -> None:
    try:
        points = parse_points(text, "runs.csv")
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert len(points) and np.isfinite(points.loss).all() and (points.inputs.params >= 1e3).all()
