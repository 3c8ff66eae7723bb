"""Electricity by region: carbon and water of a kWh, by month where the table has months."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.errors import InputError
from seedbed.plan.tables import Tables, load_tables, nearest

HOURS_PER_MONTH = 8766 / 12


@dataclass(frozen=True)
class Grid:
    name: str  # code of the row, such as "USA"
    title: str
    kg_co2_kwh: float  # yearly mean of the whole mix: location-based
    litres_kwh: float  # consumed where the electricity is made
    monthly: tuple[float, ...] | None = None  # twelve factors on kg_co2_kwh

    def carbon_of(self, month: int | None, hours: float) -> tuple[float, str]:
        """(kg CO2e a kWh, what it is the mean of) for a run that begins in `month` (1 to 12) and lasts `hours`."""
        if month is None:
            return self.kg_co2_kwh, "yearly mean"
        if self.monthly is None:
            return self.kg_co2_kwh, "yearly mean: the table has no months for this region"
        share = float(self.month_share(month, np.array([hours]))[0])
        return self.kg_co2_kwh * share, f"mean of the run's months, from month {month}"

    def month_share(self, month: int, hours: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean carbon of a kWh over the year's, of runs that begin with the month and last so long."""
        assert self.monthly is not None
        summed = np.concatenate(([0.0], np.cumsum(np.roll(self.monthly, 1 - month))))
        lasting = np.maximum(hours, 1e-6) / HOURS_PER_MONTH
        years, rest = np.divmod(lasting, 12)
        whole: NDArray[np.float64] = (years * summed[-1] + np.interp(rest, np.arange(13), summed)) / lasting
        return whole


def make_grid(name: str, row: dict[str, Any]) -> Grid:
    for field in ("kg_co2_kwh", "litres_kwh"):
        if field not in row:
            raise InputError(f"--tables: grids.{name}.{field} is missing: give it")
    monthly = tuple(row["monthly"]) if "monthly" in row else None
    if monthly is not None and (len(monthly) != 12 or abs(sum(monthly) / 12 - 1) > 0.02):
        raise InputError(
            f"--tables: grids.{name}.monthly: expected twelve factors that average 1 (found {row['monthly']})"
        )
    return Grid(name, row.get("name", name), row["kg_co2_kwh"], row["litres_kwh"], monthly)


def find_grid(name: str, tables: Tables | None = None) -> Grid:
    """By code or name: "USA", "France". Raises InputError with the nearest names."""
    rows = (tables or load_tables()).grids
    by_name = {key.lower(): key for key in rows} | {row.get("name", key).lower(): key for key, row in rows.items()}
    key = by_name.get(name.strip().lower())
    if key is None:
        known = [each for key, row in rows.items() for each in (key, row.get("name", key))]
        raise InputError(f"--region: {name!r} is not in the table: {nearest(name, known)}")
    return make_grid(key, rows[key])
