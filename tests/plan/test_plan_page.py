"""The planner's page holds every picture, reaches nothing outside, and shows what the answer says."""

import json
import re
from pathlib import Path

import pytest

from seedbed.errors import InputError
from seedbed.plan.answer_text import answer_lines
from seedbed.plan.page import render, write_page
from seedbed.plan.query import answer
from seedbed.plan.question import Question


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
