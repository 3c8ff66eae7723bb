"""seedbed yields RUN: what curation kept and what it took away, by source and by rule."""

from pathlib import Path
from typing import Annotated

import typer


def yields(
    run: Annotated[Path, typer.Argument(help="run folder")],
    json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """What was kept and what was lost, by source and by rule."""
    from json import dumps

    from seedbed.corpus.yields import yield_table
    from seedbed.files import read_json
    from seedbed.run.folder import RunFolder

    entries = read_json(RunFolder.existing(run).stage_path("curate") / "yields.json")
    print(dumps({"yields": entries}, ensure_ascii=False) if json else yield_table(entries))
