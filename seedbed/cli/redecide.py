"""`seedbed corpus redecide RUN --set GROUP.RULE=VALUE`: what other thresholds would keep, from stored scores."""

from pathlib import Path
from typing import Annotated

import typer

from seedbed.cli.run import JsonOption


def redecide(
    run: Annotated[Path, typer.Argument(help="A run's folder, its curate stage finished.")],
    settings: Annotated[
        list[str], typer.Option("--set", help="A threshold, such as gopher_quality.min_words=30; repeat for more.")
    ],
    shown: Annotated[int, typer.Option("--show", min=0, help="Ids of documents that change sides.")] = 5,
    write: Annotated[bool, typer.Option("--write", help="Curate the run folder anew with these thresholds.")] = False,
    json: JsonOption = False,
) -> None:
    """Decide anew from stored scores, in seconds. What would be kept with other thresholds, and by which rule not."""
    import sys
    import time
    from json import dumps
    from shlex import join

    from seedbed.corpus.redecide import Redecider, redecided_json, redecided_text, write_changed

    start = time.monotonic()
    decider = Redecider.of(run)
    found = decider.ask(settings)
    if decider.cuts:
        found = decider.with_cuts(found)
    answer = redecided_json(found, decider, shown) if json else redecided_text(found, decider, shown)
    seconds = time.monotonic() - start
    print(dumps(answer, ensure_ascii=False) if json else answer)
    if write:
        from seedbed.run.progress import make_progress

        listener = make_progress(json, found.recipe)
        try:
            write_changed(run, found, listener, join(["seedbed", *sys.argv[1:]]))
        finally:
            listener.close()
        print(f"{run}: curated anew; go on with `seedbed run --out {run}`", file=sys.stderr)
    elif not json and not found.verdicts()["kept"][1]:
        print("\nWith this no document would be kept: choose another threshold.")
    elif not json:
        again = join(
            ["seedbed", "corpus", "redecide", str(run), *(p for s in settings for p in ("--set", s)), "--write"]
        )
        print(f"\nDecided on {len(found.ledger):,} documents in {seconds:.1f} s. To make it so: {again}")
