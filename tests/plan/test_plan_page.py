"""The planner's page holds every picture, reaches nothing outside, and shows what the answer says."""

import json
import re
from pathlib import Path

import pytest

from seedbed.errors import InputError
from seedbed.plan import recipe_page, validate_page
from seedbed.plan.answer_text import answer_lines
from seedbed.plan.page import render, write_page
from seedbed.plan.query import answer
from seedbed.plan.question import Question
from seedbed.plan.report import make_plan
from seedbed.plan.validate import validate
from seedbed.recipe import load_recipe
from seedbed.report.html import esc


def test_the_page_has_its_pictures_and_needs_no_network(tmp_path: Path) -> None:
    found = answer(Question(budget="100000", deadline="14d", traffic="2e9/day", region=("France",)), full=True)
    page = render(found)
    values = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page)
    assert values
    figures = json.loads(values[1])
    assert set(figures) == {"curve", "front", "life", "payback", "grids"}
    for name, figure in figures.items():
        assert page.count(f'id="{name}"') == 1 and figure["data"]
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "http:" not in own and "https:" not in own and "default-src 'none'" in own
    assert f"{found['best']['loss']['value']:.3f}" in own and "$100,000" in own
    curve = found["curve"]
    assert curve["loss"] == sorted(curve["loss"], reverse=True)
    assert all(low < loss < high for low, loss, high in zip(curve["low"], curve["loss"], curve["high"], strict=True))
    assert {row["code"] for row in found["grids"]} >= {"FRA", "USA", "BRA"}
    with pytest.raises(InputError, match="--html"):
        write_page(tmp_path / "nowhere" / "plan.html", found)


def test_a_law_without_intervals_and_a_question_without_traffic_have_a_page_too() -> None:
    found = answer(Question(budget="1e6", law="chinchilla", own=True), full=True)
    assert found["best"]["loss"]["low"] is None or found["best"]["loss"]["low"] != found["best"]["loss"]["low"]
    page = render(found)
    assert "no interval: the law has none" in page and 'id="life"' not in page


def test_a_device_without_published_watts_has_a_page_and_json_all_the_same() -> None:
    found = answer(Question(budget="100000", chip=("tpu-v5p",), traffic="1e9/day"), full=True)
    assert "NaN" not in json.dumps(found) and found["best"]["kwh"]["facility"]["value"] is None
    assert "not known" in render(found)
    assert any("not known" in line for line in answer_lines(found))


def alone(page: str) -> str:
    """The page without its scripts, which names nothing outside."""
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "http:" not in own and "https:" not in own and "default-src 'none'" in own
    return own


def test_a_recipes_plan_has_a_page_with_each_figure_of_its_text(tmp_path: Path) -> None:
    found = make_plan(load_recipe("llama-8b"), 64, "h100", "fsdp=64", Question(region=("FRA",)))
    path = tmp_path / "plan.html"
    recipe_page.write_page(path, found, None)
    page = path.read_text()
    own = alone(page)
    for text in (
        "8.03 G parameters",
        "gathered by FSDP",
        "facility, operational",
        "Warning: compute",
        "assumed: --pue",
    ):
        assert text in own
    assert f"{found['loss']['value']:.3f}" in own and page.count('id="curve"') == 1
    curve = json.loads(re.findall(r'id="figures">(.*?)</script>', page)[0])["curve"]
    marker = next(trace for trace in curve["data"] if trace.get("name") == "this plan")
    assert marker["y"] == [found["loss"]["value"]]


def test_the_page_of_published_cases_shows_every_error_and_every_cause() -> None:
    checks = validate()
    own = alone(validate_page.render(checks))
    assert own.count('class="row') == sum(check.error is not None for check in checks)
    assert own.count('class="row lost"') == sum(check.holds is False for check in checks)
    for check in checks:
        assert esc(check.name) in own and esc(check.source) in own and esc(check.cause) in own


@pytest.mark.parametrize("path", ["/", "/nowhere/plan.html"])
def test_a_page_that_could_not_be_written_is_one_line(path: str) -> None:
    with pytest.raises(InputError, match=f"--html: {path}"):
        write_page(Path(path), answer(Question(budget="1e5"), full=True))
