"""`seedbed verify RUN`: whether a run is what it says it is."""

from pathlib import Path
from typing import Annotated

import typer


def verify(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    samples: Annotated[int, typer.Option("--samples", min=0, help="Training tokens to trace back to their text.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw of those tokens.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Check every checksum, link and count of a run, and trace random training tokens back to their documents."""
    import sys
    from json import dumps

    from rich.console import Console

    from seedbed.run.folder import RunFolder
    from seedbed.run.verify import verify
    from seedbed.run.verify_text import verification_json, verification_text

    folder = RunFolder.existing(run)
    with Console(stderr=True).status("reading") as status:
        result = verify(folder, samples, seed, lambda path: status.update(f"reading {path}"))
    print(dumps(verification_json(result), ensure_ascii=False) if json else verification_text(result))
    for problem in result.problems:
        print(f"seedbed: {problem}", file=sys.stderr)
    if result.problems:
        sys.exit(1)
