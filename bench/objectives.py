"""What an objective costs before the model sees a batch: microseconds of CPU time a token, beside the causal one.

    python bench/objectives.py [--context 512] [--rows 64]

Windows of the built-in King James text with a tokenizer of 4,096 tokens. Writes bench/results/objectives.json.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from seedbed.corpus.sources import read_source
from seedbed.recipe import load_recipe
from seedbed.recipe.objective import special_tokens, window_tokens
from seedbed.recipe.schema import SourceConfig
from seedbed.run.machine import describe
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.objectives import make_objective

SETTINGS = {
    "causal": [],
    "masked": ["train.objective=masked"],
    "masked, whole words": ["train.objective=masked", "train.mask_whole_words=true"],
    "span": ["train.objective=span"],
    "fim": ["train.objective=fim"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rows", type=int, default=64)
    arguments = parser.parse_args()
    context, rows = arguments.context, arguments.rows
    names = [n[0] for o in ("masked", "fim", "span") for n in special_tokens(o, context, 0.15, 3.0)]
    texts = [record.text for record in read_source(SourceConfig(path="builtin:kjv"))]
    tokenizer = Tokenizer.train(iter(texts), 4096, "gpt4", names)
    stream = np.concatenate([np.append(tokenizer.encode(text), tokenizer.eos_id) for text in texts]).astype(np.int64)
    microseconds = {}
    for name, settings in SETTINGS.items():
        recipe = load_recipe(settings=[f"model.context={context}", f"train.batch_tokens={context * rows}", *settings])
        objective, length = make_objective(recipe, tokenizer), window_tokens(recipe) + 1
        windows = stream[: rows * length].reshape(rows, length)
        times = []
        for step in range(25):
            began = time.process_time()
            objective.rows(windows, step, 0)
            times.append(time.process_time() - began)
        microseconds[name] = round(1e6 * statistics.median(times[5:]) / (rows * context), 4)
    result = {
        "context": context,
        "rows": rows,
        "microseconds_per_token": microseconds,
        "machine": describe(),
        "date": time.strftime("%Y-%m-%d"),
    }
    (Path(__file__).parent / "results/objectives.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
