"""Devices and their figures, from `tables/chips.toml` or a user's file. Rates are dense; links count one direction."""

import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from seedbed.errors import InputError
from seedbed.plan.tables import Tables, load_tables, nearest

GB = 1e9
NOT_PUBLISHED = float("nan")
USABLE_FRACTION = 0.9  # of memory: the allocator, the libraries and fragments keep the rest; an assumption
# what starting a collective takes however small; the order NCCL reports within a machine, an assumption
COLLECTIVE_SECONDS = 2e-5


@dataclass(frozen=True)
class Chip:
    """`link_bytes` a second to another device of the machine, `network_bytes` to one of another machine, per device.

    What is not published is NaN, or None for a range: what needs it is not known either, and asking for it is refused.
    """

    name: str
    memory_bytes: float
    memory_bandwidth: float  # bytes a second
    bfloat16_flops: float
    link_bytes: float
    network_bytes: float
    devices: int  # in a machine
    watts: float  # of the device at its limit
    source: str
    float8_flops: float = NOT_PUBLISHED
    server_factor: float = NOT_PUBLISHED  # watts of the server a device over those of the device
    mean_draw: float = NOT_PUBLISHED  # of the limit, while training
    price_usd: float = NOT_PUBLISHED  # with its share of the server, without the network
    rent_usd_hour: tuple[float, float, float] | None = None  # low, usual, high
    embodied_kg: float = NOT_PUBLISHED
    dated: str = ""  # of the rents
    mfu: float = NOT_PUBLISHED  # reached by the user's own runs on such a device (plan/calibration.py)

    def need(self, field: str) -> Any:
        """The field's value. Raises InputError where it is not published."""
        value = getattr(self, field)
        if value is None or value != value:
            raise InputError(
                f"--chip {self.name}: no published {COLUMNS.get(field, field)}: give it in a file for --tables, "
                f"under [chips.{self.name}]"
            )
        return value

    @property
    def server_watts(self) -> float:
        """Mean draw of a training server, per device."""
        return self.watts * self.server_factor * self.mean_draw


COLUMNS = {
    "memory_bytes": "memory_gb",
    "memory_bandwidth": "bandwidth_gbs",
    "bfloat16_flops": "bf16_tflops",
    "float8_flops": "fp8_tflops",
    "link_bytes": "link_gbs",
    "network_bytes": "network_gbs",
    "devices": "machine",
}
SCALES = {
    "memory_gb": GB,
    "bandwidth_gbs": GB,
    "link_gbs": GB,
    "network_gbs": GB,
    "bf16_tflops": 1e12,
    "fp8_tflops": 1e12,
}
REQUIRED = ("memory_gb", "bandwidth_gbs", "bf16_tflops", "link_gbs", "network_gbs", "machine", "source")


def make_chip(name: str, row: dict[str, Any]) -> Chip:
    """A row of the table in base units. Raises InputError for a row of a user that lacks what every device needs."""
    for column in REQUIRED:
        if column not in row:
            raise InputError(
                f"--tables: chips.{name}.{column} is missing: give it, a device needs {', '.join(REQUIRED)}"
            )
    values: dict[str, Any] = {"name": name, "watts": NOT_PUBLISHED, "dated": str(row.get("rent_date", ""))}
    for field in fields(Chip):
        column = COLUMNS.get(field.name, field.name)
        if column in row:
            value = row[column]
            values[field.name] = tuple(value) if isinstance(value, list) else value * SCALES.get(column, 1)
    return Chip(**values)


@cache
def package_chips() -> dict[str, Chip]:
    return {name: make_chip(name, row) for name, row in load_tables().chips.items()}


CHIPS = package_chips()


def find_chip(name: str, tables: Tables | None = None, option: str = "--gpu") -> Chip:
    """By its name in the table, or by what the driver calls it: "h100" or "NVIDIA H100 80GB HBM3". Raises InputError."""
    rows = (tables or load_tables()).chips
    found = known_chip(name, rows)
    if found is None:
        raise InputError(f"{option}: {name!r} is not in the table: {nearest(name, rows)}")
    return make_chip(found, rows[found])


def known_chip(name: str, rows: dict[str, dict[str, Any]] | None = None) -> str | None:
    """The row's name, None where no row fits."""
    rows = rows or load_tables().chips
    lowered = name.strip().lower()
    if lowered in rows:
        return lowered
    drivers = ((key, row["driver"]) for key, row in rows.items() if "driver" in row)
    # a name of one word is a name of the table, misspelt or not; drivers' names have several
    return next((key for key, driver in drivers if " " in lowered and re.search(driver, name, re.IGNORECASE)), None)
