"""What a training objective asks of the rest of the recipe: special tokens, the text a row reads, and what cannot go with it.

Pure arithmetic on recipe values: the draws themselves are in `train/objectives.py`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from seedbed.errors import InputError

if TYPE_CHECKING:
    from seedbed.recipe.schema import Recipe

ObjectiveName = Literal["causal", "masked", "span", "fim"]

# Architectures whose attention may see both ways: the original encoder, and our own parts without their causal mask.
ENCODERS = ("bert", "seedbed")
ENCODERS_ONLY = ("bert",)

# What a special token is called in published tokenizers; the first name is the one that Seedbed adds to its own.
MASK = ("<|mask|>", "[MASK]", "<mask>")
FIM_PREFIX = ("<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "▁<PRE>", "<｜fim▁begin｜>")
FIM_SUFFIX = ("<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "▁<SUF>", "<｜fim▁hole｜>")
FIM_MIDDLE = ("<|fim_middle|>", "<fim_middle>", "<fim-middle>", "▁<MID>", "<｜fim▁end｜>")


def sentinel(number: int) -> tuple[str, ...]:
    """The names of the token that stands for the span `number` (T5 calls it <extra_id_NUMBER>)."""
    return f"<|extra_id_{number}|>", f"<extra_id_{number}>"


@dataclass(frozen=True)
class SpanShape:
    """A row of span corruption: `text` tokens are read, `noise` of them in `spans` spans are moved to the row's end."""

    text: int
    noise: int
    spans: int


def span_shape(context: int, fraction: float, mean_tokens: float) -> SpanShape:
    """The shape that fills a row of `context` + 1 tokens: text, two sentinels a span, and an end-of-text token.

    Spans of about `mean_tokens` tokens hide about `fraction` of the text (Raffel et al. 2020, section 3.3.4: 15% in spans
    of 3 on average). Every row has the same shape, so the number of targets is known without reading it.
    """
    spans = max(1, round(fraction * context / (mean_tokens + 2 * fraction)))
    text = context - 2 * spans
    noise = max(spans, round(fraction * text))
    if text - noise < spans:
        raise InputError(
            f"train.span_fraction: {fraction:g} in spans of {mean_tokens:g} tokens leaves no text between them "
            f"in a context of {context}: lower it, or raise train.span_tokens or model.context"
        )
    return SpanShape(text, noise, spans)


def special_tokens(objective: str, context: int, span_fraction: float, span_tokens: float) -> list[tuple[str, ...]]:
    """The special tokens that the objective writes, each as its possible names."""
    if objective == "masked":
        return [MASK]
    if objective == "fim":
        return [FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE]
    if objective == "span":
        return [sentinel(number) for number in range(span_shape(context, span_fraction, span_tokens).spans)]
    return []


def window_tokens(recipe: "Recipe") -> int:
    """Tokens of text from the start of one row's window to the start of the next: the loader's context."""
    train, context = recipe.train, recipe.model.context
    assert context
    return (
        span_shape(context, train.span_fraction, train.span_tokens).text - 1 if train.objective == "span" else context
    )


def check_objective(objective: str, architecture: str, prior_order: int) -> None:
    """Refuse what the objective cannot be trained with. Raises InputError."""
    if objective == "masked" and architecture not in ENCODERS:
        raise InputError(
            f"train.objective: 'masked' trains an encoder and model.architecture {architecture!r} is a decoder: "
            f"choose {' or '.join(ENCODERS)}, or another objective"
        )
    if objective != "masked" and architecture in ENCODERS_ONLY:
        raise InputError(
            f"train.objective: model.architecture {architecture!r} is an encoder and {objective!r} trains a decoder: "
            "set train.objective = 'masked', or choose another architecture"
        )
    if objective != "causal" and prior_order:
        raise InputError(
            f"model.prior_order: the n-gram expert predicts the next token of plain text, which {objective!r} does not "
            "ask for: set it to 0, or train.objective = 'causal'"
        )
