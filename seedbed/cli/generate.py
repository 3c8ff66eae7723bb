"""`seedbed generate RUN [PROMPT]`: text from a trained model, as it is made."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    model: Annotated[Path, typer.Argument(help="A run's folder whose training is finished, or a model folder.")],
    prompt: Annotated[str, typer.Argument(help="What the text begins with; without it the model begins.")] = "",
    suffix: Annotated[
        str | None,
        typer.Option("--suffix", help="What comes after: a model trained with fim or span fills in between."),
    ] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="The most tokens to make.")] = 200,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token each time.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="Draw from so many likeliest tokens; 0: from all.")] = 50,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the draws: the same seed, the same text.")
    ] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Let a trained model write. Streams to stdout, the rate to stderr."""
    import sys
    import time
    from itertools import chain
    from json import dumps

    from seedbed.generate.model_folder import find_decoder
    from seedbed.quantities import printable

    folder = find_decoder(model)  # before torch is imported, which takes seconds
    from seedbed.generate.engine import generate_tokens, infill_tokens
    from seedbed.tokens.tokenizer import Tokenizer
    from seedbed.train.store import load_model

    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    language_model = load_model(folder)
    decoder = tokenizer.stream_decoder()
    shown = printable if sys.stdout.isatty() else str  # what a model writes must not steer a terminal
    pieces: list[str] = []
    count = 0

    def put(piece: str) -> None:
        pieces.append(piece)
        if not json:
            sys.stdout.write(shown(piece))
            sys.stdout.flush()

    settings = tokens, temperature, top_k or None, seed
    if suffix is None:
        made = generate_tokens(language_model, tokenizer, prompt, *settings)
    else:
        made = infill_tokens(language_model, tokenizer, prompt, suffix, *settings)
    start = time.perf_counter()
    first = next(made, None)  # before anything is shown: what cannot be filled in is refused here
    if not json:
        sys.stdout.write(shown(prompt))
    for token in chain(() if first is None else (first,), made):
        count += 1
        put(decoder.push([token]))
    put(decoder.finish())
    if suffix is not None and not json:
        sys.stdout.write(shown(suffix))
    seconds = time.perf_counter() - start
    rate = count / seconds
    if json:
        found = {
            "prompt": prompt,
            "suffix": suffix,
            "text": "".join(pieces),
            "tokens": count,
            "seconds": round(seconds, 3),
        }
        found |= {"tokens_per_second": round(rate, 1), "temperature": temperature, "top_k": top_k or None, "seed": seed}
        print(dumps(found, ensure_ascii=False))
    else:
        end = "" if count == tokens else ", the model ended the text"
        print(flush=True)
        print(f"{count:,} tokens, {rate:,.0f} tokens/s{end}", file=sys.stderr)
