"""Bits per byte equal a slow computation, one token at a time in float64."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.evaluate.bits import bits_per_byte, score_split, score_stream
from seedbed.evaluate.held_out import HeldOut, select
from seedbed.model.language_model import LanguageModel
from seedbed.tokens.tokenizer import Tokenizer


def one_by_one(model: LanguageModel, tokens: list[int], eos: int) -> tuple[float, float, list[int]]:
    """Bits of the model and its transformer in float64, and how many tokens each one saw."""
    context, slide = model.config.context, model.config.context // 2
    history = [eos, *tokens]
    double = model.transformer.double()
    model_bits = transformer_bits = 0.0
    in_view = []
    with torch.no_grad():
        for i, token in enumerate(tokens):
            window = 0 if i < context else 1 + (i - context) // slide
            seen = history[window * slide : i + 1]
            in_view.append(len(seen))
            x, values = double.embed(torch.tensor([seen]))
            hidden = double.hidden(x, values)[0, -1]
            logits = double.cap(double.head(hidden))[: model.config.vocab_size]
            own = logits.log_softmax(-1)[token].item()
            mixed = own
            if model.expert is not None:
                probabilities, masses = model.expert.distribution(np.array(history[: i + 1]))
                gate = double.prior_gate(torch.cat((hidden, torch.from_numpy(masses).double()))).item()
                share = 1 / (1 + math.exp(-gate))
                mixed = math.log(share * math.exp(own) + (1 - share) * float(probabilities[token]))
            model_bits -= mixed / math.log(2)
            transformer_bits -= own / math.log(2)
    model.transformer.float()
    return model_bits, transformer_bits, in_view


@pytest.mark.parametrize("prior_order", [0, 3])
@settings(max_examples=10, deadline=None)
@given(
    num_tokens=st.integers(1, 70),
    context=st.sampled_from([8, 11, 16]),
    batch_rows=st.sampled_from([None, 1, 3]),
    draw=st.integers(0, 2**32 - 1),
)
def test_equals_one_by_one(
    make_model: Callable[..., LanguageModel],
    prior_order: int,
    num_tokens: int,
    context: int,
    batch_rows: int | None,
    draw: int,
) -> None:
    model = make_model(50, context, prior_order)
    tokens = np.random.default_rng(draw).integers(0, 50, num_tokens)
    counted: list[int] = []
    found = score_stream(model, HeldOut(49, tokens, 1, ["a"]), batch_rows, counted.append)
    model_bits, transformer_bits, in_view = one_by_one(model, tokens.tolist(), 49)
    assert found == pytest.approx((model_bits, transformer_bits), rel=2e-5)
    assert sum(counted) == num_tokens
    assert min(in_view[context // 2 :], default=context) > context // 2


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_other_architectures(make_model: Callable[..., LanguageModel], architecture: str) -> None:
    model = make_model(50, 16, 0, architecture)
    tokens = np.random.default_rng(1).integers(0, 50, 60)
    model_bits, transformer_bits, _ = one_by_one(model, tokens.tolist(), 49)
    assert score_stream(model, HeldOut(49, tokens, 1, ["a"])) == pytest.approx((model_bits, transformer_bits), rel=2e-5)


def test_score_split_counts_what_it_scored(
    make_model: Callable[..., LanguageModel],
    write_shards: Callable[..., Path],
    tokenizer: Tokenizer,
    texts: list[str],
) -> None:
    folder = write_shards([("code", texts[0][:3000]), ("prose", texts[3]), ("code", texts[1][:2000]), ("", "Anon.\n")])
    model = make_model(tokenizer.vocab_size, 16)
    scores = score_split(model, folder, 10**6)
    assert list(scores) == ["code", "prose", "unnamed"]
    assert scores["code"]["documents"] == 2
    assert scores["code"]["bytes"] == len((texts[0][:3000] + texts[1][:2000]).encode())
    assert scores["code"]["tokens"] == 2 + sum(len(tokenizer.encode(t)) for t in (texts[0][:3000], texts[1][:2000]))
    assert scores["code"]["model"] == scores["code"]["transformer"]
    overall = bits_per_byte(scores)
    spent = sum(entry["model"] * entry["bytes"] for entry in scores.values())
    assert overall["all"] == pytest.approx(spent / sum(entry["bytes"] for entry in scores.values()))
    assert overall["prose"] == scores["prose"]["model"]
    assert score_split(model, folder, 10**6) == scores


@pytest.mark.parametrize("training", [True, False])
def test_leaves_the_mode_as_it_was(make_model: Callable[..., LanguageModel], training: bool) -> None:
    model = make_model(50, 8)
    model.transformer.train(training)
    score_stream(model, HeldOut(49, np.arange(20), 1, ["a"]))
    assert model.transformer.training == training


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 900))
def test_a_domain_is_cut_at_its_limit(
    write_shards: Callable[..., Path], tokenizer: Tokenizer, texts: list[str], limit: int
) -> None:
    documents = [("prose", texts[3][:90]), ("code", texts[0][:300]), ("prose", texts[3][:200]), ("prose", "last")]
    folder = write_shards(documents)
    streams = select(folder, limit, tokenizer)
    for domain, stream in streams.items():
        whole = b"".join(text.encode() for name, text in documents if name == domain)
        found = b"".join(stream.texts)
        assert whole.startswith(found)
        found.decode()  # never half a character
        assert len(found) == stream.num_bytes <= limit
        if len(whole) <= limit:
            assert found == whole and stream.tokens[-1] == tokenizer.eos_id
        else:
            longest = max(len(tokenizer.decode_bytes([token])) for token in range(tokenizer.vocab_size))
            assert limit - len(found) < longest + 4
    whole_documents = select(folder, limit)
    assert all(stream.num_bytes >= min(limit, 4) for stream in whole_documents.values())


def test_a_domain_named_all_keeps_its_own_row(write_shards: Callable[..., Path], tokenizer: Tokenizer) -> None:
    assert list(select(write_shards([("all", "some text")]), 100, tokenizer)) == ["domain all"]
