"""Published figures beside ours as one self-contained page: the error of each, its source, and why where it is large."""

import math
from pathlib import Path

from seedbed.files import write_asked
from seedbed.plan.validate import Check, short, summary
from seedbed.report.document import document
from seedbed.report.html import bars, esc, facts, section, table

WIDEST = math.log(1.8)  # of the track, to each side of none


def write_page(path: Path, checks: list[Check]) -> None:
    """Raises InputError where the file cannot be written."""
    write_asked("--html", path, render(checks))


def render(checks: list[Check]) -> str:
    found = summary(checks)
    median, largest = found["epoch_median_error"], found["epoch_largest_error"]
    items = [
        ("cases that hold", f"{found['hold']} of {found['cases']}", "to what is asked of each"),
        ("off, with a stated cause", str(found["off_with_a_cause"]), f"{found['off_without_a_cause']} without one"),
        ("not recomputable", str(found["not_recomputable"]), "inputs that nobody published"),
        ("Epoch's costs", f"{median:.1%}", f"median error; largest {largest:.1%}"),
    ]
    header = (
        '<header><p class="eyebrow">Seedbed plan validate</p><h1>What published runs say, and <strong>how far off</strong> the '
        f"planner is</h1>{facts(items)}</header>"
    )
    lead = (
        "Ours over the published figure: too little to the left of the middle, too much to the right, on a logarithmic track "
        "from 0.56 to 1.8. Most cases take the published inputs and test the accounting; those named as planned are told "
        "nothing of the run but its size and devices."
    )
    errors = bars([bar(check, check.error) for check in checks if check.error is not None], wide=True)
    listed = table(["case", "unit and source", "ours", "published", "error"], map(cells, checks), 3)
    parts = [
        section("errors", "Errors", lead, errors),
        section("cases", "Cases", "Every one, with its source.", listed),
    ]
    return document("Plan validate", header, parts, {}, "seedbed plan validate")


def bar(check: Check, error: float) -> tuple[str, float, float, str, str]:
    away = max(-1.0, min(1.0, math.log1p(error) / WIDEST)) / 2
    return (
        esc(check.name),
        0.5 + min(away, 0.0),
        max(abs(away), 0.004),
        f"{error:+.1%}",
        "own" if check.holds else "lost",
    )


def cells(check: Check) -> list[str]:
    cause = f"<br><em>{esc(check.cause)}</em>" if check.cause else ""
    error = "-" if check.error is None else f"{check.error:+.1%}" + ("" if check.holds else " !")
    ours = "-" if check.ours is None else short(check.ours)
    inputs = f"<small>from {esc(check.inputs)}</small>" if check.inputs else ""
    return [
        esc(check.name),
        f"{esc(check.unit)}; {esc(check.source)}{inputs}{cause}",
        ours,
        short(check.published),
        error,
    ]
