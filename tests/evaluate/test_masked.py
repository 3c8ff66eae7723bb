"""An encoder's scores equal slow computations in float64, and its run goes from text to report like any other."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from seedbed.cli import main
from seedbed.evaluate.fill import draw_fills
from seedbed.evaluate.held_out import HeldOut
from seedbed.evaluate.masked import HELD_OUT, MaskedScore, score_masked, score_pseudo, unigram_bits, windows_of
from seedbed.evaluate.table import evaluation_text
from seedbed.files import read_json
from seedbed.model.config import ARCHITECTURES, TransformerConfig
from seedbed.model.language_model import LanguageModel
from seedbed.model.transformer import build_model
from seedbed.recipe.schema import Recipe
from seedbed.run.pipeline import run_pipeline
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.batch import IGNORED
from seedbed.train.objectives import Masked

CONTEXT = 12


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(iter(["the house of the people of this land " * 20]), 300, "gpt4", ["<|mask|>"])


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> LanguageModel:
    base = TransformerConfig(tokenizer.vocab_size, 2, 32, 2, 2, 64, CONTEXT)
    transformer = build_model(ARCHITECTURES["bert"](base), seed=3)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return LanguageModel(transformer, None)


@pytest.fixture(scope="module")
def objective(tokenizer: Tokenizer) -> Masked:
    return Masked(CONTEXT, 5, 0.25, tokenizer.special["<|mask|>"], tokenizer.is_ordinary())


def stream_of(tokenizer: Tokenizer, num_tokens: int) -> HeldOut:
    ids = tokenizer.encode("this land of the people, a house of the land; " * 10)
    tokens = np.append(ids[: num_tokens - 1], tokenizer.eos_id).astype(np.int64)
    return HeldOut(tokenizer.eos_id, tokens, len(tokenizer.decode_bytes(tokens)), ["a"])


def log_probabilities(model: LanguageModel, tokens: np.ndarray) -> torch.Tensor:
    """[T, vocab_size] in float64 of one text."""
    double = model.transformer.double()
    with torch.no_grad():
        logits = double.head(double.hidden(*double.embed(torch.from_numpy(tokens[None]))))[0]
    model.transformer.float()
    return logits[:, : model.config.vocab_size].log_softmax(-1)


@pytest.mark.parametrize("num_tokens", [5, 12, 40])
def test_bits_per_masked_token_equal_one_text_at_a_time(
    model: LanguageModel, objective: Masked, tokenizer: Tokenizer, num_tokens: int
) -> None:
    stream = stream_of(tokenizer, num_tokens)
    unigram = unigram_bits(stream.tokens, tokenizer.vocab_size)
    windows, documents = windows_of(stream.tokens, CONTEXT, stream.eos_id)
    bits = rare = 0.0
    asked = right = 0
    for row, window in enumerate(windows):
        inputs, targets, _ = objective.rows(window[None], HELD_OUT, row, documents)
        length = min(CONTEXT, num_tokens)  # without the padding
        found = log_probabilities(model, inputs[0, :length])
        for place in np.flatnonzero(targets[0] != IGNORED):
            token = int(targets[0, place])
            asked, bits = asked + 1, bits - found[place, token].item() / math.log(2)
            right, rare = right + int(found[place].argmax() == token), rare + unigram[token]
    score = score_masked(model, stream, objective, unigram)
    assert (score.asked, score.right, score.tokens) == (asked, right, num_tokens)
    assert asked == len(windows) * max(1, int(0.25 * min(CONTEXT, num_tokens) + 0.5))
    assert score.bits == pytest.approx(bits, rel=1e-5) and score.unigram_bits == pytest.approx(rare, rel=1e-9)


def test_the_pseudo_log_likelihood_masks_each_token_alone(
    model: LanguageModel, objective: Masked, tokenizer: Tokenizer
) -> None:
    stream = stream_of(tokenizer, 40)
    bits = 0.0
    for start in (0, 12, 24):
        window = stream.tokens[start : min(30, start + 12)]
        for place, token in enumerate(window):
            hidden = window.copy()
            hidden[place] = objective.mask_id
            bits -= log_probabilities(model, hidden)[place, int(token)].item() / math.log(2)
    score = score_pseudo(model, stream, objective, tokenizer, max_tokens=30)
    assert score.pseudo_tokens == 30 and score.pseudo_bytes == len(tokenizer.decode_bytes(stream.tokens[:30]))
    assert score.pseudo_bits == pytest.approx(bits, rel=1e-5)


def test_scores_add_up() -> None:
    one = MaskedScore(10, 1, 5, asked=2, right=1, bits=4.0, unigram_bits=8.0, pseudo_bytes=10, pseudo_bits=20.0)
    both = (one + one + MaskedScore()).to_json()
    assert (both["model"], both["unigram"], both["accuracy"], both["pseudo_bits_per_byte"]) == (2.0, 4.0, 0.5, 2.0)


def test_fills_show_what_stood_there_and_prompts_spell_their_masks(
    model: LanguageModel, objective: Masked, tokenizer: Tokenizer
) -> None:
    stream = stream_of(tokenizer, 40)
    (found,) = draw_fills(model, tokenizer, objective, [stream])
    pieces = found["prompt"].split("<|mask|>")
    assert len(pieces) == 4 and len(found["fills"]) == 3
    restored = "".join(a + b["truth"] for a, b in zip(pieces, found["fills"], strict=False)) + pieces[-1]
    assert restored == tokenizer.decode(stream.tokens[:CONTEXT])
    assert found["right"] == sum(item["guesses"][0][0] == item["truth"] for item in found["fills"])
    assert all(len(item["guesses"]) == 5 for item in found["fills"])
    (asked,) = draw_fills(model, tokenizer, objective, [stream], ("the<|mask|> of", "no mask"))
    assert asked["prompt"] == "the<|mask|> of" and asked["right"] is None
    assert asked["text"] == f"the{asked['fills'][0]['guesses'][0][0]} of"


def test_an_encoder_goes_from_text_to_report_and_writes_no_text(
    small_recipe: Callable[..., Recipe],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("seedbed.train.trials.MEASURED_SECONDS", 0.0)
    fields = {"model.architecture": "bert", "model.ngram_rows": 0, "model.prior_order": 0, "train.objective": "masked"}
    fields |= {"train.mask_whole_words": True, "train.optimizer": "adamw", "train.validate_every_fraction": 0.5}
    folder = run_pipeline(small_recipe({**fields, "model.heads": 2}), tmp_path / "run", lambda event: None)
    evaluation = read_json(folder.stage_path("evaluate") / "evaluation.json")
    entry = evaluation["bits_per_masked_token"]["all"]
    assert "bits_per_byte" not in evaluation and entry["asked"] > 50 and 0 < entry["model"] < 20
    assert "pseudo bits/byte" in evaluation_text(evaluation) and "in whole words" in evaluation_text(evaluation)
    history = read_json(folder.stage_path("train") / "history.json")
    assert history["validations"][0]["bits_per_masked_token"]["all"] > 0
    assert "<|mask|>" in history["samples"][0]["prompt"]
    page = folder.report_path.read_text()
    assert "An encoder that needs" in page and "bits/masked token" in page and "&lt;|mask|&gt;" in page
    assert read_json(folder.receipt_path)["bits_per_masked_token"]["all"] == entry
    config = read_json(folder.stage_path("train") / "config.json")
    assert config["causal"] is False
    for arguments, code, said in (
        (["generate", str(folder.path)], 2, "holds an encoder, which fills masks and cannot continue text"),
        (["evaluate", str(folder.path), "--json"], 0, ""),
        (["run", str(folder.path / "recipe.toml"), "--out", str(folder.path), "--json"], 0, ""),
    ):
        monkeypatch.setattr(sys, "argv", ["seedbed", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == code and said in captured.err
        if code == 0:
            assert "bits_per_masked_token" in json.loads(captured.out)
