"""Quantities as people write them on the command line, with their unit: 14d, 50MWh, 30t, 100m3, 2e9/day. No unit is guessed."""

import math
import re

from seedbed.errors import InputError

MOST = 1e18  # of any quantity, in its base unit: more is a slip of the keyboard, not a plan
SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
DAYS = {"min": 1 / 1440, "h": 1 / 24, "d": 1.0, "w": 7.0, "mo": 30.4375, "y": 365.25}
KWH = {"Wh": 1e-3, "kWh": 1.0, "MWh": 1e3, "GWh": 1e6, "J": 1 / 3.6e6, "MJ": 1 / 3.6, "GJ": 1e3 / 3.6}
KILOGRAMS = {"g": 1e-3, "kg": 1.0, "t": 1e3, "kt": 1e6}
LITRES = {"mL": 1e-3, "L": 1.0, "kL": 1e3, "ML": 1e6, "m3": 1e3}
PER_DAY = {
    "day": 1.0,
    "d": 1.0,
    "h": 24.0,
    "hour": 24.0,
    "s": 86_400.0,
    "month": 1 / 30.4375,
    "mo": 1 / 30.4375,
    "year": 1 / 365.25,
}
NUMBER = re.compile(r"\s*([+-]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$")


def split(option: str, text: str, example: str) -> tuple[float, str]:
    """(number, unit) of a text. Raises InputError for no number, one that is not above 0, or one too large to be one."""
    match = NUMBER.match(text)
    try:
        value = float(match[1].replace(",", "").replace("_", "")) if match else math.nan
    except ValueError:
        value = math.nan
    if match is None or not (math.isfinite(value) and value > 0):
        raise InputError(f"{option}: {text!r} is not a quantity above 0: give one such as {example}")
    return value, match[2]


def with_unit(option: str, text: str, units: dict[str, float], example: str) -> float:
    """The text's number in the table's base unit. Raises InputError without a unit, and for one of another kind."""
    value, unit = split(option, text, example)
    if unit not in units:
        found = f"the unit {unit!r}" if unit else "no unit"
        known = ", ".join(name or "none" for name in units)
        raise InputError(f"{option}: {text!r} has {found}: give one of {known}, such as {example}")
    if value * units[unit] > MOST:
        raise InputError(f"{option}: {text!r} is more than {MOST:g}: give a quantity such as {example}")
    return value * units[unit]


def dollars(option: str, text: str) -> float:
    return with_unit(option, text.strip().removeprefix("$"), SCALES, "100000 or 1.5M")


def days(option: str, text: str) -> float:
    return with_unit(option, text, DAYS, "14d")


def kwh(option: str, text: str) -> float:
    return with_unit(option, text, KWH, "50MWh")


def kilograms(option: str, text: str) -> float:
    return with_unit(option, text, KILOGRAMS, "30t")


def litres(option: str, text: str) -> float:
    return with_unit(option, text, LITRES, "100m3")


def count(option: str, text: str) -> float:
    """Tokens or parameters: 7e9, 7B, 300M."""
    return with_unit(option, text, SCALES, "7e9 or 7B")


def tokens_day(option: str, text: str) -> float:
    """2e9/day, 2B/day, 500/s."""
    number, slash, per = text.partition("/")
    if not slash or per.strip() not in PER_DAY:
        raise InputError(f"{option}: {text!r}: give tokens over time, such as 2e9/day (of {', '.join(PER_DAY)})")
    return count(option, number) * PER_DAY[per.strip()]


def plain(option: str, text: str, example: str) -> float:
    """A number without a unit, such as a loss."""
    value, unit = split(option, text, example)
    if unit:
        raise InputError(f"{option}: {text!r} has the unit {unit!r}: give a number alone, such as {example}")
    return value
