"""`seedbed plan`: what a run takes and reaches, before anything runs. Without a verb, the plan of a recipe."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from seedbed.cli.run import JsonOption, RecipeArgument, SetOption, SizeOption
from seedbed.errors import InputError

TablesOption = Annotated[
    Path | None, typer.Option("--tables", help="A TOML file with rows of your own: devices, grids, prices.")
]


HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write a page with pictures of it.")]


def check_html(path: Path | None) -> None:
    """Before the work. Raises InputError where the page could not be written."""
    from seedbed.files import check_place

    if path is not None:
        check_place("--html", path)


class RecipeByDefault(TyperGroup):
    """What follows `seedbed plan` and is no verb of its own belongs to the plan of a recipe."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        if args and not named:
            refuse_misspelt(args[0], self.commands)
        return super().parse_args(ctx, args if named else ["recipe", *args])


def refuse_misspelt(word: str, verbs: Iterable[str]) -> None:
    """A word that is nearly a verb and no recipe is not taken for a recipe. Raises InputError."""
    import difflib

    from seedbed.recipe import preset_names

    near = difflib.get_close_matches(word, list(verbs), 1, cutoff=0.7)
    if near and word not in preset_names() and not Path(word).exists():
        raise InputError(f"plan {word}: neither a recipe nor a verb: did you mean `seedbed plan {near[0]}`?")


app = typer.Typer(
    cls=RecipeByDefault,
    help="Say what a run takes and reaches before it starts. `seedbed plan RECIPE`, or one of these:",
    rich_markup_mode=None,
    add_completion=False,
)


@app.command()
def recipe(
    recipe: RecipeArgument = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", min=1, max=10**6, help="How many devices. Default: 8, or this machine."),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            "--gpu",
            help="Which: a row of the table, or this: the machine here. Default: h100, or this for minutes.",
        ),
    ] = None,
    parallel: Annotated[str, typer.Option("--parallel", help="auto, or degrees such as fsdp=8,tp=2.")] = "auto",
    settings: SetOption = None,
    size: SizeOption = None,
    region: Annotated[str | None, typer.Option("--region", help="Country of the devices. Default: USA.")] = None,
    start_month: Annotated[
        int | None, typer.Option("--start-month", help="Month of start, 1 to 12, where the table has months.")
    ] = None,
    rent: Annotated[float | None, typer.Option("--rent", help="Dollars of a device for an hour.")] = None,
    own: Annotated[bool, typer.Option("--own", help="Devices are bought, and amortised.")] = False,
    pue: Annotated[float | None, typer.Option("--pue", help="Power usage effectiveness of the building.")] = None,
    law: Annotated[str | None, typer.Option("--law", help="A published law, or a file of `seedbed laws fit`.")] = None,
    tables: TablesOption = None,
    html: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """What training a recipe takes (the default verb). Layout, memory, time, money, energy, carbon, water, and its loss."""
    from seedbed.plan.question import Question
    from seedbed.plan.report import THIS, make_plan, plan_lines
    from seedbed.recipe import load_recipe

    check_html(html)
    regions = () if region is None else (region,)
    question = Question(region=regions, start_month=start_month, rent=rent, own=own, pue=pue, tables=tables)
    asked = load_recipe(recipe, settings or (), None, size)
    if gpu is None:  # minutes are this machine's, and no other's
        here = asked.train.minutes is not None and gpus is None and parallel == "auto"
        gpu = THIS if here else "h100"
    devices = gpus or (1 if gpu.strip().lower() == THIS else 8)
    found = make_plan(asked, devices, gpu, parallel, question, law)
    if html is not None:
        from seedbed.plan.recipe_page import write_page

        write_page(html, found, law)
    show(found, plan_lines(found), json)


def one_of(name: str, text: str) -> Any:
    return typer.Option(f"--{name}", help=text)


@app.command()
def query(
    budget: Annotated[str | None, one_of("budget-usd", "Most dollars of the programme: 100000 or 1.5M.")] = None,
    lifetime: Annotated[str | None, one_of("lifetime-usd", "Most dollars with serving; needs --traffic.")] = None,
    deadline: Annotated[str | None, one_of("deadline", "Most time of the final run: 36h, 14d, 3mo.")] = None,
    energy: Annotated[str | None, one_of("energy", "Most energy of the programme at the facility: 50MWh.")] = None,
    carbon: Annotated[str | None, one_of("carbon", "Most CO2e, location-based and embodied: 30t.")] = None,
    water: Annotated[str | None, one_of("water", "Most water, on site and at power plants: 100m3.")] = None,
    target_loss: Annotated[str | None, one_of("target-loss", "Find the cheapest plan that reaches this loss.")] = None,
    devices: Annotated[int | None, one_of("chips", "Most devices.")] = None,
    chip: Annotated[list[str] | None, one_of("chip", "Which, by the table: h100,h200. Default: h100.")] = None,
    region: Annotated[list[str] | None, one_of("region", "Countries: FRA,USA, or any. Default: USA.")] = None,
    start_month: Annotated[
        int | None, one_of("start-month", "Month of start, 1 to 12, where the table has months.")
    ] = None,
    own: Annotated[
        bool, one_of("own", "Devices are bought: amortised, with network, electricity and cooling.")
    ] = False,
    rent: Annotated[float | None, one_of("rent", "Dollars of a device for an hour, instead of the table's.")] = None,
    price: Annotated[float | None, one_of("price-usd", "With --own: dollars of a device with its server.")] = None,
    age_years: Annotated[float, one_of("age-years", "With --own: age of the devices at the start.")] = 0.0,
    multiplier: Annotated[
        float | None, one_of("multiplier", "Programme over final run, failures in: 1.5 to 5.6.")
    ] = None,
    pue: Annotated[float | None, one_of("pue", "Power usage effectiveness of the building.")] = None,
    clean_share: Annotated[
        float, one_of("clean-share", "Share of the energy that contracts make free of carbon.")
    ] = 0.0,
    people: Annotated[float, one_of("people", "People who work on it, paid for as long as it takes.")] = 0.0,
    data_usd: Annotated[float | None, one_of("data-usd", "Dollars to prepare a billion tokens.")] = None,
    curation_mb_s: Annotated[
        float | None, one_of("curation-mb-s", "Measured: MB of raw text a core and second.")
    ] = None,
    law: Annotated[str | None, one_of("law", "A published law or a file of `seedbed laws fit`.")] = None,
    unique_tokens: Annotated[
        str | None, one_of("unique-tokens", "Tokens of the corpus, for a law of repetition.")
    ] = None,
    experts: Annotated[str, one_of("experts", "Mixtures of experts beside dense models: 8,32.")] = "",
    traffic: Annotated[str | None, one_of("traffic", "Tokens to be served: 2e9/day.")] = None,
    months: Annotated[float, one_of("months", "Months of serving.")] = 12.0,
    growth: Annotated[float, one_of("growth", "Growth of the traffic a month: 0.05.")] = 0.0,
    prompt: Annotated[float, one_of("prompt", "Tokens read a request.")] = 1000.0,
    answer: Annotated[float, one_of("answer", "Tokens written a request.")] = 250.0,
    token_ms: Annotated[float, one_of("token-ms", "Most milliseconds between tokens of an answer.")] = 50.0,
    first_token: Annotated[float, one_of("first-token", "Most seconds to an answer's first token.")] = 2.0,
    mfu: Annotated[float | None, one_of("mfu", "Share of the peak that a step's products reach.")] = None,
    tables: TablesOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="All of the Pareto set, and what pays back at which traffic.")
    ] = False,
    html: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """The best plans under any caps. Of money, time, devices, energy, carbon, water, or with a loss to reach."""
    from seedbed.plan.answer_text import answer_lines
    from seedbed.plan.query import answer as find
    from seedbed.plan.question import Question, whole_numbers

    given = {name: value for name, value in locals().items() if name in Question.__dataclass_fields__}
    check_html(html)
    given |= {"chip": tuple(chip or ()), "region": tuple(region or ()), "experts": whole_numbers("--experts", experts)}
    found = find(Question(**given), full or html is not None)
    if html is not None:
        from seedbed.plan.page import write_page

        write_page(html, found)
    show(found, answer_lines(found), json)


@app.command()
def validate(html: HtmlOption = None, json: JsonOption = False) -> None:
    """Recompute published costs and footprints. Shows the error of each."""
    from seedbed.plan.validate import summary, validation_lines
    from seedbed.plan.validate import validate as recompute

    check_html(html)
    checks = recompute()
    if html is not None:
        from seedbed.plan.validate_page import write_page

        write_page(html, checks)
    show({"cases": [check.as_dict() for check in checks], "summary": summary(checks)}, validation_lines(checks), json)


def show(values: dict[str, Any], lines: list[str], as_json: bool) -> None:
    import json

    print(json.dumps(values) if as_json else "\n".join(lines))
