"""Objectives: what is hidden, moved and asked, exactly as often as stated, and nothing of the text lost."""

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.model.config import ARCHITECTURES, TransformerConfig
from seedbed.recipe.objective import span_shape, special_tokens, window_tokens
from seedbed.recipe.resolve import load_recipe
from seedbed.recipe.schema import Recipe, TrainConfig
from seedbed.tokens.loader import PADDING, Loader
from seedbed.tokens.shards import ShardWriter
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.tokens.words import WordTable
from seedbed.train.batch import IGNORED
from seedbed.train.data import TrainingData
from seedbed.train.engine import Engine
from seedbed.train.execution import Execution
from seedbed.train.objectives import (
    Causal,
    CharacterCutter,
    FillInMiddle,
    Masked,
    SpanCorruption,
    TokenCutter,
    make_objective,
)
from seedbed.train.parallel import Ranks

CONTEXT, VOCAB, EOS = 64, 500, 499
PRE, SUF, MID, MASK = 498, 497, 496, 495
ORDINARY = np.arange(VOCAB) < 480


def windows(rows: int, seed: int = 1, length: int = CONTEXT + 1) -> np.ndarray:
    """Random text of documents of about 20 tokens."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 480, (rows, length))
    tokens[rng.random(tokens.shape) < 0.05] = EOS
    return tokens


MASKED = Masked(CONTEXT, 7, 0.15, MASK, ORDINARY)
SPAN = SpanCorruption(7, span_shape(CONTEXT, 0.15, 3.0), np.arange(480, 480 + 15), EOS)
FIM = FillInMiddle(CONTEXT, 7, 0.5, 0.5, PRE, SUF, MID, EOS, TokenCutter())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A small tokenizer of real words, accents, digits and characters of several bytes, with every special token."""
    text = "The people of naïve cafés, 1234 houses; wrote isn't_it(foo) 漢字 and 😀 smiles. " * 20
    names = [n[0] for o in ("masked", "fim", "span") for n in special_tokens(o, CONTEXT, 0.15, 3.0)]
    return Tokenizer.train(iter([text, "the house of the people " * 30]), 400, "gpt4", names)


@pytest.mark.parametrize("context", [8, 64, 100, 511])
@pytest.mark.parametrize("fraction", [0.15, 0.4])
def test_exactly_the_stated_share_is_asked_in_every_row(context: int, fraction: float) -> None:
    objective = replace(MASKED, context=context, fraction=fraction)
    text = windows(40, length=context + 1)
    inputs, targets, _ = objective.rows(text, 0, 0)
    asked = targets != IGNORED
    expected = max(1, int(fraction * context + 0.5))
    assert (asked.sum(1) == expected).all() and objective.targets_per_row == expected
    assert np.array_equal(targets[asked], text[:, :-1][asked])
    assert np.array_equal(inputs[~asked], text[:, :-1][~asked])
    enough = (text[:, :-1] != EOS).sum(1) >= expected
    assert not ((targets == EOS) & enough[:, None]).any()


def test_80_10_10_by_count_and_every_place_as_likely() -> None:
    rows = 4000
    text = windows(rows)
    text[text == EOS] = 3  # so that all places have the same chance
    inputs, targets, _ = MASKED.rows(text, 3, 0)
    asked = targets != IGNORED
    total = int(asked.sum())
    assert total == rows * 10
    hidden = (inputs == MASK) & asked
    kept = (inputs == targets) & asked
    other = asked & ~hidden & ~kept
    for found, share in ((hidden, 0.8), (kept, 0.1 + 0.1 / 480), (other, 0.1 - 0.1 / 480)):
        assert abs(found.sum() - share * total) < 5 * (share * (1 - share) * total) ** 0.5
    assert set(np.unique(inputs[other])) <= set(range(480))
    assert len(np.unique(inputs[other])) > 470
    places = asked.sum(0)
    assert abs(places - rows * 10 / 64).max() < 5 * (rows * 10 / 64) ** 0.5


def test_whole_words_are_asked_or_not_and_their_share_is_met_where_words_allow(tokenizer: Tokenizer) -> None:
    words = WordTable(tokenizer)
    ids = tokenizer.encode("The people of naïve cafés, 1234 houses; wrote isn't_it(foo) 漢字 and the house. " * 60)
    text = np.stack([ids[start : start + CONTEXT + 1] for start in range(0, 400, 7)]).astype(np.int64)
    objective = Masked(CONTEXT, 7, 0.15, tokenizer.special["<|mask|>"], tokenizer.is_ordinary(), words)
    assert objective.targets_per_row is None
    targets = objective.rows(text, 0, 0).targets_BT
    split = 0
    for window, asked in zip(text[:, :-1], targets != IGNORED, strict=True):
        starts = np.flatnonzero(words.starts(window))
        split += len(starts) < CONTEXT
        for start, stop in pairwise([*starts, CONTEXT]):
            assert asked[start:stop].all() or not asked[start:stop].any()
    assert split == len(text)  # there were words of several tokens
    counts = (targets != IGNORED).sum(1)
    assert counts.max() <= 10 and counts.mean() > 9.5


def test_words_begin_where_a_reader_says(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("The naïve cafés wrote x_1; foo 漢字 1234;")
    starts = WordTable(tokenizer).starts(ids)
    words = [tokenizer.decode(part) for part in np.split(ids, np.flatnonzero(starts)[1:])]
    expected = ["The", " naïve", " cafés", " wrote", " x", "_", "1", ";", " foo", " 漢字", " 1234", ";"]
    assert words == expected


def put_back(row: np.ndarray, shape: Any, sentinels: np.ndarray) -> np.ndarray:
    """The text that a row of span corruption was made of."""
    source, moved = row[: shape.text - shape.noise + shape.spans], row[shape.text - shape.noise + shape.spans : -1]
    bounds = [*np.flatnonzero(np.isin(moved, sentinels)), len(moved)]
    spans = {int(moved[a]): moved[a + 1 : b] for a, b in pairwise(bounds)}
    parts = [spans.pop(int(token)) if int(token) in spans else [token] for token in source]
    assert not spans
    return np.concatenate(parts)


@settings(max_examples=60, deadline=None)
@given(context=st.integers(16, 300), fraction=st.floats(0.05, 0.5), mean=st.floats(1, 8), step=st.integers(0, 10**9))
def test_spans_put_back_give_the_text(context: int, fraction: float, mean: float, step: int) -> None:
    try:
        shape = span_shape(context, fraction, mean)
    except InputError:
        return
    sentinels = np.arange(1000, 1000 + shape.spans)
    objective = SpanCorruption(7, shape, sentinels, EOS)
    text = windows(3, length=shape.text)
    inputs, targets, _ = objective.rows(text, step, 5)
    rows = np.concatenate((inputs, objective.rows(text, step, 5)[1][:, -1:]), axis=1)
    assert inputs.shape == targets.shape == (3, context)
    for row, window, asked in zip(rows, text, targets, strict=True):
        assert np.array_equal(put_back(row, shape, sentinels), window)
        assert row[-1] == EOS
        assert ((asked == row[1:]) | (asked == IGNORED)).all()
        assert set(row[1:][asked == IGNORED]) <= set(sentinels)
        assert (asked != IGNORED).sum() == objective.targets_per_row
    assert abs(shape.noise / shape.text - fraction) <= max(1, 0.05 * shape.noise) / shape.text + 1e-9 or mean < 1.5


def test_every_place_of_the_text_is_moved_about_as_often_and_the_end_no_more_than_the_middle() -> None:
    shape, sentinels = SPAN.shape, SPAN.sentinels[: SPAN.shape.spans]
    objective = replace(SPAN, sentinels=sentinels)
    text = np.broadcast_to(np.arange(shape.text), (3000, shape.text))
    inputs = objective.rows(text, 0, 0).inputs_BT
    source = inputs[:, : shape.text - shape.noise + shape.spans]
    moved = 1 - np.array([(source == place).any(1).mean() for place in range(shape.text)])
    assert moved[0] == 0  # the first token is never moved: something must come before the first sentinel
    assert (
        moved[3:-4].min() > 0.12
        and moved.max() < 0.2
        and moved[-1] > 0.03
        and abs(moved.mean() - shape.noise / shape.text) < 1e-9
    )


def restore(tokens: np.ndarray) -> np.ndarray:
    """A rearranged document in its old order."""
    assert tokens[-1] == EOS and (tokens == PRE).sum() == (tokens == SUF).sum() == (tokens == MID).sum() == 1
    pre, suf, mid = (int(np.flatnonzero(tokens == mark)[0]) for mark in (PRE, SUF, MID))
    prefix, suffix, rest = tokens[pre + 1 : suf], tokens[suf + 1 : mid], tokens[mid + 1 : -1]
    return np.concatenate((prefix, rest, suffix))


@pytest.mark.parametrize("spm", [0.0, 1.0])
def test_a_rearranged_document_in_its_old_order_is_the_document(spm: float) -> None:
    objective = replace(FIM, fraction=1.0, spm_fraction=spm)
    rng = np.random.default_rng(1)
    seen = set()
    for number in range(300):
        body = rng.integers(0, 480, rng.integers(1, 50))
        found = objective.rearrange(body, np.random.default_rng(number))
        assert len(found) == len(body) + 4
        if spm:
            suffix = found[2 : int(np.flatnonzero(found == MID)[0])]
            assert np.array_equal(found[:2], [PRE, SUF])
            rest = found[int(np.flatnonzero(found == MID)[0]) + 1 : -1]
            assert np.array_equal(np.concatenate((rest, suffix)), body)
        else:
            assert np.array_equal(restore(found), body)
            seen.add((found[1] == SUF, found[-2] == MID))
    assert spm or len(seen) == 4  # empty and other prefixes and middles


def test_half_the_documents_are_rearranged_and_every_row_is_full() -> None:
    text = windows(2000)
    inputs, targets, _ = FIM.rows(text, 0, 0)
    assert inputs.shape == targets.shape == (2000, CONTEXT) and (targets != IGNORED).all()
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    rows = np.concatenate((inputs, targets[:, -1:]), axis=1)
    documents = rearranged = suffix_first = 0
    no_prefix = 0.0
    for row, window in zip(rows, text, strict=True):
        parts = np.split(row, np.flatnonzero(row == EOS) + 1)
        originals = np.split(window, np.flatnonzero(window == EOS) + 1)
        end = 0
        for part, original in zip(parts, originals, strict=False):
            end += len(part)
            if end == len(row):
                break  # the last part may be cut
            documents += 1
            if part[0] == PRE:
                rearranged, suffix_first = rearranged + 1, suffix_first + (part[1] == SUF)
                no_prefix += 1 - (1 - 1 / len(original)) ** 2
                assert sorted(part[part < 480]) == sorted(original[:-1])
            else:
                assert np.array_equal(part, original)
    assert documents > 2000
    assert abs(rearranged / documents - 0.5) < 0.04
    expected = 0.5 + 0.5 * no_prefix / rearranged  # without a prefix both forms begin alike
    assert abs(suffix_first / rearranged - expected) < 0.04
    # a text longer than the row is cut so that its rearrangement ends within it: the end is learnt as well
    long = FIM.rows(np.full((200, CONTEXT + 1), 5), 0, 0)
    whole = long[0][:, 0] == PRE
    assert (long[1][whole, -1] == EOS).all() and 60 < whole.sum() < 140


def test_cuts_at_characters_lose_nothing_and_encode_both_sides_as_a_user_would(tokenizer: Tokenizer) -> None:
    cutter = CharacterCutter(tokenizer, WordTable(tokenizer))
    text = "The people of naïve cafés, 漢字 1234 houses; wrote 😀 smiles."
    body = tokenizer.encode(text).astype(np.int64)
    inside = 0
    for number in range(400):
        prefix, middle, suffix = cutter.cut(body, np.random.default_rng(number))
        assert len(prefix) + len(middle) + len(suffix) <= len(body)
        joined = b"".join(tokenizer.decode_bytes(part) for part in (prefix, middle, suffix))
        assert text.encode().startswith(joined) and len(joined) > 30
        typed = tokenizer.decode_bytes(prefix).decode()  # raises within a character
        assert np.array_equal(tokenizer.encode(typed), prefix)
        inside += not np.array_equal(prefix, body[: len(prefix)])
    assert inside > 50


OBJECTIVES = {
    "masked": MASKED,
    "span": replace(SPAN, sentinels=SPAN.sentinels[: SPAN.shape.spans]),
    "fim": FIM,
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_row_is_the_same_in_any_micro_batch_and_another_in_any_other_step(name: str) -> None:
    objective = OBJECTIVES[name]
    text = windows(12)
    whole = objective.rows(text, 5, 0)
    before = text.copy()
    for bounds in ([0, 12], [0, 5, 12], list(range(13))):
        parts = [objective.rows(text[a:b], 5, a) for a, b in pairwise(bounds)]
        for index in (0, 1):
            assert np.array_equal(np.concatenate([part[index] for part in parts]), whole[index])
    assert np.array_equal(text, before)
    for other in (objective.rows(text, 6, 0), objective.rows(text, 5, 1), replace(objective, seed=8).rows(text, 5, 0)):
        assert not np.array_equal(other[0], whole[0])


def test_a_recipe_makes_its_objective(tokenizer: Tokenizer, small_recipe: Callable[..., Recipe]) -> None:
    for name, kind in (("masked", Masked), ("span", SpanCorruption), ("fim", FillInMiddle)):
        recipe = small_recipe(
            {"train.objective": name, "model.prior_order": None, "model.context": CONTEXT, "train.batch_tokens": 256}
        )
        assert recipe.model.prior_order == 0
        made = make_objective(recipe, tokenizer)
        assert isinstance(made, kind)
        length = span_shape(CONTEXT, 0.15, 3.0).text if name == "span" else CONTEXT + 1
        inputs, _, _ = made.rows(
            np.tile(tokenizer.encode("the house of people "), 40)[None, :length].astype(np.int64), 0, 0
        )
        assert inputs.max() < tokenizer.vocab_size
    plain = Tokenizer.train(iter(["a house of the people"]), 260, "gpt4")
    with pytest.raises(InputError, match=r"tokenizer\.path: .*<\|fim_prefix\|>.*train\.objective.*leave tokenizer"):
        make_objective(recipe, plain)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        (["train.objective=masked", "model.architecture=llama"], r"train\.objective: 'masked' trains an encoder"),
        (["train.objective=masked", "model.prior_order=5"], r"model\.prior_order: .* set it to 0"),
        (["train.objective=fim", "model.prior_order=3"], r"model\.prior_order: .*'fim'"),
        (
            ["train.objective=span", "train.span_fraction=0.9", "train.span_tokens=1"],
            r"train\.span_fraction: .*lower it",
        ),
        (["train.objective=nonsense"], r"train\.objective"),
        (["train.mask_fraction=1.5"], r"train\.mask_fraction"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings_: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(settings=settings_)
    assert "\n" not in str(caught.value)


@pytest.fixture
def text_data(tokenizer: Tokenizer, tmp_path: Path) -> Callable[[str], TrainingData]:
    """text_data("masked") -> batches of 8 rows of 32 tokens of real words, whole words masked."""
    writer = ShardWriter(tmp_path, tokenizer.vocab_size, tokenizer.eos_id, tokenizer.sha256)
    draw = random.Random(1)
    for number in range(40):
        text = " ".join(draw.choices(("photosynthesis", "wrote", "peoples", "xylophone", "naïve"), k=30))
        writer.add(np.append(tokenizer.encode(text), tokenizer.eos_id), f"d{number}", "s", "s", len(text.encode()))
    writer.finish()

    def make(name: str) -> TrainingData:
        train = {"steps": 1, "objective": name, "mask_whole_words": True, "batch_tokens": 256}
        values = {"name": "t", "corpus": {"sources": ["x"]}, "model": {"context": 32}, "train": train}
        recipe = Recipe.model_validate(values)
        loader = Loader(tmp_path, window_tokens(recipe), 8, 1)
        return TrainingData(loader, None, 0, make_objective(recipe, tokenizer))

    return make


def engine_of(data: TrainingData, vocab_size: int, micro_batch_rows: int, ranks: Ranks) -> Engine:
    base = TransformerConfig(vocab_size, 2, 32, 4, 2, 48, 32)
    config = replace(ARCHITECTURES["llama"](base), causal=not isinstance(data.objective, Masked))
    train = TrainConfig(steps=10, optimizer="adamw")
    return Engine(config, train, 10, 1, Execution("cpu", "float32", False, 1, micro_batch_rows), data, ranks)


def gradients_of(engine: Engine) -> dict[str, torch.Tensor]:
    return {n: p.grad.to_dense().double() for n, p in engine.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["masked", "span", "fim"])
def test_gradients_are_those_of_the_plain_masked_loss_whatever_the_micro_batch(
    name: str, text_data: Callable[[str], TrainingData], tokenizer: Tokenizer
) -> None:
    data = text_data(name)
    batch = data.rows(3, 0, 8)
    asked = batch.targets_BT != IGNORED
    assert data.num_targets(3) == int(asked.sum())
    if name == "masked":
        assert len(set(asked.sum(1).tolist())) > 1  # rows differ: a mean over each micro-batch would be another one
    plain = engine_of(data, tokenizer.vocab_size, 8, Ranks()).model.double()
    logits = plain.head(plain.hidden(*plain.embed(batch.inputs_BT)))[..., : tokenizer.vocab_size]
    nll = -logits.log_softmax(-1).gather(-1, batch.targets_BT.clamp_min(0)[..., None])[..., 0]
    (nll[asked].sum() / asked.sum()).backward()
    expected = {n: p.grad.to_dense() for n, p in plain.named_parameters() if p.grad is not None}
    for rows in (8, 4, 1):
        engine = engine_of(data, tokenizer.vocab_size, rows, Ranks())
        outcome = engine.gradients(3)
        assert outcome.loss == pytest.approx(nll[asked].mean().item(), rel=1e-5)
        for key, gradient in gradients_of(engine).items():
            torch.testing.assert_close(gradient, expected[key], rtol=1e-3, atol=1e-6, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("name", ["masked", "span", "fim"])
def test_the_rows_of_all_ranks_are_the_batch_and_their_targets_add_up(
    name: str, text_data: Callable[[str], TrainingData]
) -> None:
    data = text_data(name)
    whole = data.rows(9, 0, 8)
    parts = [data.rows(9, *Ranks(rank, 4).share(8)) for rank in range(4)]
    assert torch.equal(torch.cat([part.inputs_BT for part in parts]), whole.inputs_BT)
    assert torch.equal(torch.cat([part.targets_BT for part in parts]), whole.targets_BT)
    assert sum(int((part.targets_BT != IGNORED).sum()) for part in parts) == data.num_targets(9)


def padded(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of documents of 13 tokens with a number each, the last 12 places padding."""
    text = windows(rows)
    text[text == EOS] = 3
    numbers = np.broadcast_to(np.arange(CONTEXT + 1) // 13, text.shape).copy()
    text[:, 12::13] = EOS
    text[:, -13:], numbers[:, -13:] = EOS, PADDING
    return text, numbers


@pytest.mark.parametrize("masks", [False, True])
def test_padding_is_never_asked_and_with_masks_no_other_document_is(masks: bool) -> None:
    text, numbers = padded(200)
    causal = Causal(CONTEXT, masks).rows(text, 0, 0, numbers)
    assert (causal.targets_BT != IGNORED).sum(1).tolist() == [(51 - 3 * masks)] * 200
    assert np.array_equal(causal.documents_BT, numbers[:, :-1])
    masked = MASKED.rows(text, 0, 0, numbers)
    assert (masked.targets_BT != IGNORED).sum(1).tolist() == [8] * 200  # 15% of 52
    assert not (masked.targets_BT[:, 52:] != IGNORED).any() and np.array_equal(masked.documents_BT, numbers[:, :-1])
    fim = replace(FIM, masks=masks).rows(text, 0, 0, numbers)
    for inputs, targets, documents in zip(*fim, strict=True):
        for number in range(documents.max() + 1):
            part = inputs[documents == number]
            assert ((part == EOS).sum() <= 1 and len(part) in (13, 16)) or number == documents.max()
        ends = np.flatnonzero(np.diff(documents))
        assert ((targets[ends] == IGNORED) == (masks | (documents[ends + 1] == PADDING))).all()
        assert (targets[documents == PADDING] == IGNORED).all()
