"""`seedbed generate RUN [PROMPT]`: text from a trained model, as it is made."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    model: Annotated[Path, typer.Argument(help="A run's folder whose training is finished, or a model folder.")],
    prompt: Annotated[str, typer.Argument(help="What the text begins with; without it the model begins.")] = "",
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="The most tokens to make.")] = 200,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest token each time.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="Draw from so many likeliest tokens; 0: from all.")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draws: the same seed, the same text.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Let a trained model write: streams to stdout, the rate to stderr."""
    import sys
    import time
    from json import dumps

    from seedbed.generate.model_folder import find_model
    from seedbed.quantities import printable

    folder = find_model(model)  # before torch is imported, which takes seconds
    from seedbed.generate.engine import generate_tokens
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

    if not json:
        sys.stdout.write(shown(prompt))
    start = time.perf_counter()
    for token in generate_tokens(language_model, tokenizer, prompt, tokens, temperature, top_k or None, seed):
        count += 1
        put(decoder.push([token]))
    put(decoder.finish())
    seconds = time.perf_counter() - start
    rate = count / seconds
    if json:
        found = {"prompt": prompt, "text": "".join(pieces), "tokens": count, "seconds": round(seconds, 3)}
        found |= {"tokens_per_second": round(rate, 1), "temperature": temperature, "top_k": top_k or None, "seed": seed}
        print(dumps(found, ensure_ascii=False))
    else:
        end = "" if count == tokens else ", the model ended the text"
        print(flush=True)
        print(f"{count:,} tokens, {rate:,.0f} tokens/s{end}", file=sys.stderr)
