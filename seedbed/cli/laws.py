"""`seedbed laws`: from small runs to what a large one will reach."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seedbed.cli.run import JsonOption

if TYPE_CHECKING:
    from seedbed.laws import Law, Points
    from seedbed.laws.fit import Outliers

laws = typer.Typer(
    help="Scaling laws from your own runs. Fit them, choose the next run, run a ladder.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PointsArgument = Annotated[Path, typer.Argument(help="CSV of runs: params, tokens (or flops), loss.")]
WhereOption = Annotated[
    list[str] | None, typer.Option("--where", help="Only rows with COLUMN=VALUE, such as role=fit; repeatable.")
]
FormOption = Annotated[str, typer.Option("--form", help="chinchilla, tied, kaplan, repetition, experts or sparsity.")]
DropOption = Annotated[int, typer.Option("--drop-highest", min=0, help="Leave the K points of highest loss out.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write a page with pictures of it.")]
BootstrapOption = Annotated[
    int, typer.Option("--bootstrap", min=0, max=100_000, help="Resamples behind the intervals; 0: none.")
]


@laws.command()
def fit(
    points: PointsArgument,
    form: FormOption = "chinchilla",
    drop_highest: DropOption = 0,
    bootstrap: BootstrapOption = 1000,
    where: WhereOption = None,
    hold_out: Annotated[
        str, typer.Option("--hold-out", help="largest or none: runs on which forms are judged.")
    ] = "largest",
    at: Annotated[
        list[float] | None,
        typer.Option("--at", help="Compute (FLOPs) to split; default: 1, 10 and 100 times the most."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="repetition: hold E, A, B and alpha of this published law.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the law here, for `seedbed plan`.")] = None,
    html: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """Fit a law to runs. Parameters with intervals, the best split of budgets, and how far forms differ beyond the runs."""
    from seedbed.files import check_place, write_asked
    from seedbed.laws.report import fit_report, report_text
    from seedbed.laws.text import plain_json

    for option, path in (("--out", out), ("--html", html)):
        if path is not None:
            check_place(option, path)
    law, read, outliers = fitted(points, form, drop_highest, bootstrap, where, base)
    report = fit_report(law, read, outliers, at, hold_out)
    if out is not None:
        write_asked("--out", out, law.to_json())
    if html is not None:
        from seedbed.laws.page import fit_page

        write_asked("--html", html, fit_page(law, outliers.kept(read), report))
    print_found(json, plain_json(report), report_text(report, law) + (f"\nwritten to {out}" if out else ""))


@laws.command("next")
def propose(
    points: PointsArgument,
    budget: Annotated[float, typer.Option("--budget", help="Most compute (FLOPs, 6 N D) of the next run.")],
    target: Annotated[
        float | None, typer.Option("--target", help="Compute of the run to be predicted; default: 100 times the most.")
    ] = None,
    form: FormOption = "chinchilla",
    drop_highest: DropOption = 0,
    bootstrap: BootstrapOption = 1000,
    where: WhereOption = None,
    json: JsonOption = False,
) -> None:
    """Propose the next small run. It is the one that narrows the prediction at the target most per FLOP."""
    from seedbed.laws.design import next_run
    from seedbed.laws.text import plain_json, proposal_text

    law, read, _ = fitted(points, form, drop_highest, bootstrap, where, None)
    best = law.optimum(target if target is not None else 100 * float(read.flops.max()))
    found = next_run(law, budget, best.params, best.tokens)
    print_found(json, plain_json(found), proposal_text(found))


@laws.command()
def isoflop(
    points: PointsArgument,
    drop_highest: DropOption = 0,
    where: WhereOption = None,
    html: HtmlOption = None,
    json: JsonOption = False,
) -> None:
    """Fit runs of equal compute. A parabola a budget, the power law of the minima, and the bias of that method here."""
    from seedbed.files import check_place, write_asked
    from seedbed.laws import read_points
    from seedbed.laws.fit import Outliers
    from seedbed.laws.isoflop import analyse
    from seedbed.laws.text import isoflop_json, isoflop_text

    if html is not None:
        check_place("--html", html)
    read, outliers = read_points(points, where or ()), Outliers(drop_highest)
    found = analyse(read, outliers)
    if html is not None:
        from seedbed.laws.page import isoflop_page

        write_asked("--html", html, isoflop_page(found, read))
    print_found(json, isoflop_json(found), isoflop_text(found))


@laws.command()
def rates(points: PointsArgument, where: WhereOption = None, json: JsonOption = False) -> None:
    """Fit laws of the learning rate and the batch. From sweeps in the points, beside the published ones."""
    from seedbed.laws import read_points
    from seedbed.laws.rates import rates_report
    from seedbed.laws.text import plain_json, rates_text

    found = rates_report(read_points(points, where or ()))
    print_found(json, plain_json(found), rates_text(found))


@laws.command("run")
def run(
    ladder: Annotated[str, typer.Argument(help="A ladder's name or TOML file.")] = "cpu-12m",
    out: Annotated[Path | None, typer.Option("--out", help="Its folder; default: runs/ladder-NAME.")] = None,
    json: JsonOption = False,
) -> None:
    """Make a ladder's runs, fit them, test the prediction. Against the held-out run; safe to kill and repeat."""
    import sys

    from seedbed.laws.ladder import load_ladder, run_ladder
    from seedbed.laws.text import plain_json
    from seedbed.laws.verdict import judge, verdict_text
    from seedbed.run.progress import make_progress

    asked = load_ladder(ladder)
    folder = out or Path("runs") / f"ladder-{asked.name}"
    command = " ".join(["seedbed", *sys.argv[1:]])
    points = run_ladder(
        asked, folder, lambda recipe: make_progress(json, recipe), lambda line: print(line, file=sys.stderr), command
    )
    found = judge(asked, points, folder)
    print_found(json, plain_json(found), verdict_text(found))


def fitted(
    path: Path, form_name: str, drop_highest: int, bootstrap: int, where: list[str] | None, base: str | None
) -> "tuple[Law, Points, Outliers]":
    from seedbed.laws import read_points
    from seedbed.laws.fit import Outliers, fit_law
    from seedbed.laws.forms import form_of
    from seedbed.laws.published import held_by

    form = form_of(form_name)
    start, fixed = held_by(base, form) if base is not None else (None, frozenset[str]())
    read = read_points(path, where or ())
    outliers = Outliers(drop_highest)
    return fit_law(read, form, outliers, bootstrap, start=start, fixed=fixed), read, outliers


def print_found(json: bool, values: object, text: str) -> None:
    import json as json_module

    print(json_module.dumps(values) if json else text)
