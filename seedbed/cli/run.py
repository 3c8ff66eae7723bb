"""`seedbed run`, and the verbs that run the path up to one stage."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from seedbed.corpus.executors import Execution
    from seedbed.recipe.schema import Recipe

RecipeArgument = Annotated[str | None, typer.Argument(help="A preset's name or a TOML file; default: first-light.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="The run folder; default: runs/NAME.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any field of the recipe, such as train.batch_tokens=65536.")
]
MinutesOption = Annotated[
    float | None, typer.Option("--minutes", help="Minutes of training; the rest takes about one.")
]
SizeOption = Annotated[str | None, typer.Option("--size", help="Matrix parameters, such as 1M, 20M or 1.3B.")]
CorpusOption = Annotated[
    list[str] | None,
    typer.Option("--corpus", metavar="<path>", help="A file or folder of your own text; repeat for more."),
]
ParallelOption = Annotated[
    str | None, typer.Option("--parallel", help="How the ranks of torchrun share the model: auto, or fsdp=8,tp=2.")
]
ExecutorOption = Annotated[
    str, typer.Option("--executor", help="Who maps curation over shards: local, ray or slurm; the result is the same.")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes or jobs of the executor; default: one per core.")
]
ExecutorSetting = Annotated[
    list[str] | None,
    typer.Option("--executor-option", help="KEY=VALUE for the executor: address=auto (ray), partition=cpu (slurm)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One object on stdout; everything else on stderr.")]


def run(
    recipe: RecipeArgument = None,
    out: OutOption = None,
    settings: SetOption = None,
    minutes: MinutesOption = None,
    size: SizeOption = None,
    corpus: CorpusOption = None,
    parallel: ParallelOption = None,
    executor: ExecutorOption = "local",
    workers: WorkersOption = None,
    executor_options: ExecutorSetting = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the complete recipe and what would be done; touch nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Go the whole path, from raw text to a model and its report. Safe to kill and repeat."""
    settings = with_layout(settings, parallel)
    if dry_run:
        from seedbed.cli.show import show_intended

        show_intended(*asked_for(recipe, out, settings, minutes, size, corpus), json)
        return
    execution = make_execution(executor, workers, executor_options)
    execute("evaluate", asked_for(recipe, out, settings, minutes, size, corpus), json, execution)


def with_layout(settings: list[str] | None, parallel: str | None) -> list[str]:
    return [*(settings or ()), *([f"train.parallel={parallel}"] if parallel is not None else ())]


def make_execution(executor: str, workers: int | None, options: list[str] | None) -> "Execution":
    from seedbed.corpus.executors import EXECUTORS, Execution
    from seedbed.errors import InputError

    if executor not in EXECUTORS:
        raise InputError(f"--executor {executor}: no such executor: there are {', '.join(EXECUTORS)}")
    for option in options or ():
        if "=" not in option:
            raise InputError(f"--executor-option {option}: expected KEY=VALUE, such as partition=cpu")
    return Execution(executor, workers, dict(option.split("=", 1) for option in options or ()))


def asked_for(
    recipe_name: str | None,
    out: Path | None,
    settings: list[str] | None,
    minutes: float | None,
    size: str | None,
    corpus: list[str] | None,
) -> "tuple[Recipe, Path]":
    """The recipe and the run folder that a command line names; a folder alone means the recipe it was begun with."""
    from seedbed.errors import InputError
    from seedbed.files import read_json
    from seedbed.recipe import load_recipe
    from seedbed.recipe.layers import validate

    if "" in (corpus or ()):  # an unset variable of the shell; as a path it would be the present folder
        raise InputError("--corpus: empty: give a file or a folder of text")
    if out is not None and (out / "request.json").is_file() and not any((recipe_name, settings, minutes, size, corpus)):
        request = out / "request.json"
        asked = read_json(request)
        return validate(asked, [(str(request), asked)]), out
    recipe = load_recipe(recipe_name, settings or (), minutes, size, [Path(path) for path in corpus or ()])
    return recipe, out or Path("runs") / recipe.name


def execute(last: str, asked: "tuple[Recipe, Path]", json: bool, execution: "Execution") -> None:
    """Run what was asked for up to the stage `last`, or say that it is done."""
    import sys

    from seedbed.cli.show import show_finished
    from seedbed.run.folder import RunFolder
    from seedbed.run.pipeline import outputs_up_to, run_pipeline
    from seedbed.run.progress import make_progress

    recipe, path = asked
    if all((path / name).is_file() for name in ("recipe.toml", "run.json", "report.html", "receipt.json")):
        folder = RunFolder.for_recipe(path, recipe)
        if outputs_up_to(folder, recipe, last) is not None:
            show_finished(folder, json, fresh=False)
            return
    listener = make_progress(json, recipe)
    try:
        folder = run_pipeline(recipe, path, listener, last, " ".join(["seedbed", *sys.argv[1:]]), execution)
    finally:
        listener.close()
    show_finished(folder, json, fresh=True)


def stage_verbs() -> list[Callable[..., None]]:
    """`seedbed curate`, `tokenizer`, `tokenize` and `train`: the path of a recipe up to that stage."""

    def verb(name: str) -> Callable[..., None]:
        def command(
            recipe: RecipeArgument = None,
            out: OutOption = None,
            settings: SetOption = None,
            minutes: MinutesOption = None,
            size: SizeOption = None,
            corpus: CorpusOption = None,
            parallel: ParallelOption = None,
            executor: ExecutorOption = "local",
            workers: WorkersOption = None,
            executor_options: ExecutorSetting = None,
            json: JsonOption = False,
        ) -> None:
            settings = with_layout(settings, parallel)
            execution = make_execution(executor, workers, executor_options)
            execute(name, asked_for(recipe, out, settings, minutes, size, corpus), json, execution)

        command.__name__ = name
        command.__doc__ = f"Run a recipe up to its stage `{name}`."
        return command

    return [verb(name) for name in ("curate", "tokenizer", "tokenize", "train")]
