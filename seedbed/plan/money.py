"""Dollars of device-hours, rented or owned, and of what comes with them: network, electricity, cooling, storage, data, people.

Every function takes numbers or arrays of them. Amortisation after Epoch AI (Cottier et al. 2024, arXiv 2405.21015): a device
loses 0.14 powers of ten of its value a year, of which each hour of use bears its part; the cluster's network is 19% of its price.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from seedbed.plan.chips import Chip
from seedbed.plan.tables import Tables

HOURS_PER_YEAR = 8766
HOURS_PER_MONTH = HOURS_PER_YEAR / 12
Number = Any  # a float, or a NumPy array of them


@dataclass(frozen=True)
class Terms:
    """How devices are paid, and the prices around them. `multiplier`: the programme's compute over the final run's."""

    mode: Literal["rent", "own"]
    rent_usd_hour: float  # of a device; NaN when owned
    usd_kwh: float
    pue: float
    multiplier: float = 1.5
    goodput: float = 0.95  # before faults
    price_usd: float = math.nan  # of a device with its share of the server
    age_years: float = 0.0  # of the devices at the start
    people: float = 0.0  # who work on it for as long as it takes
    usd_person_year: float = 400_000
    data_usd_a_billion_tokens: float = 0.0
    depreciation_orders_year: float = 0.14
    network_share: float = 0.19


@dataclass(frozen=True)
class Costs:
    """Dollars of a programme by part. `devices`, `network`, `electricity` and `cooling` hold the multiplier."""

    devices: Number
    network: Number
    electricity: Number
    cooling: Number  # and the building's other losses: what PUE adds
    storage: Number
    data: Number
    staff: Number

    @property
    def total(self) -> Number:
        return sum(getattr(self, name) for name in PARTS)


PARTS = ("devices", "network", "electricity", "cooling", "storage", "data", "staff")


def value_at_age(price_usd: Number, years: Number, orders_year: float = 0.14) -> Number:
    """What a device is worth so many years after its price held."""
    return price_usd * 10.0 ** (-orders_year * years)


def owned_usd_hour(price_usd: Number, years: Number = 0.0, orders_year: float = 0.14) -> Number:
    """Value that a device loses in an hour, without the network: price x 0.14 ln 10 / 8766."""
    return value_at_age(price_usd, years, orders_year) * orders_year * math.log(10) / HOURS_PER_YEAR


def network_over_devices(share: float) -> float:
    """The network's price over the devices', where it is this share of both together."""
    return share / (1 - share)


def goodput_of(devices: Number, base: float, tables: Tables) -> Number:
    """Share of the wall clock in steps that count: faults grow with devices, each costs a restart."""
    programme = tables.prices["programme"]
    return base / (1 + devices * programme["restart_seconds"] / 3600 / programme["fault_hours_a_device"])


def programme_costs(
    chip: Chip, terms: Terms, device_hours: Number, days: Number, tokens: Number, parameters: Number, tables: Tables
) -> Costs:
    """Of a final run of so many device-hours and days, and of the programme around it."""
    hours = np.asarray(device_hours, dtype=float) * terms.multiplier
    if terms.mode == "rent":  # rents hold network, electricity and cooling
        devices = hours * terms.rent_usd_hour
        network = electricity = cooling = np.zeros_like(hours)
    else:
        devices = hours * owned_usd_hour(terms.price_usd, terms.age_years, terms.depreciation_orders_year)
        network = devices * network_over_devices(terms.network_share)
        kwh = hours * chip.server_watts / 1000
        electricity = kwh * terms.usd_kwh
        cooling = electricity * (terms.pue - 1)
    return Costs(
        devices=devices,
        network=network,
        electricity=electricity,
        cooling=cooling,
        storage=storage_usd(tokens, parameters, days, terms.multiplier, tables),
        data=np.asarray(tokens, dtype=float) / 1e9 * terms.data_usd_a_billion_tokens,
        staff=terms.people * terms.usd_person_year * np.asarray(days, dtype=float) * terms.multiplier / 365.25,
    )


def data_usd(megabytes_second: float, tables: Tables) -> float:
    """Dollars a billion tokens where a core curates so many megabytes of raw text a second."""
    prices = tables.prices["data"]
    raw = tables.prices["storage"]["bytes_a_token"] * 1e9 / prices["kept_share"]
    return raw / (megabytes_second * 1e6) / 3600 * prices["usd_core_hour"]


def storage_usd(tokens: Number, parameters: Number, days: Number, multiplier: Number, tables: Tables) -> Number:
    """Of the text and the kept checkpoints in an object store, for as long as the programme takes, a month at least."""
    prices = tables.prices["storage"]
    months = np.maximum(np.asarray(days, dtype=float) / 30.4375, 1.0) * multiplier
    kept = prices["checkpoint_bytes_a_parameter"] * prices["checkpoints_kept"] * np.asarray(parameters, dtype=float)
    gigabytes = (kept + prices["bytes_a_token"] * np.asarray(tokens, dtype=float)) / 1e9
    return gigabytes * prices["usd_gb_month"] * months
