"""A ladder's law, and its prediction of the held-out run beside what that run reached."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.corpus.yields import align
from seedbed.files import write_json
from seedbed.laws.compare import pooled, suited_forms
from seedbed.laws.fit import fit_law
from seedbed.laws.forms import CHINCHILLA, make_inputs
from seedbed.laws.ladder import Ladder
from seedbed.laws.law import LEVEL, Ends, Law
from seedbed.laws.points import Points, read_points
from seedbed.laws.report import GENERAL
from seedbed.laws.text import count, law_json, law_text, plain_json, span
from seedbed.run.machine import describe


@dataclass(frozen=True)
class Verdict:
    """`predicted` and `interval` pool the forms; `inside`: whether the measured loss lies in it; `forms`: each alone."""

    name: str
    params: float
    tokens: float
    measured: float
    predicted: float
    interval: Ends
    inside: bool
    forms: dict[str, tuple[float, float, float]]
    warnings: tuple[str, ...]


def judge(ladder: Ladder, points: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Fit the ladder's law from `folder/points.csv`, write law.json and ladder.json, and return the latter."""
    fitted = read_points(folder / "points.csv", ["role=fit"])
    law = fit_law(fitted, CHINCHILLA)
    law.save(folder / "law.json")
    verdicts = [verdict_of(law, fitted, point) for point in points if point["role"] != "fit"]
    machine = describe()
    found = {
        "ladder": ladder.name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {name: machine[name] for name in ("cpu", "cores", "os", "python")},
        "law": law_json(law),
        "points": points,
        "held_out": verdicts,
    }
    write_json(folder / "ladder.json", plain_json(found))
    return {**found, "text": law_text(law)}


def verdict_of(law: Law, fitted: Points, point: dict[str, Any]) -> Verdict:
    params, tokens, measured = point["params"], point["tokens"], point["loss"]
    laws = [
        law,
        *(fit_law(fitted, form) for form in suited_forms(fitted) if form.name in GENERAL and form is not law.form),
    ]
    middle, low, high = (float(ends[0]) for ends in pooled(laws, make_inputs(params, tokens)))
    alone = {one.form.name: one.predict(params, tokens) for one in laws}
    forms = {name: (said.loss, said.low, said.high) for name, said in alone.items()}
    warnings = alone[law.form.name].warnings
    return Verdict(
        point["name"], params, tokens, measured, middle, (low, high), low <= measured <= high, forms, warnings
    )


def verdict_text(found: dict[str, Any]) -> str:
    rows = [["run", "parameters", "tokens", "bits per byte", "seconds"]]
    for point in found["points"]:
        name = f"{point['name']} ({point['role']})" if point["role"] != "fit" else point["name"]
        sizes = [count(point["params"]), count(point["tokens"])]
        rows.append([name, *sizes, f"{point['loss']:.4f}", f"{point['seconds']:.0f}"])
    blocks = [align(rows), found["text"]]
    for verdict in found["held_out"]:
        place = "inside" if verdict.inside else "OUTSIDE"
        alone = [f"{name} {loss:.4f} ({low:.4f} to {high:.4f})" for name, (loss, low, high) in verdict.forms.items()]
        blocks.append(
            f"{verdict.name}: predicted {verdict.predicted:.4f} ({LEVEL:.0%}: {span(verdict.interval, '.4f')}), measured "
            f"{verdict.measured:.4f}: {place} the interval, off by {verdict.predicted / verdict.measured - 1:+.2%}\n"
            f"by form: {', '.join(alone)}" + "".join(f"\nwarning: {line}" for line in verdict.warnings)
        )
    return "\n\n".join(blocks)
