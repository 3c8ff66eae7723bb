"""Words by each splitter: reference tokens, and arrays that say the same as a walk along the characters."""

import random
import unicodedata

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


def plain_words(text: str, splitter: str) -> list[str]:
    """The splitters in plain Python, chunk by chunk."""
    split = {"white-space": lambda chunk: [chunk], "unicode": walk, "datatrove": english.split_chunk}[splitter]
    return [word for chunk in text.split() for word in split(chunk)]


def walk(chunk: str) -> list[str]:
    found: list[str] = []
    inside = False  # the last word is one of letters, digits and marks
    for place, sign in enumerate(chunk):
        following = chunk[place + 1 : place + 2]
        if is_paired(sign):
            if found and len(found[-1]) == 1 and is_paired(found[-1]):
                found[-1] += sign
            else:
                found.append(sign)
            inside = False
            continue
        joins = (sign in "'\u2019" and is_part(following) and following.isalpha()) or (
            sign in ".," and following.isdecimal() and is_part(following) and chunk[place - 1].isdecimal()
        )
        if inside and (is_part(sign) or joins):
            found[-1] += sign
        else:
            found.append(sign)
            inside = is_part(sign)
    return found


def is_paired(sign: str) -> bool:
    return words.UNSPACED.match(sign) is not None


def is_part(sign: str) -> bool:
    return (
        sign != "" and not is_paired(sign) and (sign.isalnum() or sign == "_" or unicodedata.category(sign)[0] == "M")
    )


def plain_bits(word: str) -> int:
    bits = 0
    for sign in word:
        bits |= words.KNOWN | words.character_bits(sign)
    return bits


TEXTS = st.one_of(st.text(), st.lists(st.sampled_from([*SIGNS, " ", "\n", "'", "\u2019", "3", "ก", "_"])).map("".join))


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.sampled_from(sorted(words.SPLITTERS)))
def test_words_are_those_of_the_plain_splitter(text: str, splitter: str) -> None:
    view = TextView(text, splitter)
    expected = plain_words(text, splitter)
    assert view.words == expected
    assert view.word_lengths.tolist() == [len(word) for word in expected]
    assert view.word_hashes.tolist() == [polynomial(word) for word in expected]
    assert view.word_powers.tolist() == [pow(words.HASH_BASE, len(word), 2**64) for word in expected]
    assert [bits & ~words.SPACE for bits in view.word_bits.tolist()] == [plain_bits(word) for word in expected]
    starts = view.word_starts.tolist()
    assert [text[s : s + len(w)] for s, w in zip(starts, expected, strict=True)] == expected


@pytest.mark.parametrize("front", ["", "(", '"', "["])
@pytest.mark.parametrize("back", ["", ".", ",", ")", "!", ".)"])
def test_exceptions_with_signs_around_them_are_the_plain_splitters(front: str, back: str) -> None:
    text = " ".join(f"{front}{chunk}{back}" for chunk in english.tables().exceptions if not chunk.isspace())
    assert TextView(text, "datatrove").words == plain_words(text, "datatrove")


def polynomial(word: str) -> int:
    value = 0
    for character in word:
        value = (value * words.HASH_BASE + ord(character)) % 2**64
    return value


def test_hashes_across_blocks_and_of_words_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "BLOCK", 8)
    draw = random.Random(1)
    text = " ".join("xyz"[: draw.randint(1, 3)] * draw.choice([1, 1, 1, 9]) for _ in range(60))
    view = TextView(f"abcdefghijklmnopqrstuvwxyz {text}", "white-space")
    assert view.word_hashes.tolist() == [polynomial(word) for word in view.words]
    joined = view.word_hashes[:1] * view.word_powers[1:2] + view.word_hashes[1:2]
    assert int(joined[0]) == polynomial(view.words[0] + view.words[1])


def test_chunks_remembered_before_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"one-{n} two {n}/x don't three{n}, (four{n})" for n in range(50)]
    expected = [plain_words(text, "datatrove") for text in texts]
    monkeypatch.setattr(words, "MAX_CHUNKS", 10)
    for _ in range(2):
        assert [TextView(text, "datatrove").words for text in texts] == expected
        assert len(words.INNER) < 20


def test_bits_of_words() -> None:
    view = TextView("the 3.5 ... . a1 日本", "white-space")
    asked = words.LETTER | words.COUNTED | words.SPOKEN | words.SENTENCE_END
    word = words.LETTER | words.COUNTED | words.SPOKEN
    signs = words.SENTENCE_END
    assert (view.word_bits & asked).tolist() == [word, word & ~words.LETTER | signs, signs, signs, word, word]
    known = english.tables()
    assert all(len(sign) == 1 for sign in known.sentence_ends)
