"""`seedbed report RUN`: write the run's page and receipt anew."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, finished or not.")],
    json: Annotated[bool, typer.Option("--json", help="The receipt as one JSON object on stdout.")] = False,
) -> None:
    """Write a run's report.html and receipt.json anew."""
    import sys

    from seedbed.run.folder import RunFolder
    from seedbed.run.receipt import write_report

    folder = RunFolder.existing(run)
    write_report(folder)
    if json:
        import json as json_format

        from seedbed.files import read_json

        sys.stdout.write(json_format.dumps(read_json(folder.receipt_path), ensure_ascii=False) + "\n")
    else:
        print(folder.report_path)
