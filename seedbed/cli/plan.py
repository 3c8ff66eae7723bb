"""`seedbed plan`: what a recipe's shape takes of devices, before anything runs."""

from typing import Annotated

import typer

from seedbed.cli.run import JsonOption, RecipeArgument, SetOption, SizeOption


def plan(
    recipe: RecipeArgument = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, max=10**6, help="How many devices.")] = 8,
    gpu: Annotated[str, typer.Option("--gpu", help="Which: a100, h100, h200 or b200.")] = "h100",
    parallel: Annotated[str, typer.Option("--parallel", help="auto, or degrees such as fsdp=8,tp=2.")] = "auto",
    settings: SetOption = None,
    size: SizeOption = None,
    json: JsonOption = False,
) -> None:
    """Say what training a recipe takes: its shape, a layout, the memory of each device by part, and time."""
    import json as json_module

    from seedbed.plan.report import make_plan, plan_lines
    from seedbed.recipe import load_recipe

    found = make_plan(load_recipe(recipe, settings or (), None, size), gpus, gpu, parallel)
    print(json_module.dumps(found) if json else "\n".join(plan_lines(found)))
