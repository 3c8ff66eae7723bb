"""From a preset or a user's TOML and a few dials to a complete recipe.

Layers, later ones win: the preset named by `preset = "..."`, the user's file, the dials, `--set`. Then every field that is
still `None` and has a rule here is derived.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from seedbed.errors import InputError
from seedbed.recipe.attention import resolve_attention
from seedbed.recipe.objective import check_objective, special_tokens
from seedbed.recipe.parts import resolve_experts, resolve_latent
from seedbed.recipe.schema import HORIZONS, Recipe, TrainConfig

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
SWIGLU = ("llama", "qwen3", "olmo2")  # architectures with three matrices in the feed-forward part


def preset_names() -> list[str]:
    folder = resources.files("seedbed.recipe") / "presets"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_recipe(
    source: str | None = None,
    settings: Iterable[str] = (),
    minutes: float | None = None,
    size: str | None = None,
    corpus: Path | None = None,
) -> Recipe:
    """The complete recipe for a preset's name or a TOML file (default: first-light) and the command line's dials."""
    layers = read_layers(source or DEFAULT_PRESET)
    if corpus is not None:
        if not corpus.exists():
            raise InputError(f"--corpus: {corpus} does not exist: give a file or a folder of text")
        name = safe_name(corpus.resolve().name.split(".")[0], "corpus")
        layers.append(("--corpus", {"name": name, "corpus": {"sources": [str(corpus.resolve())]}}))
    if minutes is not None:
        layers.append(("--minutes", {"train": {"minutes": minutes}}))
    if size is not None:
        layers.append(("--size", {"model": {"size": size}}))
    layers += [(f"--set {setting}", parse_setting(setting)) for setting in settings]
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        check_keys(layer, Recipe, origin)
        drop_other_data(merged, layer)
        merge(merged, layer)
    return resolve(validate(merged, layers))


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
    if not equals or not key.strip():
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
            nearest = difflib.get_close_matches(key, section.model_fields, 1, cutoff=0.5)
            hint = f"did you mean {prefix}{nearest[0]!s}?" if nearest else f"known: {', '.join(section.model_fields)}"
            raise InputError(f"{origin}: unknown recipe key {name}: {hint}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            if not isinstance(value, dict):
                raise InputError(
                    f"{origin}: {name} is a section: give its fields, such as {name}.{next(iter(field.annotation.model_fields))}"
                )
            check_keys(value, field.annotation, origin, f"{name}.")


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


def drop_other_data(base: dict[str, Any], layer: dict[str, Any]) -> None:
    """A layer that gives shards replaces an earlier layer's text, and one that gives text its shards."""
    if layer.get("tokens", {}).get("shards"):
        base.pop("corpus", None)
    elif layer.get("corpus", {}).get("sources"):
        for name in ("shards", "validation"):
            base.get("tokens", {}).pop(name, None)


def validate(values: dict[str, Any], layers: list[tuple[str, dict[str, Any]]]) -> Recipe:
    """The recipe of merged `layers`; a wrong value is reported with the origin of the last layer that sets its field."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "recipe"
        origin = next((o for o, layer in reversed(layers) if sets_field(layer, first["loc"])), layers[-1][0])
        found = first.get("input")
        shown = f" (found {found!r})" if isinstance(found, (str, int, float, bool, list)) else ""
        raise InputError(f"{origin}: {field}: {first['msg'].removeprefix('Value error, ')}{shown}") from None


def sets_field(layer: Any, location: tuple[int | str, ...]) -> bool:
    """Whether a layer gives the field of a validation error's location (a list is given whole)."""
    for part in location:
        if not isinstance(layer, dict):
            return True
        if part not in layer:
            return False
        layer = layer[part]
    return True


def parse_count(text: str) -> int:
    """'2M' -> 2_000_000; units k, M, B, T."""
    units = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
    try:
        value = float(text[:-1]) * units[text[-1].lower()] if text[-1:].lower() in units else float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 1):
        raise InputError(f"model.size: {text!r} is not a size: give parameters such as 2M, 120M or 1.3B")
    return int(value)


def derive_shape(parameters: int) -> tuple[int, int]:
    """Layers and width for about `parameters` in the layers (12 L W^2; four times the width in the feed-forward part).

    Width per layer is 32 at the smallest and grows to 128: nanochat uses 64 at 100M and Llama 3 8B 128; the low end
    is the shape small CPU runs are usually given (4 x 128), not tuned here.
    """
    best = (math.inf, 1, 32)
    step = 32 if parameters < 20_000_000 else 64 if parameters < 500_000_000 else 128
    for layers in range(2, 129):
        for width in range(step, 16_385, step):
            count = 12 * layers * width * width
            if count > 2 * parameters:
                break
            ratio = width / layers
            wanted = min(max(32.0, 32.0 * (parameters / 1e6) ** 0.15), 128.0)
            miss = abs(math.log(count / parameters)) + 0.5 * abs(math.log(ratio / wanted))
            best = min(best, (miss, layers, width))
    return best[1], best[2]


def derive_heads(width: int) -> int:
    """Heads of 32 dimensions up to width 192, 64 up to 1024, 128 above (nanochat and Llama 3 use 128)."""
    head = 32 if width <= 192 else 64 if width <= 1024 else 128
    while width % head:
        head //= 2
    return width // head


def resolve(recipe: Recipe) -> Recipe:
    """Fill in every derived field of model and train. The vocabulary also depends on the corpus: see `tokenizer` stage."""
    model, train = recipe.model, recipe.train
    parameters = parse_count(model.size)
    layers, width = derive_shape(parameters)
    layers, width = model.layers or layers, model.width or width
    heads = model.heads or derive_heads(width)
    context = model.context or (128 if parameters < 20_000_000 else 1024 if parameters < 500_000_000 else 2048)
    updates: dict[str, Any] = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "mlp_width": model.mlp_width or (derive_swiglu_mlp(width) if model.architecture in SWIGLU else 4 * width),
        "context": context,
    }
    if model.ngram_rows is None:
        updates["ngram_rows"] = 0 if model.architecture != "seedbed" else 2**15 if parameters < 20_000_000 else 0
    if train.max_epochs is None:
        # Four passes are nearly as good as new text (Muennighoff et al. 2023, section 5). Hashed n-gram tables learn rows by
        # heart in the third: tinyshakespeare came to 2.18 bits a character after 1.9 passes and to 2.49 after 3.5
        # (bench/train_text.py tinyshakespeare --seconds 95 --set train.max_epochs=100).
        train = train.model_copy(update={"max_epochs": 2.0 if updates.get("ngram_rows", model.ngram_rows) else 4.0})
    if model.prior_order is None:
        # counting pays where training is short; above 20M parameters the transformer learns as much by itself
        counted = model.architecture == "seedbed" and train.objective == "causal" and parameters < 20_000_000
        updates["prior_order"] = 5 if counted else 0
    check_objective(train.objective, model.architecture, model.prior_order or 0)
    check_packing(recipe)
    special_tokens(train.objective, context, train.span_fraction, train.span_tokens)  # refuses spans that do not fit
    if model.prior_order == 1:
        raise InputError("model.prior_order: 1 is no context at all: give 0 (no expert) or 2 to 8")
    updates |= resolve_attention(model, width, heads, context)
    batch_tokens = train.batch_tokens or derive_batch_tokens(parameters, context)
    if batch_tokens % context:
        raise InputError(
            f"train.batch_tokens: {batch_tokens} is not a multiple of model.context {context}: round it to one"
        )
    decay_from_step = check_branch(train)
    check_batch_warmup(train.batch_warmup, batch_tokens, context)
    steps = train.steps or (train.tokens and train.tokens // batch_tokens)
    updates |= resolve_experts(model, layers, updates["mlp_width"], steps)
    updates |= resolve_latent(model, heads, updates["head_width"])
    rows = batch_tokens // context
    if train.micro_batch_rows and rows % train.micro_batch_rows:
        raise InputError(f"train.micro_batch_rows: {train.micro_batch_rows} does not divide the {rows} rows of a batch")
    return recipe.model_copy(
        update={
            "model": model.model_copy(update=updates),
            "train": train.model_copy(update={"batch_tokens": batch_tokens, "decay_from_step": decay_from_step}),
        }
    )


def check_branch(train: TrainConfig) -> int | None:
    """The step at which the decay begins, where it is stated or follows from the branch."""
    begin = train.decay_from_step
    if (train.start_from or begin is not None) and train.schedule != "trapezoid":
        field = "start_from" if train.start_from else "decay_from_step"
        raise InputError(
            f"train.{field}: needs train.schedule=trapezoid, the one with a plateau (found {train.schedule})"
        )
    if train.start_from is None:
        return begin
    start = step_of_start(train.start_from)
    if train.minutes is not None:
        raise InputError(f"train.start_from: give the horizon as train.steps, counted from step 0 (more than {start})")
    if train.steps is not None and train.steps <= start:
        raise InputError(f"train.steps: {train.steps} steps are over at the start, step {start}: give more")
    if begin is not None and begin < start:
        raise InputError(f"train.decay_from_step: {begin} lies before the start, step {start}: give {start} or more")
    return start if begin is None else begin


def step_of_start(start_from: str) -> int:
    """The step that the checkpoint reached, from its name alone."""
    match = re.search(r"(?:@|step-)(\d+)/?$", start_from)
    if match is None:
        raise InputError(
            f"train.start_from: {start_from!r} names no step: give RUN@STEP, such as runs/long@1000, or a folder step-NNN"
        )
    return int(match[1])


def check_packing(recipe: Recipe) -> None:
    """Refuse packing and masks where the objective moves tokens across documents, or would look at padding."""
    tokens, objective = recipe.tokens, recipe.train.objective
    for field, asked in (("packing", tokens.packing == "best-fit"), ("document_masks", tokens.document_masks)):
        if asked and objective == "span":
            raise InputError(
                f"tokens.{field}: train.objective {objective!r} moves tokens to the end of the row: leave it out"
            )
    if tokens.packing == "best-fit" and objective == "masked" and not tokens.document_masks:
        raise InputError(
            "tokens.packing: an encoder would attend to the padding of best-fit: set tokens.document_masks"
        )


def check_batch_warmup(phases: tuple[tuple[int, int], ...], batch_tokens: int, context: int) -> None:
    for (steps, tokens), after in zip(phases, [tokens for _, tokens in (*phases[1:], (0, batch_tokens))], strict=False):
        if steps < 1 or tokens < 1 or tokens % context or tokens >= after:
            raise InputError(
                f"train.batch_warmup: [{steps}, {tokens}] must be one step or more of a multiple of model.context {context} "
                f"tokens, fewer than the {after} that follow"
            )


def derive_swiglu_mlp(width: int) -> int:
    """Two thirds of 4 x width for the three matrices of SwiGLU, rounded up to 32 (Touvron et al. 2023, section 2.2)."""
    return math.ceil(8 * width / 3 / 32) * 32


def derive_batch_tokens(parameters: int, context: int) -> int:
    """Global batch: 1,024 tokens at 1M parameters growing as N^0.75 to 0.5M tokens at 4B, a power of two of contexts."""
    tokens = 1024 * (parameters / 1e6) ** 0.75
    return context * 2 ** max(0, round(math.log2(tokens / context)))


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
    """Read a recipe that `dump_recipe` wrote."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a valid recipe ({error}): restore it or choose another --out folder") from None
    check_keys(values, Recipe, str(path))
    return validate(values, [(str(path), values)])
