"""Words by each splitter: reference tokens, and that a lexicon changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus import english, words
from seedbed.corpus.view import TextView

SIGNS = ["(", ")", "'", "’s", "...", ".", ",", "-", "–", ":", "!", '"', "“", "a", "The", "U.S", "x.y", "km", "5", "100"]
SIGNS += [
    "$",
    "@",
    "/",
    "©",
    "don't",
    "Im",
    ":)",
    "=",
    "°C.",
    "e.g.",
    "ß",
    "é",
    "中文",
    "\u0301",
    "*",
    "_",
    "%",
    "+",
    "~",
]
chunks = st.one_of(st.text(min_size=1), st.lists(st.sampled_from(SIGNS), min_size=1, max_size=7).map("".join)).filter(
    lambda text: text.split() == [text]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # what spacy.blank("en").tokenizer of spaCy 3.8.18 gives
        ("don't", "do|n't"),
        ("“Don’t”", "“|Do|n’t|”"),
        ("(e.g.,", "(|e.g.|,"),
        ("Dr.", "Dr."),
        ("word.", "word|."),
        ("U.S.", "U.S."),
        ("ends...", "ends|..."),
        ("well-known", "well|-|known"),
        ("3.14", "3.14"),
        ("5km", "5|km"),
        ("$100", "$|100"),
        ("10am.", "10|am|."),
        ("10am", "10|am"),
        ("https://example.org/a-b?c=d.", "https://example.org/a-b?c=d|."),
        ("foo.Bar", "foo|.|Bar"),
        ("a,b", "a|,|b"),
        (":-)", ":-)"),
        ("hi:-)", "hi:-|)"),
        ("its", "its"),
        ("Im", "I|m"),
        ("can't've", "ca|n't|'ve"),
        ("it's.", "it|'s|."),
        ("C++,", "C++|,"),
        ("日本語", "日本語"),
        ("°C.", "°|C|."),
        ("-5", "-5"),
        ("™x", "™|x"),
    ],
)
def test_tokens_of_spacy(text: str, expected: str) -> None:
    assert "|".join(english.split_chunk(text)) == expected


@settings(deadline=None)
@given(chunks)
def test_the_short_way_to_tokens_is_the_long_way(chunk: str) -> None:
    known = english.tables()
    tokens = list(english.split_chunk(chunk))
    assert tokens == list(english.restore_exceptions(english.split_affixes(chunk, known), known))
    assert "".join(tokens) == chunk


@pytest.mark.parametrize("chunk", ["(" * 200_000, "." * 200_000, "a." * 50_000, "'s" * 50_000, "!" * 100_000 + "x"])
def test_a_chunk_of_signs_takes_linear_time(chunk: str) -> None:
    assert "".join(english.split_chunk(chunk)) == chunk


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's 3.14, isn't it?", "It's|3.14|,|isn't|it|?"),
        ("foo.bar 1,000 a-b", "foo|.|bar|1,000|a|-|b"),
        ("हिन्दी।", "हिन्दी|।"),
        ("naïve café!", "naïve|café|!"),
        ("我们今天去学校。", "我们|今天|去学|校|。"),
        ("l’été", "l’été"),
        ("ไทย", "ไท|ย"),
    ],
)
def test_unicode_words(text: str, expected: str) -> None:
    assert "|".join(TextView(text, "unicode").words) == expected


@settings(deadline=None)
@given(st.text(), st.sampled_from(sorted(words.SPLITTERS)))
def test_a_lexicon_gives_the_words_of_each_chunk(text: str, splitter: str) -> None:
    view = TextView(text, splitter)
    expected = [word for chunk in text.split() for word in words.SPLITTERS[splitter](chunk)]
    assert view.words == expected
    assert view.word_lengths.tolist() == [len(word) for word in expected]
    assert view.word_hashes.tolist() == [polynomial(word) for word in expected]
    assert view.word_classes.tolist() == [words.classify(word) for word in expected]
    assert view.chunk_counts.sum() == len(expected)
    assert [text[s : s + len(w)] for s, w in zip(view.word_starts, expected, strict=True)] == expected


def polynomial(word: str) -> int:
    value = 0
    for character in word:
        value = (value * words.HASH_BASE + ord(character)) % 2**64
    return value


def test_hashes_of_words_longer_than_a_block_and_of_words_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "BLOCK", 8)
    monkeypatch.setattr(words, "LEXICONS", {})
    view = TextView("abcdefghijklmnopqrstuvwxyz " + "xy" * 4 + " a", "white-space")
    assert view.word_hashes.tolist() == [polynomial(word) for word in view.words]
    powers = view.of_words(view.lexicon.powers)
    assert powers.tolist() == [pow(words.HASH_BASE, len(word), 2**64) for word in view.words]
    joined = view.word_hashes[:1] * powers[1:2] + view.word_hashes[1:2]
    assert int(joined[0]) == polynomial(view.words[0] + view.words[1])


def test_a_full_lexicon_begins_anew_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"one two {n} three{n}, (four{n})" for n in range(50)]
    expected = [TextView(text).words for text in texts]
    monkeypatch.setattr(words, "MAX_CHUNKS", 10)
    monkeypatch.setattr(words, "LEXICONS", {})
    views = [TextView(text) for text in texts]
    assert [view.words for view in views] == expected
    assert len({id(view.lexicon) for view in views}) > 10
    assert [view.words for view in views] == expected  # a view keeps the lexicon its numbers are of


def test_classes_of_words() -> None:
    assert words.classify("the") == words.LETTER | words.STOP_WORDS["the"]
    assert words.classify("The") == words.LETTER
    assert words.classify("3.5") == 0
    assert words.classify("...") == words.SYMBOL | words.PUNCTUATION
    assert words.classify(".") == words.SYMBOL | words.PUNCTUATION | words.SENTENCE_END
    assert words.classify("a1") == words.LETTER
    known = english.tables()
    assert not any(sign.isalpha() for sign in known.symbols | known.sentence_ends)  # else words of letters need a look
    assert not known.symbols & set("0123456789")
