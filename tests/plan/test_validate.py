"""The planner's functions give published figures from their published inputs; sources in plan/tables/cases.toml."""

import json
import subprocess
import sys

import pytest

from seedbed.plan.tables import read_table
from seedbed.plan.validate import summary, validate, validation_lines

CHECKS = {check.name: check for check in validate()}
# (name, largest relative error). GPT-3: Patterson et al. 2021 and Li et al. 2023; Llama: Meta's model cards
HELD_TO = [
    ("GPT-3 175B, energy", 0.01),
    ("GPT-3 175B, carbon", 0.01),
    ("GPT-3 175B, water on site", 0.02),
    ("GPT-3 175B, rented", 0.03),
    ("Llama 2 70B, carbon", 0.03),
    ("Llama 3 8B, carbon", 0.03),
    ("Llama 3 70B, carbon", 0.03),
    ("Llama 3.1 405B, carbon", 0.03),
    ("Llama 3.1 405B, H100-hours", 0.01),
    ("Llama 3.1 405B, days on 16,384", 0.01),
    ("DeepSeek-V3, rented", 1e-9),
    ("GPT-4, Epoch cloud", 0.02),
    ("GPT-4, on demand", 0.02),
    ("a $500M run", 0.01),
]


@pytest.mark.parametrize(("name", "most"), HELD_TO)
def test_a_published_figure_comes_out(name: str, most: float) -> None:
    error = CHECKS[name].error
    assert error is not None and abs(error) <= most


def test_the_figures_everyone_quotes_come_with_what_gives_them() -> None:
    for name, inputs in (
        ("GPT-3 175B, rented", "flops 3.14e+23, flops device 2.8e+13, usd hour 1.5"),
        ("GPT-4, on demand", "device hours 57,000,000, usd hour 3.4"),
        (
            "Llama 3.1 405B, days on 16,384",
            "tokens 1.56e+13, peak 9.894e+14, utilisation 0.345, devices 16,384",
        ),
        ("DeepSeek-V3, rented", "device hours 2,788,000, usd hour 2.0"),
        ("a $500M run", "device hours 249,831,000, usd hour 2.0"),
    ):
        assert CHECKS[name].inputs.endswith(inputs)
        assert any(line.startswith(name) and inputs in line for line in validation_lines(list(CHECKS.values())))


def test_costs_of_epoch_within_a_quarter_in_the_median_and_none_off_by_half() -> None:
    found = summary(list(CHECKS.values()))
    assert found["epoch_median_error"] <= 0.25
    assert found["epoch_largest_error"] <= 0.5


def test_what_does_not_hold_says_why() -> None:
    assert [c.name for c in CHECKS.values() if not c.holds and not c.cause] == []
    assert {c.name for c in CHECKS.values() if c.holds is False} == {
        "OLMo 2 13B, carbon",
        "BLOOM-176B, utilisation as planned",
        "GPT-3 175B, utilisation as planned",
    }


def test_every_case_and_every_row_has_its_source() -> None:
    assert all(case["source"] for case in read_table("cases")["case"])
    for row in read_table("chips").values():
        assert row["source"]
        assert "price_usd" not in row or row["price_source"]
        assert "rent_usd_hour" not in row or (row["rent_source"] and row["rent_date"])


def test_the_command_shows_ours_beside_the_published() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seedbed", "plan", "validate", "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    cases = {case["name"]: case for case in json.loads(done.stdout)["cases"]}
    assert cases["GPT-3 175B, energy"]["published"] == 1287
    assert cases["GPT-3 175B, energy"]["ours"] == pytest.approx(10_000 * 14.8 * 24 * 0.33 * 1.1 / 1000)
