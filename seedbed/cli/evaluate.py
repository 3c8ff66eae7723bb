"""`seedbed evaluate RUN`: the evaluation of a finished run, or of its model on another text."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder, finished up to its evaluation.")],
    on: Annotated[
        Path | None, typer.Option("--on", help="Score this text, JSONL or Parquet file (or folder) instead.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Bits per byte of held-out text. By domain, beside gzip, xz and a byte n-gram model on the same text."""
    import sys
    from json import dumps

    from seedbed.evaluate.table import evaluation_text
    from seedbed.files import read_json
    from seedbed.run.folder import RunFolder
    from seedbed.run.stages import check_json

    folder = RunFolder.existing(run)
    if on is None:
        evaluated = folder.stage_path("evaluate")
        check_json(evaluated)
        evaluation = read_json(evaluated / "evaluation.json")
    else:
        from seedbed.evaluate.own_text import evaluate_file

        evaluation = evaluate_file(folder, on)
        if evaluation["skipped"]:
            print(f"seedbed: {on}: {evaluation['skipped']} records could not be read", file=sys.stderr)
    print(dumps(evaluation, ensure_ascii=False) if json else evaluation_text(evaluation))
