"""`seedbed corpus ...`: what one does with text before and after curation."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from seedbed.cli.browse import browse
from seedbed.cli.redecide import redecide
from seedbed.cli.run import JsonOption

app = typer.Typer(no_args_is_help=True, help="Look into a corpus; train a quality classifier of your own.")
classifier = typer.Typer(no_args_is_help=True, help="A quality classifier of your own. For the step `classifier`.")
app.add_typer(classifier, name="classifier")
app.command()(redecide)
app.command()(browse)
SECONDS_A_LINE = 5.0


@classifier.callback()
def one_verb_is_still_named() -> None:
    """A quality classifier of your own, for the step `classifier`."""


@classifier.command()
def train(
    good: Annotated[
        list[str], typer.Option("--good", help="Text as it should be: file, folder or builtin:NAME; repeat.")
    ],
    bad: Annotated[list[str], typer.Option("--bad", help="Text as it should not be, or a sample of all; repeat.")],
    out: Annotated[Path, typer.Option("--out", help="The model's folder; it must not exist.")],
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", help="Text to be judged later, for the kept share; default: the held-out documents."),
    ] = None,
    keep_share: Annotated[float, typer.Option("--keep-share", help="Of the pool.", min=1e-6, max=1)] = 0.1,
    held_out: Annotated[float, typer.Option("--held-out", help="Share of documents.", min=0.001, max=0.9)] = 0.1,
    max_documents: Annotated[
        int, typer.Option("--max-documents", help="Of each kind, drawn by hash.", min=1)
    ] = 200_000,
    max_bytes: Annotated[int | None, typer.Option("--max-bytes", help="Of text, read from each source.", min=1)] = None,
    text_field: Annotated[str, typer.Option("--text-field", help="JSONL, Parquet: the field with the text.")] = "text",
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1)] = 0,
    json: JsonOption = False,
) -> None:
    """Train a classifier that tells --good from --bad text. Shows how it does on held-out documents."""
    import json as json_module

    from seedbed.corpus.classifier.examples import expected_bytes
    from seedbed.corpus.classifier.metrics import table
    from seedbed.corpus.classifier.train import Training, train_classifier
    from seedbed.recipe.schema import SourceConfig

    groups = [
        [SourceConfig(path=path, text_field=text_field, max_bytes=max_bytes) for path in paths]
        for paths in (good, bad, pool or [])
    ]
    total = sum(expected_bytes(source) for group in groups for source in group)
    training = Training(keep_share, held_out, max_documents, seed)
    card = train_classifier(groups[0], groups[1], out, training, groups[2], reading_lines(total))
    if json:
        print(json_module.dumps({"out": str(out), **card}))
        return
    for name, kind in card["documents"].items():
        print(f"learnt from {kind['documents']:,} {name} documents, {kind['bytes'] / 1e6:,.1f} MB")
    print(table(card))
    print(f'\n{out}: use it with\n  [curate.classifier]\n  model = "{out}"\n  keep_share = {keep_share}')


@app.command()
def contamination(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    json: JsonOption = False,
) -> None:
    """Which evaluation items stood in the text of a run. Where, and which are left in what was kept."""
    from json import dumps

    from seedbed.corpus.decontaminate.report import contamination_text, read_contamination

    report = read_contamination(run)
    print(dumps(report, ensure_ascii=False) if json else contamination_text(report))


def reading_lines(total: int) -> Callable[[int], None]:
    """What to call with the bytes of every record: a line on stderr every few seconds, with the rate and the time left."""
    start = time.monotonic()
    done, next_line = 0, start + SECONDS_A_LINE

    def advance(bytes_in: int) -> None:
        nonlocal done, next_line
        done += bytes_in
        now = time.monotonic()
        if now >= next_line:
            next_line = now + SECONDS_A_LINE
            rate = done / (now - start)
            left = max(0, total - done) / rate
            print(f"reading: {done / 1e6:,.0f} MB, {rate / 1e6:.1f} MB/s, about {left:,.0f} s left", file=sys.stderr)

    return advance
