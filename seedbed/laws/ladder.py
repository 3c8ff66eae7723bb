"""A ladder of small runs: read from TOML, made through the trainer one after the other, and fitted.

The text is collected, curated and tokenized once, in `OUT/data`; every run reads those shards (`OUT/runs/NAME`, a run folder
like any other). Folders and scores are kept: a ladder that was stopped goes on where it stood.

    OUT/points.csv    one line a run: params, tokens, flops, loss in bits per byte of the held-out text, seconds, role
    OUT/law.json      the law of the runs whose role is "fit"
    OUT/ladder.json   the law's prediction of each held-out run beside what it reached
"""

import csv
import io
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from seedbed.errors import InputError
from seedbed.files import read_json, write_json, write_text
from seedbed.recipe.dump import toml_value
from seedbed.recipe.layers import check_keys, make_paths_absolute, safe_name
from seedbed.recipe.resolve import load_recipe
from seedbed.recipe.schema import Recipe, Section
from seedbed.recipe.shape import parse_count
from seedbed.run.progress import ProgressListener

SCORED_BYTES = (
    32_768  # of held-out text a domain: the same for every run, so what it costs in precision is shared by all
)
COLUMNS = (
    "name",
    "role",
    "size",
    "seed",
    "params",
    "matrix_params",
    "total_params",
    "tokens",
    "flops",
    "loss",
    "seconds",
)


class Rungs(Section):
    """Runs of every size with every length, once for each seed."""

    size: list[str] = Field(min_length=1)
    tokens: list[str] = Field(min_length=1)
    seeds: list[int] = Field(default=[1], min_length=1)


class HeldOut(Section):
    size: str
    tokens: str
    seed: int = 1


class Ladder(Section):
    name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    params: Literal["matrix", "total"] = Field(
        default="matrix",
        description="what counts as a parameter: those in matrix products, head included, so that 6 N D is the compute; or all",
    )
    recipe: dict[str, Any] = Field(default={}, description="a preset and the fields that all runs share")
    runs: list[Rungs] = Field(min_length=1)
    held_out: HeldOut | None = None


@dataclass(frozen=True)
class Rung:
    name: str
    role: str
    size: str
    tokens: int
    seed: int


def ladder_names() -> list[str]:
    folder = resources.files("seedbed.laws") / "ladders"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_ladder(source: str) -> Ladder:
    """A ladder by its name in the package or its file. Raises InputError with the field and the remedy."""
    packaged = resources.files("seedbed.laws") / "ladders" / f"{source}.toml"
    path = Path(source)
    try:
        if packaged.is_file():
            text = packaged.read_text(encoding="utf-8")
        elif path.is_file():
            text = path.read_text(encoding="utf-8")
        else:
            raise InputError(f"{source}: no such ladder or file: ladders: {', '.join(ladder_names())}")
        values = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{source}: not valid TOML: {error}") from None
    values.setdefault("name", safe_name(path.stem, "ladder"))
    check_keys(values, Ladder, source)
    for name, section in (("runs", Rungs), ("held_out", HeldOut)):
        given = values.get(name, [])
        for block in given if isinstance(given, list) else [given]:
            check_keys(block if isinstance(block, dict) else {}, section, source, f"{name}.")
    try:
        ladder = Ladder.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{source}: {field}: {first['msg']}") from None
    make_paths_absolute(ladder.recipe, path.resolve().parent)
    check_rungs(ladder, source)
    return ladder


def check_rungs(ladder: Ladder, source: str) -> None:
    """Refuse a wrong recipe before anything runs, and two sizes that resolve to one shape."""
    shapes: dict[Any, str] = {}
    for rung in rungs(ladder):
        model = rung_recipe(ladder, rung).model
        shape = (model.layers, model.width, rung.tokens, rung.seed)
        other = shapes.setdefault(shape, rung.size)
        if other != rung.size:
            raise InputError(
                f"{source}: sizes {other} and {rung.size} are one shape, {model.layers} layers of width {model.width}: "
                "leave one out"
            )


def rungs(ladder: Ladder) -> list[Rung]:
    """Every run, the cheapest first, the held-out one last."""
    found = {}
    for block in ladder.runs:
        for size in block.size:
            for tokens in block.tokens:
                for seed in block.seeds:
                    rung = make_rung("fit", size, tokens, seed)
                    found[rung.name] = rung
    ordered = sorted(found.values(), key=lambda rung: (parse_count(rung.size) * rung.tokens, rung.name))
    if ladder.held_out:
        ordered.append(make_rung("held out", ladder.held_out.size, ladder.held_out.tokens, ladder.held_out.seed))
    return ordered


def make_rung(role: str, size: str, tokens: str, seed: int) -> Rung:
    return Rung(f"{size}-{parse_count(tokens)}-seed{seed}", role, size, parse_count(tokens), seed)


def rung_recipe(ladder: Ladder, rung: Rung, settings: Sequence[str] = ()) -> Recipe:
    """The ladder's recipe at a rung. A size sets the shape anew, so it comes before the ladder's own fields."""
    values = dict(ladder.recipe)
    preset = values.pop("preset", None)
    length = [f"train.tokens={rung.tokens}", f"seed={rung.seed}"]
    return load_recipe(preset, [f'model.size="{rung.size}"', *flatten(values), *length, *settings])


def flatten(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """{"model": {"context": 128}} -> 'model.context=128'."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={toml_value(value)}"


def run_ladder(
    ladder: Ladder,
    out: Path,
    listen: Callable[[Recipe], ProgressListener],
    say: Callable[[str], None],
    command: str = "",
) -> list[dict[str, Any]]:
    """Make every run that `out` does not hold yet; write and return the points."""
    from seedbed.run.pipeline import run_pipeline

    out.mkdir(parents=True, exist_ok=True)
    todo = rungs(ladder)
    recipe = rung_recipe(ladder, todo[0])
    listener = listen(recipe)
    try:
        data = run_pipeline(recipe, out / "data", listener, "tokenize", command)
    finally:
        listener.close()
    shards = shard_settings(data.stage_path("tokenize"), data.stage_path("tokenizer"))
    points = []
    for number, rung in enumerate(todo, 1):
        points.append(make_run(ladder, rung, shards, out, listen, command))
        write_text(out / "points.csv", points_csv(points))
        found = points[-1]
        say(f"{number}/{len(todo)} {rung.name}: {found['loss']:.4f} bits per byte, {found['seconds']:.0f} s")
    return points


def shard_settings(tokenized: Path, tokenizer: Path) -> list[str]:
    """Settings that make a run read these shards."""
    held_out = sorted(
        p for p in tokenized.iterdir() if p.is_dir() and p.name != "train" and not p.name.startswith("packing")
    )
    if not held_out:
        raise InputError("corpus: no text was held out, so no run can be scored: raise corpus.held_out_fraction")
    validation = [str(path.resolve()) for path in held_out]
    return [
        f"tokens.shards={toml_value([str((tokenized / 'train').resolve())])}",
        f"tokens.validation={toml_value(validation)}",
        f"tokenizer.path={toml_value(str((tokenizer / 'tokenizer.json').resolve()))}",
    ]


def make_run(
    ladder: Ladder,
    rung: Rung,
    shards: list[str],
    out: Path,
    listen: Callable[[Recipe], ProgressListener],
    command: str,
) -> dict[str, Any]:
    """One run's point: trained and scored, or read from where it was kept."""
    from seedbed.run.pipeline import run_pipeline

    recipe = rung_recipe(ladder, rung, ["train.validate_every_fraction=1.0", *shards])
    path = out / "runs" / rung.name
    listener = listen(recipe)
    began = time.monotonic()
    try:
        folder = run_pipeline(recipe, path, listener, "train", command)
    finally:
        listener.close()
    trained = folder.index()["train"]
    kept = path / "point.json"
    if kept.is_file() and (point := read_json(kept))["stage"] == trained:
        found: dict[str, Any] = point["point"]
    else:
        found = score_run(folder.stage_path("train"), folder.stage_path("tokenize"), recipe, ladder.params)
        found["seconds"] = round(time.monotonic() - began, 1)
        write_json(kept, {"stage": trained, "point": found})
    return {"name": rung.name, "role": rung.role, "size": rung.size, "seed": rung.seed, **found}


def score_run(trained: Path, tokenized: Path, recipe: Recipe, counted: str) -> dict[str, Any]:
    """Parameters, tokens and the bits per byte of the held-out text of a finished `train` stage."""
    from seedbed.evaluate.bits import bits_per_byte, score_split
    from seedbed.evaluate.open_model import open_model
    from seedbed.model.arithmetic import count_parameters

    summary = read_json(trained / "stage.json")["summary"]
    model, tokenizer = open_model(trained, recipe.train)
    scores: dict[str, dict[str, Any]] = {}
    for split in sorted(p for p in tokenized.iterdir() if p.is_dir() and p.name != "train"):
        for domain, score in score_split(model, split, SCORED_BYTES, tokenizer=tokenizer).items():
            scores[f"{split.name}/{domain}"] = score
    count = count_parameters(model.config)
    params = count.matrices if counted == "matrix" else count.total
    return {
        "params": params,
        "matrix_params": count.matrices,
        "total_params": count.total,
        "tokens": summary["tokens"],
        "flops": 6 * params * summary["tokens"],
        "loss": bits_per_byte(scores)["all"],
    }


def points_csv(points: list[dict[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: point[name] for name in COLUMNS} for point in points)
    return file.getvalue()
