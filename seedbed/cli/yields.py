"""seedbed yields RUN: what curation kept and what it took away, step by step, by source, by language and by rule."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def yields(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    by: Annotated[
        Literal["source", "language"] | None, typer.Option("--by", help="What is left of each after every step.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the waterfall as a page of its own.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What was kept and what was lost. Beside published yields, with an alarm where something falls far outside."""
    from json import dumps
    from sys import stderr

    from seedbed.corpus.yields_text import group_table, read_yields, yields_json, yields_text

    found = read_yields(run)
    if html is not None:
        from seedbed.files import write_asked
        from seedbed.report.curation import yields_page

        write_asked("--html", html, yields_page(found, run.resolve().name))
        print(html, file=stderr)
    if json:
        print(dumps(yields_json(found, by), ensure_ascii=False))
    else:
        print(group_table(found, by) if by else yields_text(found))
