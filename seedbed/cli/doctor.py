"""`seedbed doctor`: what this machine can do."""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    out: Annotated[Path, typer.Option(help="Look at the disk of this folder.")] = Path(),
) -> None:
    """What this machine can do. Cores, memory, data types, GPUs, compiler, disk, energy counters; with advice."""
    import json as json_format
    import sys

    from rich.console import Console
    from rich.text import Text

    from seedbed.errors import InputError
    from seedbed.run.checkup import checkup
    from seedbed.run.machine import describe

    if not out.is_dir():
        raise InputError(f"--out: {out} is not a folder: give one that exists")
    console = Console(stderr=True)
    with console.status("looking") as status:
        checks = checkup(out.resolve(), lambda name: status.update(f"looking at {name}"))
    if json:
        found = {"machine": describe(), "checks": [check.as_dict() for check in checks]}
        sys.stdout.write(json_format.dumps(found, ensure_ascii=False) + "\n")
        return
    marks = {"good": ("ok", "green"), "notice": ("--", "yellow"), "bad": ("!!", "red")}
    width = max(len(check.name) for check in checks)
    screen = Console(highlight=False)
    for check in checks:
        mark, colour = marks[check.state]
        screen.print(Text.assemble((mark, colour), f"  {check.name:<{width}}  ", (check.found, "bold")), soft_wrap=True)
        screen.print(Text(f"{'':{width + 6}}{check.advice}", style="dim"), soft_wrap=True)
