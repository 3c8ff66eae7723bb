"""`seedbed plan`: what a run takes and reaches, before anything runs. Without a verb, the plan of a recipe."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from seedbed.cli.run import JsonOption, RecipeArgument, SetOption, SizeOption

TablesOption = Annotated[
    Path | None, typer.Option("--tables", help="A TOML file with rows of your own: devices, grids, prices.")
]


class RecipeByDefault(TyperGroup):
    """What follows `seedbed plan` and is no verb of its own belongs to the plan of a recipe."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["recipe", *args])


app = typer.Typer(
    cls=RecipeByDefault,
    help="Say what a run takes and reaches before it starts: `seedbed plan RECIPE`, or one of these.",
    rich_markup_mode=None,
    add_completion=False,
)


@app.command()
def recipe(
    recipe: RecipeArgument = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, max=10**6, help="How many devices.")] = 8,
    gpu: Annotated[str, typer.Option("--gpu", help="Which: a row of the table of devices, such as h100.")] = "h100",
    parallel: Annotated[str, typer.Option("--parallel", help="auto, or degrees such as fsdp=8,tp=2.")] = "auto",
    settings: SetOption = None,
    size: SizeOption = None,
    tables: TablesOption = None,
    json: JsonOption = False,
) -> None:
    """What training a recipe takes: its shape, a layout, the memory of each device by part, and time (the default verb)."""
    from seedbed.plan.report import make_plan, plan_lines
    from seedbed.plan.tables import load_tables
    from seedbed.recipe import load_recipe

    found = make_plan(load_recipe(recipe, settings or (), None, size), gpus, gpu, parallel, load_tables(tables))
    show(found, plan_lines(found), json)


@app.command()
def validate(json: JsonOption = False) -> None:
    """Recompute published costs, energy, carbon and water, and show the error of each."""
    from seedbed.plan.validate import summary, validation_lines
    from seedbed.plan.validate import validate as recompute

    checks = recompute()
    show({"cases": [check.as_dict() for check in checks], "summary": summary(checks)}, validation_lines(checks), json)


def show(values: dict[str, Any], lines: list[str], as_json: bool) -> None:
    import json

    print(json.dumps(values) if as_json else "\n".join(lines))
