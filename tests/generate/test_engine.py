"""Generation through the cache equals generation without; streams are whole characters; seeds decide everything."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.generate.engine import (
    choose,
    generate,
    generate_tokens,
    infill_prompt,
    infill_tokens,
    sample_text,
)
from seedbed.model.config import ARCHITECTURES, TransformerConfig
from seedbed.model.language_model import LanguageModel
from seedbed.model.ngram import count
from seedbed.model.transformer import build_model
from seedbed.recipe.objective import special_tokens
from seedbed.tokens.tokenizer import Tokenizer

TEXT = "The quick brown fox — naïve, 漢字 👩‍👩‍👧 — jumps over the lazy dog. " * 40


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(iter([TEXT]), 300, "gpt4")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def make_model(tokenizer: Tokenizer) -> Callable[..., LanguageModel]:
    def make(architecture: str = "seedbed", prior_order: int = 0, context: int = 64) -> LanguageModel:
        base = TransformerConfig(
            tokenizer.vocab_size, 2, 32, 2, 1, 64, context,
            prior_order=prior_order, ngram_rows=97 if architecture == "seedbed" else 0,
        )  # fmt: skip
        transformer = build_model(ARCHITECTURES[architecture](base), seed=3)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in transformer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
        expert = None
        if prior_order:
            tokens = tokenizer.encode(TEXT).astype(np.int64)
            expert, _, _ = count(tokens, np.arange(len(tokens)) // 50, tokenizer.vocab_size, prior_order)
        return LanguageModel(transformer, expert)

    return make


def without_cache(model: LanguageModel, tokens: list[int], count: int) -> list[int]:
    """Greedy continuation that reads everything anew for each token."""
    made: list[int] = []
    for _ in range(count):
        made.append(int(model.advance(model.start(), tokens + made).argmax()))
    return made


@pytest.mark.parametrize(("architecture", "prior_order"), [("seedbed", 0), ("seedbed", 4), ("gpt2", 0), ("llama", 0)])
def test_cache_changes_nothing(
    make_model: Callable[..., LanguageModel], tokenizer: Tokenizer, architecture: str, prior_order: int
) -> None:
    model = make_model(architecture, prior_order)
    prompt = "The quick brown"
    found = list(generate_tokens(model, tokenizer, prompt, 40, 0, None, 1, stop_at_eos=False))
    assert found == without_cache(model, [tokenizer.eos_id, *tokenizer.encode(prompt).tolist()], 40)


def test_goes_on_past_the_context(make_model: Callable[..., LanguageModel], tokenizer: Tokenizer) -> None:
    model = make_model(context=16)
    long_prompt = TEXT[:200]
    found = list(generate_tokens(model, tokenizer, long_prompt, 50, 0, None, 1, stop_at_eos=False))
    assert len(found) == 50
    # a prompt longer than the context counts with the last half context
    tokens = [tokenizer.eos_id, *tokenizer.encode(long_prompt).tolist()]
    assert found[0] == int(model.advance(model.start(), tokens[-8:]).argmax())


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31), temperature=st.sampled_from([0.5, 1.0, 3.0]), top_k=st.sampled_from([None, 1, 7, 10**6])
)
def test_a_seed_decides_the_text(
    make_model: Callable[..., LanguageModel], tokenizer: Tokenizer, seed: int, temperature: float, top_k: int | None
) -> None:
    model = make_model()
    torch.manual_seed(seed + 1)  # the process's own generator has no say
    first = sample_text(model, tokenizer, "The", 20, temperature, top_k, seed)
    torch.manual_seed(seed + 2)
    pieces = list(generate(model, tokenizer, "The", 20, temperature, top_k, seed))
    assert "".join(pieces) == first
    tokens = list(generate_tokens(model, tokenizer, "The", 20, temperature, top_k, seed))
    assert tokenizer.decode(tokens) == first
    if top_k == 1:
        assert tokens == list(generate_tokens(model, tokenizer, "The", 20, 0, None, seed))


def test_stops_before_the_end_of_text(make_model: Callable[..., LanguageModel], tokenizer: Tokenizer) -> None:
    model = make_model()
    eos = tokenizer.eos_id
    for seed in range(60):  # nearly even odds: a draw in 300 ends the text
        free = list(generate_tokens(model, tokenizer, "", 30, 30.0, None, seed, stop_at_eos=False))
        if eos in free:
            break
    stopped = list(generate_tokens(model, tokenizer, "", 30, 30.0, None, seed))
    assert stopped == free[: free.index(eos)]


def test_draws_follow_the_probabilities() -> None:
    log_probabilities = torch.tensor([0.5, 0.2, 0.2, 0.1]).log()
    generator = torch.Generator().manual_seed(1)
    drawn = np.bincount([choose(log_probabilities, 1.0, None, generator) for _ in range(4000)], minlength=4) / 4000
    assert drawn == pytest.approx([0.5, 0.2, 0.2, 0.1], abs=0.03)
    cut = np.bincount([choose(log_probabilities, 1.0, 1, generator) for _ in range(50)], minlength=4)
    assert cut.tolist() == [50, 0, 0, 0]
    sharp = np.bincount([choose(log_probabilities, 0.5, None, generator) for _ in range(4000)], minlength=4) / 4000
    squares = np.array([0.25, 0.04, 0.04, 0.01])
    assert sharp == pytest.approx(squares / squares.sum(), abs=0.03)


@pytest.mark.parametrize("objective", ["fim", "span"])
def test_a_gap_is_filled_as_the_objective_wrote_it(objective: str) -> None:
    names = [names[0] for names in special_tokens(objective, 64, 0.15, 3.0)]
    tokenizer = Tokenizer.train(iter(["the house of the people " * 20]), 300, "gpt4", names)
    tokens, stops = infill_prompt(tokenizer, "the house", " people")
    shown = [n for n in tokens if n not in tokenizer.special.values()]
    assert tokenizer.decode(shown) == "the house people" and tokenizer.eos_id in stops
    marks = [name for n in tokens for name, number in tokenizer.special.items() if number == n]
    if objective == "fim":
        assert marks == ["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    else:
        assert marks == ["<|endoftext|>", "<|extra_id_0|>", "<|extra_id_0|>"]
        assert tokenizer.special["<|extra_id_1|>"] in stops
    config = TransformerConfig(tokenizer.vocab_size, 1, 32, 2, 2, 32, 24)
    model = LanguageModel(build_model(ARCHITECTURES["llama"](config), seed=1), None)
    made = list(infill_tokens(model, tokenizer, "the house", " people", 100, 1.0, None, 1))
    assert 0 < len(made) <= 24 - len(tokens)
    with pytest.raises(InputError, match="leave no room in the context of 24: shorten them"):
        next(infill_tokens(model, tokenizer, "the house " * 20, "", 10, 1.0, None, 1))


def test_a_gap_needs_a_model_that_was_trained_to_fill_it() -> None:
    with pytest.raises(InputError, match=r"not trained to fill in: train one with train\.objective"):
        infill_prompt(Tokenizer.train(iter(["the house"]), 260, "gpt4"), "a", "b")
