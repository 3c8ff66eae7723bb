"""Energy, carbon and water of device-hours, each with its boundary. Every function takes numbers or arrays of them.

    chip       the devices alone, at their mean draw
    server     with processors, memory, fans and adapters: the IT energy of the building
    facility   with cooling and losses: IT energy x PUE

Carbon is location-based (the grid's mix) and market-based (what contracts leave) apart, operational and embodied apart. Water is
on site (evaporated in cooling, a kWh of IT energy) and off site (at the power plants, a kWh of the facility) apart:
E_IT x (WUE_site + PUE x WUE_grid), Li et al. 2023 (arXiv 2304.03271).
"""

from dataclasses import dataclass
from typing import Any

from seedbed.plan.chips import Chip
from seedbed.plan.grids import Grid
from seedbed.plan.tables import Tables

Number = Any  # a float, or a NumPy array of them


@dataclass(frozen=True)
class Building:
    pue: float
    litres_site_kwh: float  # of IT energy, evaporated on site
    grid: Grid
    clean_share: float = 0.0  # of the energy that contracts cover with electricity free of carbon
    month: int | None = None  # the run's first


@dataclass(frozen=True)
class Footprint:
    """kWh, kg CO2e and litres. `kg_embodied`: the devices' and servers' making, by hours of use."""

    chip_kwh: Number
    server_kwh: Number
    facility_kwh: Number
    kg_location: Number
    kg_market: Number
    kg_embodied: Number
    litres_site: Number
    litres_grid: Number
    carbon_note: str = "yearly mean"

    @property
    def litres(self) -> Number:
        return self.litres_site + self.litres_grid

    @property
    def kg_total(self) -> Number:
        """Location-based and embodied."""
        return self.kg_location + self.kg_embodied


def facility_kwh(server_kwh: Number, pue: float) -> Number:
    return server_kwh * pue


def water_litres(
    server_kwh: Number, litres_site_kwh: float, pue: float, litres_grid_kwh: float
) -> tuple[Number, Number]:
    """(on site, off site) of so much IT energy."""
    return server_kwh * litres_site_kwh, server_kwh * pue * litres_grid_kwh


def embodied_kg_hour(chip: Chip, tables: Tables) -> float:
    """kg CO2e of making a device and its share of the server, an hour of its use."""
    rows = tables.prices["embodied"]
    device = chip.embodied_kg if chip.embodied_kg == chip.embodied_kg else rows["device_kg"]
    return (device + rows["server_kg"] / rows["server_devices"]) / rows["life_hours"]


def footprint(chip: Chip, device_hours: Number, building: Building, tables: Tables, hours: float = 0.0) -> Footprint:
    """Of so many device-hours of training. `hours` of wall clock say which months a run sees."""
    chip_kwh = device_hours * chip.watts * chip.mean_draw / 1000
    return of_energy(chip_kwh, chip_kwh * chip.server_factor, device_hours, chip, building, tables, hours)


def of_energy(
    chip_kwh: Number,
    server_kwh: Number,
    device_hours: Number,
    chip: Chip,
    building: Building,
    tables: Tables,
    hours: float = 0.0,
) -> Footprint:
    """Of known energy at the chip and the server."""
    whole = facility_kwh(server_kwh, building.pue)
    kg_kwh, note = building.grid.carbon_of(building.month, hours)
    site, off_site = water_litres(server_kwh, building.litres_site_kwh, building.pue, building.grid.litres_kwh)
    return Footprint(
        chip_kwh=chip_kwh,
        server_kwh=server_kwh,
        facility_kwh=whole,
        kg_location=whole * kg_kwh,
        kg_market=whole * kg_kwh * (1 - building.clean_share),
        kg_embodied=device_hours * embodied_kg_hour(chip, tables),
        litres_site=site,
        litres_grid=off_site,
        carbon_note=note,
    )
