"""A layout is read from text, and one that a model cannot have is refused with the remedy, before anything is built."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.recipe import load_recipe
from seedbed.recipe.layout import Divisible, Layout, check_layout, divisible, parse_layout

MODEL = Divisible(layers=4, heads=4, kv_heads=2, mlp_width=256, context=64, batch_rows=8, experts=4)


@given(st.builds(Layout, *[st.integers(1, 64)] * 6))
def test_a_layout_is_what_its_text_says(layout: Layout) -> None:
    assert parse_layout(str(layout)) == layout


@given(st.text(max_size=30))
def test_any_other_text_is_refused_in_one_line(text: str) -> None:
    try:
        parse_layout(text)
    except InputError as error:
        assert str(error).startswith("train.parallel: ")


@pytest.mark.parametrize(
    ("text", "devices", "message"),
    [
        ("dp=2", 4, r"dp=2 needs 2 devices and there are 4: start 2 ranks"),
        ("tp=3", 3, r"tp=3 does not divide model.heads 4: choose a divisor"),
        ("tp=4", 4, r"tp=4 does not divide model.kv_heads 2"),
        ("pp=5", 5, r"pp=5 is more stages than the 4 layers"),
        (
            "cp=3",
            3,
            r"cp=3 cuts rows into 6 chunks, and model.context 64 is no multiple of that: make it one, such as 66",
        ),
        ("dp=3", 3, r"dp x fsdp = 3 does not divide the 8 rows of a batch: set train.batch_tokens=576"),
        ("dp=4,pp=4", 16, r"pp=4 needs as many micro-batches.*set train.batch_tokens=1024"),
        ("dp=4,ep=3", 4, r"ep=3 does not divide dp=4"),
    ],
)
def test_an_impossible_layout_names_its_remedy(text: str, devices: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_layout(parse_layout(text), MODEL, devices)


@pytest.mark.parametrize("text", ["dp=8", "fsdp=4,tp=2", "pp=2,dp=4", "cp=4,fsdp=2", "dp=2,fsdp=4,ep=4,tp=2,cp=2,pp=1"])
def test_a_possible_one_passes(text: str) -> None:
    check_layout(parse_layout(text), MODEL, parse_layout(text).devices)


def test_the_recipe_holds_it() -> None:
    recipe = load_recipe(None, ["train.parallel=fsdp=2,tp=2"])
    assert parse_layout(recipe.train.parallel) == Layout(fsdp=2, tp=2)
    assert divisible(recipe).heads == recipe.model.heads
    with pytest.raises(InputError, match=r"train\.parallel.*'zp=2' is not a degree"):
        load_recipe(None, ["train.parallel=zp=2"])
