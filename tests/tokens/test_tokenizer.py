import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.tokens.encoders import GigatokenEncoder, HuggingFaceEncoder
from seedbed.tokens.patterns import PATTERNS
from seedbed.tokens.tokenizer import Tokenizer

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

# Assigned characters only: gigatoken knows Unicode 17, whose new letters `tokenizers` 0.23 still takes for symbols.
CHARACTERS = st.characters(exclude_categories=("Cs", "Cn"))
TRICKY = st.sampled_from(
    [" ", "  ", "\n", "\r\n", "\t", "'s", "'LL", "1", "12345", "a", "Zz", "_", "//", "\u3000", "é", "e\u0301"]
)
TEXT = st.one_of(st.text(CHARACTERS), st.lists(st.one_of(TRICKY, st.text(CHARACTERS, max_size=3))).map("".join))


def reference(tokenizer: Tokenizer, tmp_path: Path) -> tokenizers.Tokenizer:
    tokenizer.save(tmp_path / "tokenizer.json")
    read = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    read.encode_special_tokens = True  # special tokens in text are text
    return read


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_survive(tokenizer: Tokenizer, data: bytes) -> None:
    assert tokenizer.exact
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


@settings(deadline=None)
@given(TEXT)
def test_any_text_survives_and_bytes_of_it_encode_alike(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert np.array_equal(tokenizer.encode_bytes(text.encode()), ids)


def test_every_byte_is_a_token(tokenizer: Tokenizer) -> None:
    assert [tokenizer.decode_bytes([number]) for number in range(256)] == [bytes([byte]) for byte in range(256)]


def test_a_lone_surrogate_encodes_as_its_bytes(tokenizer: Tokenizer) -> None:
    text = "a\ud800b"
    assert tokenizer.decode_bytes(tokenizer.encode(text)) == text.encode("utf-8", "surrogatepass")
    assert np.array_equal(tokenizer.encode_batch(["x", text])[1], tokenizer.encode(text))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_ids_equal_those_of_hugging_face(pattern: str, texts: list[str], tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(iter(texts), 1500, pattern)
    assert isinstance(tokenizer._encoder, GigatokenEncoder)
    read = reference(tokenizer, tmp_path)
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.tolist() == read.encode(text).ids
        assert read.decode(ids.tolist()) == text

    @settings(deadline=None, max_examples=300)
    @given(TEXT)
    def fuzz(text: str) -> None:
        assert tokenizer.encode(text).tolist() == read.encode(text).ids

    fuzz()


def test_ids_of_a_megabyte_of_shakespeare_equal_those_of_hugging_face(tmp_path: Path) -> None:
    path = SHARED / "corpus" / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip("needs ../shared/data/corpus/tinyshakespeare.txt")
    text = path.read_text(encoding="utf-8")
    tokenizer = Tokenizer.train(iter([text]), 4096, "gpt4")
    ids = tokenizer.encode(text)
    assert ids.tolist() == reference(tokenizer, tmp_path).encode(text).ids
    assert tokenizer.decode(ids) == text


def test_text_that_spells_the_end_of_text_token_stays_text(tokenizer: Tokenizer) -> None:
    text = "a <|endoftext|> b<|endoftext|>"
    for ids in (tokenizer.encode(text), tokenizer.encode_batch([text])[0], tokenizer.encode_bytes(text.encode())):
        assert tokenizer.eos_id not in ids
        assert tokenizer.decode(ids) == text


def test_special_tokens_decode_to_nothing_and_padded_rows_to_a_mark(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([97, tokenizer.eos_id, 98, tokenizer.vocab_size + 5]) == "ab\ufffd"


@settings(deadline=None)
@given(st.binary(), st.integers(1, 5))
def test_a_stream_of_tokens_gives_the_same_text_and_no_half_characters(
    tokenizer: Tokenizer, data: bytes, chunk: int
) -> None:
    ids = tokenizer.encode_bytes(data)
    stream = tokenizer.stream_decoder()
    parts = [stream.push(ids[start : start + chunk]) for start in range(0, len(ids), chunk)] + [stream.finish()]
    assert "".join(parts) == tokenizer.decode(ids)


def test_a_character_appears_with_its_last_byte(tokenizer: Tokenizer) -> None:
    stream = tokenizer.stream_decoder()
    assert [stream.push([byte]) for byte in "né".encode()] == ["n", "", "é"]


def test_a_saved_tokenizer_loads_as_the_same(tokenizer: Tokenizer, texts: list[str], tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "t.json")
    loaded = Tokenizer.load(tmp_path / "t.json")
    assert (loaded.sha256, loaded.vocab_size, loaded.eos_id) == (
        tokenizer.sha256,
        tokenizer.vocab_size,
        tokenizer.eos_id,
    )
    assert np.array_equal(loaded.encode(texts[0]), tokenizer.encode(texts[0]))


def test_gpt2s_own_vocabulary_encodes_as_published(tmp_path: Path) -> None:
    folder = SHARED / "tokenizers"
    if not folder.is_dir():
        pytest.skip("needs GPT-2's vocabulary in ../shared/data/tokenizers")
    model = tokenizers.models.BPE.from_file(str(folder / "gpt2_vocab.json"), str(folder / "gpt2_merges.txt"))
    built = tokenizers.Tokenizer(model)
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = tokenizers.decoders.ByteLevel()
    built.add_special_tokens(["<|endoftext|>"])
    built.save(str(tmp_path / "gpt2.json"))
    tokenizer = Tokenizer.load(tmp_path / "gpt2.json")
    assert (tokenizer.vocab_size, tokenizer.eos_id, tokenizer.exact) == (50257, 50256, True)
    # https://platform.openai.com/tokenizer (GPT-3, the same vocabulary)
    assert tokenizer.encode("Hello world, don't panic!\n").tolist() == [15496, 995, 11, 836, 470, 13619, 0, 198]


def hugging_face_file(tmp_path: Path, **changes: object) -> Path:
    """A small byte-level tokenizer.json trained by `tokenizers` itself, with some entries replaced."""
    built = tokenizers.Tokenizer(tokenizers.models.BPE())
    built.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    built.train_from_iterator(["the theme of the other " * 10], trainer)
    document = {**json.loads(built.to_str()), **changes}
    (tmp_path / "foreign.json").write_text(json.dumps(document))
    return tmp_path / "foreign.json"


def test_an_import_without_end_of_text_gets_one(tmp_path: Path) -> None:
    path = hugging_face_file(tmp_path)
    before = tokenizers.Tokenizer.from_file(str(path)).get_vocab_size()
    tokenizer = Tokenizer.load(path)
    assert (tokenizer.eos_id, tokenizer.vocab_size) == (before, before + 1)
    assert reference(tokenizer, tmp_path).token_to_id("<|endoftext|>") == before


def test_a_normaliser_makes_an_import_inexact_but_equal(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(hugging_face_file(tmp_path, normalizer={"type": "Lowercase"}))
    assert not tokenizer.exact
    assert tokenizer.decode(tokenizer.encode("The THEME")) == "the theme"


def test_a_split_pattern_gigatoken_refuses_falls_back(tmp_path: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": r"\w+|\W"}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    path = hugging_face_file(tmp_path, pre_tokenizer={"type": "Sequence", "pretokenizers": [split, level]})
    tokenizer = Tokenizer.load(path)
    assert isinstance(tokenizer._encoder, HuggingFaceEncoder)
    assert tokenizer.exact
    data = "the\tother été".encode() + b"\xff\x00"
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data)) == data


def test_tokenizers_of_another_kind_load(tmp_path: Path) -> None:
    built = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "the": 1, "cat": 2}, unk_token="[UNK]"))
    built.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    built.save(str(tmp_path / "words.json"))
    tokenizer = Tokenizer.load(tmp_path / "words.json")
    assert (tokenizer.exact, tokenizer.eos_id, tokenizer.vocab_size) == (False, 3, 4)
    assert tokenizer.encode("the cat sat").tolist() == [1, 2, 0]
    stream = tokenizer.stream_decoder()
    assert stream.push([1]) + stream.push([2]) + stream.finish() == tokenizer.decode([1, 2]) == "the cat"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a Hugging Face"),
        (b"\xff\xfe", "not a Hugging Face"),
        (b"[]", "not a Hugging Face"),
        (b'{"model": {}}', "not a Hugging Face"),
        (b'{"model": {"vocab": {"a": 0}}}', "refuses it"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(InputError, match=complaint) as caught:
        Tokenizer.load(tmp_path / "bad.json")
    assert "bad.json" in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.json: cannot be read"):
        Tokenizer.load(tmp_path / "absent.json")


def test_a_byte_level_file_that_lacks_bytes_is_refused(tmp_path: Path) -> None:
    path = hugging_face_file(tmp_path)
    document = json.loads(path.read_text())
    del document["model"]["vocab"]["!"]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="lacks 1 of the 256 byte tokens"):
        Tokenizer.load(path)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_is_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps({"model": {"type": "BPE", "vocab": value, "merges": value}, "decoder": value}))
    with pytest.raises(InputError) as caught:
        Tokenizer.load(path)
    assert len(str(caught.value).splitlines()) == 1
