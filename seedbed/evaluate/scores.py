"""Everything scored on the same bytes: the model, its transformer alone, gzip, xz and the byte n-gram model.

A `Score` is a sum of bits and of what they were spent on, so that the scores of domains and splits add up.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedbed.evaluate.baselines import gzip_bits, ngram_bits, xz_bits
from seedbed.evaluate.bits import score_stream
from seedbed.evaluate.held_out import ALL, HeldOut, texts_of
from seedbed.model.language_model import LanguageModel
from seedbed.model.ngram import NgramExpert

DIGITS = 5  # of a score in JSON: rounding differences between machines stay below


@dataclass
class Score:
    """Counts of a text, and the bits each method needs for it."""

    bytes: int = 0
    characters: int = 0
    documents: int = 0
    tokens: int = 0
    bits: dict[str, float] = field(default_factory=dict)

    def __add__(self, other: "Score") -> "Score":
        bits = {name: self.bits.get(name, 0.0) + value for name, value in other.bits.items()}
        return Score(
            self.bytes + other.bytes,
            self.characters + other.characters,
            self.documents + other.documents,
            self.tokens + other.tokens,
            bits,
        )

    def to_json(self) -> dict[str, Any]:
        """The counts, each method's bits per byte, and the model's bits per character."""
        return {
            "bytes": self.bytes,
            "characters": self.characters,
            "documents": self.documents,
            "tokens": self.tokens,
            **{name: round(bits / self.bytes, DIGITS) for name, bits in self.bits.items()},
            "model_bits_per_character": round(self.bits["model"] / self.characters, DIGITS),
        }


def score_everything(
    model: LanguageModel,
    streams: dict[str, HeldOut],
    curated: Path,
    ngram: NgramExpert,
    on_tokens: Callable[[int], None],
) -> dict[str, Score]:
    """Domain -> its score. `curated` is read only for texts that the tokenizer does not give back exactly."""
    scores = {}
    for domain, stream in streams.items():
        texts = texts_of(stream, curated)
        text = b"".join(texts)
        model_bits, transformer_bits = score_stream(model, stream, on_tokens=on_tokens)
        bits = {
            "model": model_bits,
            "transformer": transformer_bits,
            "gzip": gzip_bits(text),
            "xz": xz_bits(text),
            "ngram": ngram_bits(ngram, text),
        }
        characters = sum(len(part.decode(errors="replace")) for part in texts)
        scores[domain] = Score(stream.num_bytes, characters, len(stream.ids), len(stream.tokens), bits)
    return scores


def table_json(scores: dict[str, Score]) -> dict[str, dict[str, Any]]:
    """{"all": ..., DOMAIN: ...}; every byte of "all" weighs the same."""
    return {ALL: total(scores.values()).to_json(), **{domain: score.to_json() for domain, score in scores.items()}}


def total(scores: Iterable[Score]) -> Score:
    summed = Score()
    for score in scores:
        summed = summed + score
    return summed
