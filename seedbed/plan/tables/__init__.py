"""The planner's tables: devices, grids and prices as dated TOML with sources, and a user's own file laid over them.

Takes a path or None; gives plain dictionaries. A user's file has the sections `chips`, `grids` and `prices`, and may change one
field of a row or add a row: `[chips.h100]` with `rent_usd_hour = [2.1, 2.1, 2.1]`. Unknown fields are refused.
"""

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from seedbed.errors import InputError

NAMES = ("chips", "grids", "prices")


@dataclass(frozen=True)
class Tables:
    chips: dict[str, dict[str, Any]]
    grids: dict[str, dict[str, Any]]
    prices: dict[str, dict[str, Any]]
    origin: str = "the package's tables"


@cache
def read_table(name: str) -> dict[str, Any]:
    """A TOML file of this package, parsed."""
    return tomllib.loads((resources.files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))


def load_tables(path: Path | None = None) -> Tables:
    """The package's tables, with the rows of the file at `path` laid over them. Raises InputError."""
    tables = {name: {row: dict(fields) for row, fields in read_table(name).items()} for name in NAMES}
    chips, grids, prices = (tables[name] for name in NAMES)
    if path is None:
        return Tables(chips, grids, prices)
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--tables: {path}: {error.strerror}: give a TOML file") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"--tables: {path}: not valid TOML: {error}") from None
    known = {name: {field for fields in rows.values() for field in fields} for name, rows in tables.items()}
    for name, rows in own.items():
        if name not in tables or not isinstance(rows, dict):
            raise InputError(f"--tables: {path}: unknown section {name!r}: {nearest(name, NAMES)}")
        for row, fields in rows.items():
            if not isinstance(fields, dict):
                raise InputError(f"--tables: {path}: {name}.{row}: expected a table of fields")
            allowed = set(tables[name].get(row, ())) if name == "prices" else known[name]
            for field, value in fields.items():
                if field not in allowed:
                    raise InputError(f"--tables: {path}: unknown field {name}.{row}.{field}: {nearest(field, allowed)}")
                check_kind(f"{path}: {name}.{row}.{field}", value, sample(tables[name], row, field))
            tables[name].setdefault(row, {}).update(fields)
    return Tables(chips, grids, prices, f"the package's tables and {path}")


def sample(rows: dict[str, dict[str, Any]], row: str, field: str) -> Any:
    """A value of the field as the package has it."""
    return next(fields[field] for fields in (rows.get(row, {}), *rows.values()) if field in fields)


def check_kind(where: str, value: Any, like: Any) -> None:
    """Refuse a value of another kind than the package's: a number for a number, three rising numbers for a range."""
    if isinstance(like, list):
        good = isinstance(value, list) and len(value) == len(like) and all(map(is_positive, value))
        rising = ", rising" if len(like) == 3 else ""
        if not good or (rising and value != sorted(value)):
            raise InputError(
                f"--tables: {where}: expected {len(like)} numbers{rising}, such as {like} (found {value!r})"
            )
    elif isinstance(like, (int, float)):
        if not is_positive(value):
            raise InputError(f"--tables: {where}: expected a number such as {like} (found {value!r})")
    elif not isinstance(value, type(like)):
        raise InputError(f"--tables: {where}: expected a value such as {str(like)!r} (found {value!r})")


def is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known ones, else all."""
    lowered = {each.lower(): each for each in sorted(known)}
    found = difflib.get_close_matches(name.lower(), lowered, 3, cutoff=0.5)
    return (
        f"did you mean {', '.join(lowered[each] for each in found)}?"
        if found
        else f"known: {', '.join(lowered.values())}"
    )
