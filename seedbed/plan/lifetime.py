"""Training against serving over a model's life: the month in which serving has cost more, and which model is then the cheapest.

At one predicted loss there is a compute-optimal dense model, smaller dense models trained on more tokens, and mixtures of
experts. Which is cheapest depends on how many tokens will be served: Sardana et al. 2024 (arXiv 2401.00448) in FLOPs, here in
dollars as well.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from seedbed.errors import InputError
from seedbed.plan.chips import Chip
from seedbed.plan.footprint import Building
from seedbed.plan.frontier import Cells, Setting, make_cells, served_cell, spend, tokens_for, within
from seedbed.plan.inference import Load, serve
from seedbed.plan.money import Terms
from seedbed.plan.served import Served
from seedbed.plan.tables import Tables

DAYS_PER_MONTH = 30.4375
MEASURES = ("usd", "kwh", "kg", "litres")
TRAFFICS = 10.0 ** np.arange(-2, 2.01, 0.5)  # multiples of the forecast


@dataclass(frozen=True)
class Life:
    """Sums month by month of serving, and the month (from 0, in parts) at which serving has taken as much as training."""

    months: int
    training: dict[str, float]
    serving: dict[str, list[float]]  # summed up to each month's end
    crossover: dict[str, float | None]  # None: not in these months

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def life(
    training: dict[str, float],
    model: Served,
    chip: Chip,
    load: Load,
    growth_month: float,
    months: int,
    terms: Terms,
    building: Building,
    tables: Tables,
) -> Life:
    """`training`: dollars, facility kWh, kg CO2e and litres of the programme. Traffic grows by `growth_month` a month."""
    summed: dict[str, list[float]] = {name: [] for name in MEASURES}
    for month in range(months):
        now = replace(load, tokens_day=load.tokens_day * (1 + growth_month) ** month)
        day = serve(model, chip, now, terms, building, tables)
        made = day.footprint_day
        spent = (day.usd_day, float(made.facility_kwh), float(made.kg_total), float(made.litres))
        for name, value in zip(MEASURES, spent, strict=True):
            before = summed[name][-1] if summed[name] else 0.0
            summed[name].append(before + value * DAYS_PER_MONTH)
    return Life(months, training, summed, {name: crossing(training[name], summed[name]) for name in MEASURES})


def crossing(training: float, serving: list[float]) -> float | None:
    """The month at which the sum reaches `training`, within a month in proportion."""
    before = 0.0
    for month, after in enumerate(serving):
        if after >= training:
            return month + (training - before) / (after - before) if after > before else float(month)
        before = after
    return None


def payback_tokens(large: tuple[float, float], small: tuple[float, float]) -> float:
    """Served tokens beyond which a smaller model trained on more tokens has taken fewer FLOPs: (N, D) of both at equal loss.

    6 (N2 D2 - N1 D1) / (2 (N1 - N2)), from training at 6 N D and serving at 2 N a token.
    """
    (n1, d1), (n2, d2) = large, small
    if not n2 < n1:
        raise ValueError("the second model is the smaller one")
    return 6 * (n2 * d2 - n1 * d1) / (2 * (n1 - n2))


@dataclass(frozen=True)
class Candidate:
    """A model that reaches the loss, and what its training and the months of serving take."""

    kind: str  # compute-optimal dense, over-trained dense, or N experts
    active: float
    total: float
    tokens: float
    devices: float
    training_usd: float
    serving_usd: float

    @property
    def usd(self) -> float:
        return self.training_usd + self.serving_usd


@dataclass(frozen=True)
class Payback:
    """At each multiple of the traffic forecast the cheapest candidate of each kind, the first being the cheapest of all."""

    loss: float
    traffics: list[float]  # tokens a day
    candidates: list[list[Candidate]]

    def as_dict(self) -> dict[str, Any]:
        rows = [[{**asdict(c), "usd": c.usd} for c in at] for at in self.candidates]
        return {"loss": self.loss, "tokens_day": self.traffics, "cheapest_first": rows}


def payback(setting: Setting, loss: float, days: float, experts: tuple[int, ...] = (8, 32)) -> Payback:
    """Of models that reach `loss`, trained in so many days on the setting's first device and in its first region.

    Where no dense model is trained in these days, without them. Raises InputError where none ever is.
    """
    assert setting.load is not None
    bare = replace(setting, load=None, chips=setting.chips[:1], buildings=setting.buildings[:1], experts=(1, *experts))
    cells = make_cells(bare)
    trained = cheapest_by_size(cells, loss, {"days": days}, bare)
    if not any(row[0] == 1 for row in trained):
        trained = cheapest_by_size(cells, loss, {}, bare)
    dense = [row for row in trained if row[0] == 1]
    if not dense:
        raise InputError(f"--target-loss {loss:g}: no dense model of the search reaches it: ask for more")
    optimal = min(dense, key=lambda row: row[4])
    chip, building = bare.chips[0], bare.buildings[0]
    traffics = [float(setting.load.tokens_day * multiple) for multiple in TRAFFICS]
    found = []
    for traffic in traffics:
        now = replace(setting.load, tokens_day=traffic)
        priced: dict[str, Candidate] = {}
        for kinds, size, total, tokens, usd, devices in trained:
            if kinds == 1 and size > optimal[1] * 1.01:
                continue  # larger than optimal: dearer to train and to serve
            kind = (
                f"{kinds} experts"
                if kinds > 1
                else "compute-optimal dense"
                if size == optimal[1]
                else "over-trained dense"
            )
            try:
                day = serve(served_cell(size, kinds), chip, now, setting.terms[chip.name], building, setting.tables)
            except InputError:
                continue
            serving = day.usd_day * setting.months * DAYS_PER_MONTH
            candidate = Candidate(kind, size, total, tokens, devices, usd, serving)
            if kind not in priced or candidate.usd < priced[kind].usd:
                priced[kind] = candidate
        found.append(sorted(priced.values(), key=lambda c: c.usd))
    return Payback(loss, traffics, found)


def cheapest_by_size(
    cells: Cells, loss: float, caps: dict[str, float], setting: Setting
) -> list[tuple[int, float, float, float, float, float]]:
    """(experts, active, total, tokens, dollars, devices) of the cheapest training of each size that reaches the loss."""
    tokens = tokens_for(cells, loss, setting)
    tokens = np.where(np.isfinite(tokens), np.maximum(tokens, cells.active), np.inf)
    reach = np.flatnonzero(np.isfinite(tokens))
    if not len(reach):
        return []
    some, tokens = cells.take(reach), tokens[reach]
    spent = spend(some, tokens, setting)
    usd = np.where(within(spent, caps), spent.usd, np.inf)
    best: dict[tuple[int, float], int] = {}
    for row in np.argsort(usd, kind="stable"):
        if np.isfinite(usd[row]):
            best.setdefault((int(some.experts[row]), float(some.active[row])), int(row))
    return [
        (kinds, size, float(some.total[row]), float(tokens[row]), float(usd[row]), float(some.devices[row]))
        for (kinds, size), row in sorted(best.items())
    ]
