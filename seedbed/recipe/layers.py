"""The layers of a recipe: a preset, a user's TOML, a setting; each checked for unknown keys, laid one over the other.

Later layers win. What is wrong is said with the layer it came from.
"""

import difflib
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from seedbed.errors import InputError
from seedbed.recipe.schema import HORIZONS, Recipe

DEFAULT_PRESET = "first-light"
SHAPE = ("layers", "width", "heads", "kv_heads", "head_width", "mlp_width", "context", "window")
# Fields that hold a path or a list of them; in a file they are relative to the file.
PATH_FIELDS = (
    "corpus.sources",
    "corpus.validation",
    "tokens.shards",
    "tokens.validation",
    "tokenizer.path",
    "curate.url.lists",
    "curate.classifier.model",
    "curate.code.tokenizer",
    "curate.dedup.against",
    "curate.decontaminate.sets",
    "curate.decontaminate.ignore",
)


def preset_names() -> list[str]:
    folder = resources.files("seedbed.recipe") / "presets"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def safe_name(text: str, otherwise: str) -> str:
    """A recipe's name from a file's: ASCII letters, digits, '-' and '_'."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in text).strip("-_") or otherwise


def read_layers(source: str) -> list[tuple[str, dict[str, Any]]]:
    """The layers of a preset's name or a file's path, its presets first. Paths in a file are relative to the file."""
    preset = resources.files("seedbed.recipe") / "presets" / f"{source}.toml"
    path = Path(source)
    if preset.is_file():
        origin, text = f"preset {source}", preset.read_text(encoding="utf-8")
    elif path.is_file():
        try:
            origin, text = source, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{source}: not UTF-8 text: a recipe is a TOML file") from None
    else:
        nearest = difflib.get_close_matches(source, preset_names(), 1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"presets: {', '.join(preset_names())}"
        raise InputError(f"{source}: no such preset or recipe file: {hint}")
    try:
        layer = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{origin}: not valid TOML: {error}") from None
    parent = layer.pop("preset", None)
    if parent is None and origin == source:
        parent = DEFAULT_PRESET if "train" not in layer or "corpus" not in layer else None
    if parent is not None and not isinstance(parent, str):
        raise InputError(f"{origin}: preset: must be the name of a preset: {', '.join(preset_names())}")
    if origin == source:
        layer.setdefault("name", safe_name(path.stem, "run"))
        make_paths_absolute(layer, path.resolve().parent)
    return [*(read_layers(parent) if parent else []), (origin, layer)]


def make_paths_absolute(layer: dict[str, Any], base: Path) -> None:
    def absolute(path: str) -> str:
        if path.startswith("builtin:") or "://" in path:
            return path
        return str((base / Path(path).expanduser()).resolve())

    def absolute_item(item: Any) -> Any:
        """A path, or a table with one; anything else is for the recipe's own check."""
        if isinstance(item, str):
            return absolute(item)
        if isinstance(item, dict) and isinstance(item.get("path"), str):
            return {**item, "path": absolute(item["path"])}
        return item

    for field in PATH_FIELDS:
        *parents, key = field.split(".")
        section: Any = layer
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict) or key not in section or section[key] == "none":
            continue
        value = section[key]
        section[key] = [absolute_item(item) for item in value] if isinstance(value, list) else absolute_item(value)


def parse_setting(setting: str) -> dict[str, Any]:
    """`train.steps=100` -> {"train": {"steps": 100}}. The value is TOML; what is not TOML is a string."""
    key, equals, text = setting.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise InputError(f"--set {setting}: expected KEY=VALUE, such as train.batch_tokens=65536")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = None if text in ("none", "None") else text
    nested: Any = value
    for part in reversed(key.strip().split(".")):
        nested = {part: nested}
    return nested


def check_keys(layer: dict[str, Any], section: type[BaseModel], origin: str, prefix: str = "") -> None:
    """Refuse an unknown key, naming the nearest known one."""
    for key, value in layer.items():
        name = f"{prefix}{key}"
        field = section.model_fields.get(key)
        if field is None:
            nearest = nearest_keys(key, section, prefix)
            hint = f"did you mean {' or '.join(nearest)}?" if nearest else f"known: {', '.join(section.model_fields)}"
            raise InputError(f"{origin}: unknown recipe key {name}: {hint}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            if not isinstance(value, dict):
                raise InputError(
                    f"{origin}: {name} is a section: give its fields, such as {name}.{next(iter(field.annotation.model_fields))}"
                )
            check_keys(value, field.annotation, origin, f"{name}.")
        for part in get_args(field.annotation):  # of a list of sections, such as corpus.sources
            if isinstance(part, type) and issubclass(part, BaseModel) and isinstance(value, (list, tuple)):
                for number, entry in enumerate(value):
                    if isinstance(entry, dict):
                        check_keys(entry, part, origin, f"{name}[{number}].")


def nearest_keys(key: str, section: type[BaseModel], prefix: str) -> list[str]:
    """What may have been meant by a key that `section` does not have: the same name elsewhere, a name with that word in it,
    or one spelt nearly so.
    """
    elsewhere = [name for name in all_keys(Recipe) if name.endswith(f".{key}")]
    with_word = [prefix + name for name in section.model_fields if key in name.split("_")]
    with_word.sort(key=lambda name: not name.endswith(key))  # `lr` is rather matrix_lr than final_lr_fraction
    spelt = [prefix + name for name in difflib.get_close_matches(key, section.model_fields, 1)]
    return elsewhere[:3] or with_word[:3] or spelt


def all_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every field of the recipe, with its sections: `train.steps`."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from all_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def merge(base: dict[str, Any], layer: dict[str, Any]) -> None:
    """Lay `layer` over `base`. A horizon given in a later layer replaces the earlier one, whatever its unit, and a model's
    size replaces the shape given before it.
    """
    for key, value in layer.items():
        if isinstance(value, dict) and isinstance(base.get(key, {}), dict):
            target = base.setdefault(key, {})
            if key == "train" and any(value.get(name) is not None for name in HORIZONS):
                for name in HORIZONS:
                    target.pop(name, None)
            if key == "model" and "size" in value:
                for name in SHAPE:
                    target.pop(name, None)
            merge(target, value)
        else:
            base[key] = value


def drop_replaced(base: dict[str, Any], layer: dict[str, Any]) -> None:
    """A layer that gives shards replaces an earlier layer's text, and one that gives text its shards; one that gives a
    tokenizer replaces the size of the vocabulary that was to be trained.
    """
    if layer.get("tokens", {}).get("shards"):
        base.pop("corpus", None)
    elif layer.get("corpus", {}).get("sources"):
        for name in ("shards", "validation"):
            base.get("tokens", {}).pop(name, None)
    if layer.get("tokenizer", {}).get("path"):
        base.get("tokenizer", {}).pop("vocab_size", None)


def validate(values: dict[str, Any], layers: list[tuple[str, dict[str, Any]]]) -> Recipe:
    """The recipe of merged `layers`; a wrong value is reported with the origin of the last layer that sets its field."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        origin = next((o for o, layer in reversed(layers) if sets_field(layer, first["loc"])), layers[-1][0])
        found = first.get("input")
        shown = f" (found {found!r})" if isinstance(found, (str, int, float, bool, list)) else ""
        raise InputError(f"{origin}: {field and f'{field}: '}{in_words(first['type'], first['msg'])}{shown}") from None


EXPECTED = {  # pydantic's kinds of errors that speak of Python, in a recipe's words
    "tuple": "a list",
    "dict": "a table",
    "model": "a table",
    "string": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
}


def in_words(kind: str, message: str) -> str:
    """What pydantic says of a value, for somebody who writes TOML."""
    if kind == "missing":
        return "is missing"
    word, _, rest = kind.partition("_")
    if word in EXPECTED and rest in ("type", "parsing", "parsing_size", "from_float", "number"):
        return f"expected {EXPECTED[word]}"
    number = "a number " if word in ("greater", "less") else ""
    return message.removeprefix("Value error, ").replace("Input should be ", f"expected {number}")


def sets_field(layer: Any, location: tuple[int | str, ...]) -> bool:
    """Whether a layer gives the field of a validation error's location (a list is given whole)."""
    for part in location:
        if not isinstance(layer, dict):
            return True
        if part not in layer:
            return False
        layer = layer[part]
    return True
