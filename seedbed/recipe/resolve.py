"""From a preset or a user's TOML and a few dials to a complete recipe.

Layers (layers.py), later ones win: the preset named by `preset = "..."`, the user's file, the dials, `--set`. Then every field
that is still `None` and has a rule here is derived.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seedbed.errors import InputError
from seedbed.recipe.attention import resolve_attention
from seedbed.recipe.layers import (
    DEFAULT_PRESET,
    check_keys,
    drop_replaced,
    merge,
    parse_setting,
    read_layers,
    safe_name,
    validate,
)
from seedbed.recipe.objective import check_objective, special_tokens
from seedbed.recipe.parts import resolve_experts, resolve_latent
from seedbed.recipe.schema import Recipe, TrainConfig
from seedbed.recipe.shape import derive_batch_tokens, derive_heads, derive_shape, derive_swiglu_mlp, parse_count

SWIGLU = ("llama", "qwen3", "olmo2")  # architectures with three matrices in the feed-forward part


def load_recipe(
    source: str | None = None,
    settings: Iterable[str] = (),
    minutes: float | None = None,
    size: str | None = None,
    corpus: Sequence[Path] = (),
) -> Recipe:
    """The complete recipe for a preset's name or a TOML file (default: first-light) and the command line's dials.

    The first file or folder of `corpus` gives the run its name.
    """
    layers = read_layers(source or DEFAULT_PRESET)
    for path in corpus:
        if not path.exists():
            raise InputError(f"--corpus: {path} does not exist: give a file or a folder of text")
    if corpus:
        name = safe_name(corpus[0].resolve().name.split(".")[0], "corpus")
        sources = [str(path.resolve()) for path in corpus]
        layers.append(("--corpus", {"name": name, "corpus": {"sources": sources}}))
    if minutes is not None:
        layers.append(("--minutes", {"train": {"minutes": minutes}}))
    if size is not None:
        layers.append(("--size", {"model": {"size": size}}))
    layers += [(f"--set {setting}", parse_setting(setting)) for setting in settings]
    merged: dict[str, Any] = {}
    for origin, layer in layers:
        check_keys(layer, Recipe, origin)
        drop_replaced(merged, layer)
        merge(merged, layer)
    return resolve(validate(merged, layers))


def resolve(recipe: Recipe) -> Recipe:
    """Fill in every derived field of model and train. The vocabulary also depends on the corpus: see `tokenizer` stage."""
    model, train = recipe.model, recipe.train
    parameters = parse_count(model.size)
    layers, width = derive_shape(parameters)
    layers, width = model.layers or layers, model.width or width
    heads = model.heads or derive_heads(width)
    context = model.context or (128 if parameters < 20_000_000 else 1024 if parameters < 500_000_000 else 2048)
    updates: dict[str, Any] = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "mlp_width": model.mlp_width or (derive_swiglu_mlp(width) if model.architecture in SWIGLU else 4 * width),
        "context": context,
    }
    if model.ngram_rows is None:
        updates["ngram_rows"] = 0 if model.architecture != "seedbed" else 2**15 if parameters < 20_000_000 else 0
    if train.max_epochs is None:
        # Four passes are nearly as good as new text (Muennighoff et al. 2023, section 5). Hashed n-gram tables learn rows by
        # heart in the third: tinyshakespeare came to 2.18 bits a character after 1.9 passes and to 2.49 after 3.5
        # (bench/train_text.py tinyshakespeare --seconds 95 --set train.max_epochs=100).
        train = train.model_copy(update={"max_epochs": 2.0 if updates.get("ngram_rows", model.ngram_rows) else 4.0})
    if model.prior_order is None:
        # counting pays where training is short; above 20M parameters the transformer learns as much by itself
        counted = model.architecture == "seedbed" and train.objective == "causal" and parameters < 20_000_000
        updates["prior_order"] = 5 if counted else 0
    check_objective(train.objective, model.architecture, model.prior_order or 0)
    check_packing(recipe)
    special_tokens(train.objective, context, train.span_fraction, train.span_tokens)  # refuses spans that do not fit
    if model.prior_order == 1:
        raise InputError("model.prior_order: 1 is no context at all: give 0 (no expert) or 2 to 8")
    updates |= resolve_attention(model, width, heads, context)
    batch_tokens = train.batch_tokens or derive_batch_tokens(parameters, context)
    if batch_tokens % context:
        raise InputError(
            f"train.batch_tokens: {batch_tokens} is not a multiple of model.context {context}: round it to one"
        )
    decay_from_step = check_branch(train)
    check_batch_warmup(train.batch_warmup, batch_tokens, context)
    steps = train.steps or (train.tokens and train.tokens // batch_tokens)
    updates |= resolve_experts(model, layers, updates["mlp_width"], steps)
    updates |= resolve_latent(model, heads, updates["head_width"])
    rows = batch_tokens // context
    if train.micro_batch_rows and rows % train.micro_batch_rows:
        raise InputError(
            f"train.micro_batch_rows: {train.micro_batch_rows} does not divide the {rows} rows of a batch: "
            "choose a divisor, or leave it out"
        )
    return recipe.model_copy(
        update={
            "model": model.model_copy(update=updates),
            "train": train.model_copy(update={"batch_tokens": batch_tokens, "decay_from_step": decay_from_step}),
        }
    )


def check_branch(train: TrainConfig) -> int | None:
    """The step at which the decay begins, where it is stated or follows from the branch."""
    begin = train.decay_from_step
    if (train.start_from or begin is not None) and train.schedule != "trapezoid":
        field = "start_from" if train.start_from else "decay_from_step"
        raise InputError(
            f"train.{field}: needs train.schedule=trapezoid, the one with a plateau (found {train.schedule})"
        )
    if train.start_from is None:
        return begin
    start = step_of_start(train.start_from)
    if train.minutes is not None:
        raise InputError(f"train.start_from: give the horizon as train.steps, counted from step 0 (more than {start})")
    if train.steps is not None and train.steps <= start:
        raise InputError(f"train.steps: {train.steps} steps are over at the start, step {start}: give more")
    if begin is not None and begin < start:
        raise InputError(f"train.decay_from_step: {begin} lies before the start, step {start}: give {start} or more")
    return start if begin is None else begin


def step_of_start(start_from: str) -> int:
    """The step that the checkpoint reached, from its name alone."""
    match = re.search(r"(?:@|step-)(\d+)/?$", start_from)
    if match is None:
        raise InputError(
            f"train.start_from: {start_from!r} names no step: give RUN@STEP, such as runs/long@1000, or a folder step-NNN"
        )
    return int(match[1])


def check_packing(recipe: Recipe) -> None:
    """Refuse packing and masks where the objective moves tokens across documents, or would look at padding."""
    tokens, objective = recipe.tokens, recipe.train.objective
    for field, asked in (("packing", tokens.packing == "best-fit"), ("document_masks", tokens.document_masks)):
        if asked and objective == "span":
            raise InputError(
                f"tokens.{field}: train.objective {objective!r} moves tokens to the end of the row: leave it out"
            )
    if tokens.packing == "best-fit" and objective == "masked" and not tokens.document_masks:
        raise InputError(
            "tokens.packing: an encoder would attend to the padding of best-fit: set tokens.document_masks"
        )


def check_batch_warmup(phases: tuple[tuple[int, int], ...], batch_tokens: int, context: int) -> None:
    for (steps, tokens), after in zip(phases, [tokens for _, tokens in (*phases[1:], (0, batch_tokens))], strict=False):
        if steps < 1 or tokens < 1 or tokens % context or tokens >= after:
            raise InputError(
                f"train.batch_warmup: [{steps}, {tokens}] must be one step or more of a multiple of model.context {context} "
                f"tokens, fewer than the {after} that follow"
            )
