"""`seedbed laws`: tables for people, one object with --json, one line and status 2 for wrong input."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seedbed.laws import PUBLISHED, Points, load_law
from seedbed.laws.forms import make_inputs
from seedbed.laws.isoflop import analyse
from seedbed.laws.page import isoflop_page


@pytest.fixture
def points_csv(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    lines = ["params,tokens,loss,role"]
    for params in (1e8, 3e8, 1e9):
        for tokens in (4e9, 1e10, 3e10):
            loss = PUBLISHED["besiroglu"].loss(params, tokens) * np.exp(0.003 * draw.standard_normal())
            lines.append(f"{params:g},{tokens:g},{loss:.5f},fit")
    path = tmp_path / "points.csv"
    path.write_text("\n".join(lines))
    return path


def seedbed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seedbed", "laws", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_fit_prints_a_table_and_writes_a_law(points_csv: Path, tmp_path: Path) -> None:
    law = tmp_path / "law.json"
    arguments = ["fit", str(points_csv), "--bootstrap", "50", "--where", "role=fit", "--at", "1e24", "--out", str(law)]
    done = seedbed(*arguments)
    assert done.returncode == 0, done.stderr
    for part in ("9 points of", "none left out", "90% interval", "warning: at 1e+24", "mean error", "these forms"):
        assert part in done.stdout
    assert load_law(law).predict(1e9, 2e10).loss == pytest.approx(PUBLISHED["besiroglu"].loss(1e9, 2e10), rel=0.02)
    found = json.loads(seedbed(*arguments, "--json").stdout)
    assert found["law"]["form"] == "chinchilla" and found["optima"][0]["flops"] == 1e24
    assert {entry["form"] for entry in found["held_out"]["forms"]} == {"chinchilla", "tied", "kaplan"}


def test_next_proposes_a_run_within_the_budget(points_csv: Path) -> None:
    done = seedbed("next", str(points_csv), "--budget", "1e20", "--bootstrap", "50", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 0 < found["best"]["flops"] <= 1e20 and found["best"]["after"] < found["before"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "nowhere.csv"], "nowhere.csv"),
        (["fit", "POINTS", "--form", "chinchila"], "did you mean chinchilla?"),
        (["fit", "POINTS", "--form", "repetition", "--base", "munnighoff"], "did you mean muennighoff?"),
        (["next", "POINTS", "--budget", "1e3", "--bootstrap", "20"], "--budget"),
        (["run", "no-such-ladder"], "cpu-12m"),
        (["fit", "POINTS", "--out", "/nowhere/law.json"], "--out: /nowhere/law.json: /nowhere is no folder"),
        (["fit", "POINTS", "--out", "/"], "--out: / is a folder: give a file"),
    ],
)
def test_wrong_input_is_one_line(points_csv: Path, arguments: list[str], message: str) -> None:
    done = seedbed(*[str(points_csv) if part == "POINTS" else part for part in arguments])
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_fit_and_an_isoflop_analysis_have_pages(points_csv: Path, tmp_path: Path) -> None:
    page = tmp_path / "law.html"
    done = seedbed(
        "fit", str(points_csv), "--bootstrap", "20", "--where", "role=fit", "--hold-out", "none", "--html", str(page)
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    figures = json.loads(re.findall(r'id="figures">(.*?)</script>', text)[0])
    assert set(figures) == {"curve", "error"} and "90% interval" in text and "Best splits" in text
    runs = sum(len(trace["x"]) for trace in figures["curve"]["data"] if trace.get("mode") == "markers")
    assert runs == 9


def test_the_page_of_an_isoflop_analysis_has_a_curve_a_budget() -> None:
    sizes = np.geomspace(0.2, 5, 7)
    flops = np.repeat([1e19, 1e20, 1e21], 7)
    params = np.tile(sizes, 3) * np.sqrt(flops / 6 / 20)
    law = PUBLISHED["besiroglu"]
    points = Points(make_inputs(params, flops / 6 / params), law.loss(params, flops / 6 / params), "made/here.csv")
    page = isoflop_page(analyse(points), points)
    figures = json.loads(re.findall(r'id="figures">(.*?)</script>', page)[0])
    assert len([trace for trace in figures["curves"]["data"] if trace["mode"] == "lines"]) == 3
    assert "made/" not in page and "here.csv" in page
