"""Published figures recomputed: `seedbed plan validate` shows each beside ours, with the error whatever it is.

The facts are in `tables/cases.toml`; what recomputes them are the planner's own functions.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seedbed.laws import OPTIMA, PUBLISHED
from seedbed.plan.chips import find_chip
from seedbed.plan.footprint import facility_kwh, water_litres
from seedbed.plan.grids import find_grid
from seedbed.plan.money import network_over_devices, owned_usd_hour
from seedbed.plan.roofline import training_rate
from seedbed.plan.tables import load_tables, read_table

NETWORK = network_over_devices(load_tables().prices["own"]["network_share"])
Inputs = dict[str, Any]


@dataclass(frozen=True)
class Check:
    name: str
    ours: float | None
    published: float
    unit: str
    error: float | None  # relative, with its sign
    within: float
    holds: bool | None  # None: nothing to recompute
    group: str
    source: str
    cause: str
    inputs: str  # what ours is made from, in words; "" where it is nothing

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def device_hours(i: Inputs) -> float:
    return i["devices"] * i["days"] * 24 if "days" in i else i["device_hours"]


def energy_mwh(i: Inputs) -> float:
    """`watts` are those of the system a device, as measured or at the limit."""
    return facility_kwh(device_hours(i) * i["watts"] / 1000, i["pue"]) / 1000


def amortised(i: Inputs) -> float:
    """Epoch's method: the value lost in the hours of use, the network's, and the electricity."""
    years = (i["started"] - i["bought"]).days / 365.25
    hour = owned_usd_hour(i["price_usd"], years) * (1 + NETWORK)
    kwh_hour = facility_kwh(i["watts"] * i["server_factor"] * i["draw"] / 1000, i["pue"])
    price = load_tables().prices["electricity_usd_kwh"][str(i["year"])]
    return i["device_hours"] * (hour + kwh_hour * price)


def hours_of_training(i: Inputs) -> float:
    return 6 * i["active"] * i["tokens"] / (i["peak"] * i["utilisation"]) / 3600


def rented_by_flops(i: Inputs) -> float:
    return i["flops"] / i["flops_device"] / 3600 * i["usd_hour"]


def carbon_of_hours(i: Inputs) -> float:
    return energy_mwh(i) * find_grid(i["region"]).kg_co2_kwh


def planned_utilisation(i: Inputs) -> float:
    """What the search assumes of such a run before it starts: step and goodput."""
    tables = load_tables()
    mfu, goodput = tables.prices["utilisation"]["mfu"][1], tables.prices["programme"]["goodput"][1]
    active, total, devices = (np.array([[float(i[name])]]) for name in ("active", "total", "devices"))
    rate = training_rate(active, total, devices, find_chip(i["chip"]), mfu, goodput, tables)
    return float((rate.mfu * rate.goodput)[0, 0])


KINDS: dict[str, Callable[[Inputs], float]] = {
    "energy": energy_mwh,
    "energy_of_hours": energy_mwh,
    "carbon": lambda i: energy_mwh(i) * i["kg_kwh"],
    "carbon_of_hours": carbon_of_hours,
    "carbon_sum": lambda i: sum(i["mwh"]) * i["kg_kwh"] + i["embodied_t"],
    "water_site": lambda i: water_litres(i["server_mwh"], i["litres_site_kwh"], 1.0, 0.0)[0],
    "water_grid": lambda i: water_litres(i["server_mwh"], 0.0, i["pue"], i["litres_grid_kwh"])[1],
    "water_sum": lambda i: i["mwh"] * i["litres_kwh"],
    "flops": lambda i: 6 * i["active"] * i["tokens"],
    "rented_by_flops": rented_by_flops,
    "rented": lambda i: i["device_hours"] * i["usd_hour"],
    "amortised": amortised,
    "acquisition": lambda i: i["devices"] * i["price_usd"] * (1 + NETWORK),
    "device_hours": hours_of_training,
    "days": lambda i: hours_of_training(i) / i["devices"] / 24,
    "utilisation": lambda i: 6 * i["active"] * i["tokens"] / (i["device_hours"] * 3600 * i["peak"]),
    "multiplier": lambda i: (i["final"] + i["other"]) / i["final"],
    "planned_utilisation": planned_utilisation,
    "sum": lambda i: math.fsum(i["parts"]),
    "optimal_size": lambda i: PUBLISHED[i["law"]].optimum(i["flops"]).params,
    "optimal_tokens": lambda i: OPTIMA[i["law"]][0](flops=i["flops"]),
    "law_loss": lambda i: PUBLISHED[i["law"]].loss(i["active"], i["tokens"], unique_tokens=i["unique_tokens"]),
}


def validate() -> list[Check]:
    """Every case of the table, in its order."""
    return [check(case) for case in read_table("cases")["case"]]


def check(case: dict[str, Any]) -> Check:
    kind, published = case["kind"], case["published"]
    ours = KINDS[kind](case["inputs"]) if kind != "none" else None
    error = ours / published - 1 if ours is not None else None
    return Check(
        name=case["name"],
        ours=ours,
        published=published,
        unit=case["unit"],
        error=error,
        within=case["within"],
        holds=None if error is None else abs(error) <= case["within"],
        group=case.get("group", ""),
        source=case["source"],
        cause=case.get("cause", ""),
        inputs=", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in case["inputs"].items()),
    )


def plain(value: Any) -> str:
    """An input of a case as people write it."""
    if isinstance(value, list):
        return " + ".join(map(plain, value))
    if isinstance(value, (int, float)):
        return f"{value:,}" if isinstance(value, int) or 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"
    return str(value)


def summary(checks: list[Check]) -> dict[str, Any]:
    """How many hold, how many do not with a stated cause and without, and the median error over Epoch's costs."""
    epoch = [abs(c.error) for c in checks if c.group == "epoch" and c.error is not None]
    return {
        "cases": len(checks),
        "hold": sum(c.holds is True for c in checks),
        "off_with_a_cause": sum(c.holds is False and bool(c.cause) for c in checks),
        "off_without_a_cause": sum(c.holds is False and not c.cause for c in checks),
        "not_recomputable": sum(c.holds is None for c in checks),
        "epoch_median_error": float(np.median(epoch)),
        "epoch_largest_error": max(epoch),
    }


def validation_lines(checks: list[Check]) -> list[str]:
    width = max(len(c.name) for c in checks)
    lines = [f"{'':<{width}}  {'ours':>11}  {'published':>11}  {'error':>7}  unit, source"]
    for c in checks:
        ours, error = ("-", "-") if c.ours is None or c.error is None else (short(c.ours), f"{c.error:+.1%}")
        mark = "" if c.holds else " !"
        origin = f"; from {c.inputs}" if c.inputs else ""
        lines.append(
            f"{c.name:<{width}}  {ours:>11}  {short(c.published):>11}  {error:>7}{mark}  {c.unit}; {c.source}{origin}"
        )
        if c.cause:
            lines.append(f"{'':<{width}}  {c.cause}")
    s = summary(checks)
    lines.append(
        f"{s['hold']} of {s['cases']} hold to what is asked of them; {s['off_with_a_cause']} off with a stated cause, "
        f"{s['off_without_a_cause']} without; {s['not_recomputable']} not recomputable. Epoch's costs: median error "
        f"{s['epoch_median_error']:.1%}, largest {s['epoch_largest_error']:.1%}"
    )
    return lines


def short(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
