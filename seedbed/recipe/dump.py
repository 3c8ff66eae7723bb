"""A complete recipe as a TOML file, and back."""

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from seedbed.errors import InputError
from seedbed.recipe.layers import check_keys, validate
from seedbed.recipe.schema import Recipe


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML. TOML has no null: a None that is a field's default is left out, others are "none"."""
    values = recipe.model_dump(mode="json")
    lines = [f"# Complete recipe, written by seedbed. Run it again: seedbed run {'recipe.toml'}"]
    scalars = {k: v for k, v in values.items() if not isinstance(v, dict)}
    lines += [f"{key} = {toml_value(value)}" for key, value in scalars.items()]
    for name, fields in values.items():
        if isinstance(fields, dict):
            lines += section_lines(name, fields, getattr(recipe, name))
    return "\n".join(lines) + "\n"


def section_lines(name: str, fields: dict[str, Any], section: BaseModel) -> list[str]:
    """One table and the tables in it. Within `curate`, whose preset may set what is None by default, every None is said."""
    lines, tables = ["", f"[{name}]"], []
    for key, value in fields.items():
        inner = getattr(section, key)
        if isinstance(inner, BaseModel):
            tables += section_lines(f"{name}.{key}", value, inner)
        elif value is not None:
            lines.append(f"{key} = {toml_value(value)}")
        elif name.startswith("curate") or type(section).model_fields[key].default is not None:
            lines.append(f'{key} = "none"')
    return lines + tables


def toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        entries = (f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items() if item is not None)
        return "{ " + ", ".join(entries) + " }"
    raise TypeError(f"no TOML for {type(value)}")


def toml_key(key: str) -> str:
    """A key as TOML has it: bare where it may be, else a string."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def load_resolved(path: Path) -> Recipe:
    """Read a recipe that `dump_recipe` wrote into a run's folder. Raises InputError where it is damaged."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        check_keys(values, Recipe, "in it")
        return validate(values, [("in it", values)])
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, InputError) as error:
        remedy = f"delete it and run `seedbed run --out {path.parent}`, which writes it anew"
        raise InputError(f"{path}: not a valid recipe ({error}): {remedy}") from None
