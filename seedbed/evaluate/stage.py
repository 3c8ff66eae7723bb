"""The stage `evaluate`: evaluation.json and samples.json of a trained model. Torch is imported when it runs."""

from typing import Any

from seedbed.errors import InputError
from seedbed.files import write_json
from seedbed.recipe.schema import Recipe
from seedbed.run.stages import Stage, StageContext

TRAIN = "train"


def evaluate_config(recipe: Recipe) -> Any:
    return {"seed": recipe.seed, "evaluate": recipe.evaluate.model_dump(mode="json")}


def run_evaluate(context: StageContext) -> dict[str, Any]:
    from seedbed.evaluate.baselines import count_bytes, training_text
    from seedbed.evaluate.bits import slide_of
    from seedbed.evaluate.held_out import select
    from seedbed.evaluate.open_model import open_model
    from seedbed.evaluate.samples import draw_samples
    from seedbed.evaluate.scores import Score, score_everything, table_json

    recipe = context.recipe
    shards = context.inputs["tokenize"].path
    names = sorted(path.name for path in shards.iterdir() if path.is_dir() and path.name != TRAIN)
    if not names:
        raise InputError("corpus: no text was held out, so nothing can be evaluated: raise corpus.held_out_fraction")
    model, tokenizer = open_model(context.inputs["train"].path, recipe.train)
    if recipe.train.objective == "masked":
        from seedbed.evaluate.encoder import evaluate_encoder

        return evaluate_encoder(context, model, tokenizer, names)
    streams = {name: select(shards / name, recipe.evaluate.max_bytes_per_domain, tokenizer) for name in names}
    every_stream = [stream for split in streams.values() for stream in split.values()]
    advance = context.counter(sum(len(stream.tokens) for stream in every_stream), "tokens")
    ngram = count_bytes(training_text(shards / TRAIN, tokenizer), recipe.evaluate.ngram_order)
    advance(0)  # here, so that the time left is judged by scoring alone
    splits: dict[str, dict[str, Score]] = {}
    overall: dict[str, Score] = {}
    for name, split in streams.items():
        splits[name] = score_everything(model, split, context.inputs["curate"].path, ngram, advance)
        for domain, score in splits[name].items():
            overall[domain] = overall.get(domain, Score()) + score
    samples, copied = draw_samples(context, model, tokenizer, every_stream, shards / TRAIN)
    table = table_json(dict(sorted(overall.items())))
    evaluation = {
        "bits_per_byte": table,
        "context": model.config.context,
        "slide": slide_of(model.config.context),
        "splits": {name: table_json(scores) for name, scores in splits.items()},
        "ngram_order": recipe.evaluate.ngram_order,
        "copied": copied,
    }
    write_json(context.path / "evaluation.json", evaluation)
    write_json(context.path / "samples.json", samples)
    return {"bits_per_byte": {domain: entry["model"] for domain, entry in table.items()}, "samples": len(samples)}


EVALUATE = Stage(
    "evaluate", version=1, inputs=("train", "tokenize", "curate"), config=evaluate_config, run=run_evaluate
)
