"""`seedbed verify RUN`: whether a run is what it says it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from seedbed.run.folder import RunFolder


def verify(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    samples: Annotated[int, typer.Option("--samples", min=0, help="Training tokens to trace back to their text.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw of those tokens.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Train some steps again, kill that at random moments, and compare.")
    ] = False,
    kills: Annotated[int, typer.Option("--kills", min=1, help="Of --resume.")] = 6,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Of --resume: how many to train.")] = 100,
    ranks: Annotated[int, typer.Option("--ranks", min=1, help="Of --resume: other processes to resume on.")] = 2,
    layout: Annotated[str, typer.Option("--layout", help="Of those: train.parallel, such as fsdp=2.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Check every checksum, link and count of a run. Traces random training tokens back to their documents as well.

    With --resume: kill its training at random moments instead, resume it, and compare it with an unbroken one.
    """
    import sys
    from json import dumps

    from rich.console import Console

    from seedbed.run.folder import RunFolder
    from seedbed.run.verify import verify
    from seedbed.run.verify_text import verification_json, verification_text

    folder = RunFolder.existing(run)
    if resume:
        prove_resume(folder, kills, steps, ranks, layout, seed, json)
        return
    with Console(stderr=True).status("reading") as status:
        result = verify(folder, samples, seed, lambda path: status.update(f"reading {path}"))
    print(dumps(verification_json(result), ensure_ascii=False) if json else verification_text(result))
    for problem in result.problems:
        print(f"seedbed: {problem}", file=sys.stderr)
    if result.problems:
        sys.exit(1)


def prove_resume(folder: "RunFolder", kills: int, steps: int, ranks: int, layout: str, seed: int, json: bool) -> None:
    import sys
    from json import dumps

    from rich.console import Console

    from seedbed.run.resume_check import check_resume
    from seedbed.run.resume_text import resume_text

    with Console(stderr=True).status("starting") as status:
        result = check_resume(folder, kills, steps, ranks, layout, seed, status.update)
    print(dumps(result.to_json(), ensure_ascii=False) if json else resume_text(result))
    for problem in result.problems:
        print(f"seedbed: {problem}", file=sys.stderr)
    if result.problems:
        sys.exit(1)
