"""A user's own file scored against a finished run: read and normalised as its corpus was, then as any held-out text."""

from pathlib import Path
from typing import Any

from seedbed.corpus.normalise import normalise
from seedbed.corpus.records import Quarantined
from seedbed.corpus.sources import read_source
from seedbed.errors import InputError
from seedbed.evaluate.baselines import count_bytes, training_text
from seedbed.evaluate.bits import slide_of
from seedbed.evaluate.encoder import describe_encoder, score_encoder
from seedbed.evaluate.held_out import domain_label, stream_of
from seedbed.evaluate.open_model import open_model
from seedbed.evaluate.scores import score_everything, table_json
from seedbed.recipe.schema import SourceConfig
from seedbed.run.folder import RunFolder


def evaluate_file(folder: RunFolder, path: Path) -> dict[str, Any]:
    """evaluation.json's content for the documents in `path` (text, JSONL, Parquet or a folder of them), whole.

    `skipped` counts the records that could not be read.
    """
    recipe = folder.recipe()
    trained, shards = folder.stage_path("train"), folder.stage_path("tokenize")
    model, tokenizer = open_model(trained, recipe.train)
    found: dict[str, list[tuple[str, str]]] = {}
    skipped: list[str] = []
    for record in read_source(SourceConfig(path=str(path))):
        if isinstance(record, Quarantined):
            skipped.append(f"{record.id}: {record.reason}")
            continue
        text = normalise(record.text, recipe.curate.unicode_form)
        if text:
            found.setdefault(domain_label(record.domain), []).append((record.id, text))
    if not found:
        reason = f" ({skipped[0].removesuffix('.')})" if skipped else ""
        raise InputError(
            f"--on: {path} holds no text that can be scored{reason}: give UTF-8 text, JSON lines or Parquet"
        )
    streams = {domain: stream_of(documents, tokenizer) for domain, documents in sorted(found.items())}
    if recipe.train.objective == "masked":
        scores = score_encoder(model, tokenizer, recipe, streams, shards / "train")
        return {**describe_encoder(recipe), "bits_per_masked_token": scores, "on": str(path), "skipped": len(skipped)}
    ngram = count_bytes(training_text(shards / "train", tokenizer), recipe.evaluate.ngram_order)
    everything = score_everything(model, streams, folder.stage_path("curate"), ngram, lambda count: None)
    return {
        "bits_per_byte": table_json(everything),
        "context": model.config.context,
        "slide": slide_of(model.config.context),
        "ngram_order": recipe.evaluate.ngram_order,
        "on": str(path),
        "skipped": len(skipped),
    }
