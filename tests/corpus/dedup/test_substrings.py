"""Repeated substrings are those that a plain comparison of all windows finds, and one occurrence of each stays."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.dedup import substrings
from seedbed.corpus.dedup.substrings import (
    cut_words,
    find_repeats,
    hash_windows,
    make_filter,
    spans_of,
    split_words,
    window_hashes,
    word_matches,
)


def cut(texts, min_words, folder, shards=1, parts=1):
    """Document -> runs of words to cut, by the shard functions."""
    folder.mkdir(exist_ok=True)
    bounds = [len(texts) * n // shards for n in range(shards + 1)]
    counts = []
    for shard, (start, end) in enumerate(itertools.pairwise(bounds)):
        documents = ((row, texts[start + row]) for row in range(end - start))
        counts.append(hash_windows(documents, shard, folder, min_words)["words"])
    starts = [sum(counts[:n]) for n in range(shards)]
    for part in range(parts):
        find_repeats({"part": part, "parts": parts, "starts": starts}, folder)
    return {
        bounds[shard] + row: runs
        for shard in range(shards)
        for row, runs in cut_words(folder, shard, parts, starts[shard], min_words).items()
    }


def cut_against(known, texts, min_words, folder, parts=1):
    """The same where `known` are of an earlier run: they come first, and of their windows a filter lets through what it must."""
    folder.mkdir(exist_ok=True)
    own = hash_windows(enumerate(texts), 0, folder, min_words)
    make_filter(folder, 1)
    before = hash_windows(enumerate(known), 1, folder, min_words, filtered=True)
    for part in range(parts):
        find_repeats({"part": part, "parts": parts, "starts": [before["words"], 0]}, folder)
    return cut_words(folder, 0, parts, before["words"], min_words), own, before


def plain_cut(texts, min_words):
    """The same by comparing all windows: of each, the first occurrence stays whole."""
    first, needed, repeated = {}, set(), set()
    for number, text in enumerate(texts):
        words = text.split()
        for at in range(len(words) - min_words + 1):
            window = tuple(words[at : at + min_words])
            places = {(number, place) for place in range(at, at + min_words)}
            if window in first:
                repeated |= places
                needed |= first[window]
            else:
                first[window] = places
    runs = {}
    for number, group in itertools.groupby(sorted(repeated - needed), key=lambda place: place[0]):
        for _, run in itertools.groupby(enumerate(group), key=lambda item: item[1][1] - item[0]):
            places = [place for _, (_, place) in run]
            runs.setdefault(number, []).append((places[0], places[-1] + 1))
    return runs


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.text(alphabet="ab ", max_size=40), min_size=1, max_size=6),
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_the_words_cut_are_those_of_comparing_everything(tmp_path_factory, texts, min_words, shards, parts):
    folder = tmp_path_factory.mktemp("substrings")
    assert cut(texts, min_words, folder, shards, parts) == plain_cut(texts, min_words)


def test_windows_whose_first_64_bits_collide_are_told_apart_by_the_others(tmp_path, monkeypatch):
    calls = itertools.count()

    def weak(words, width):
        hashes = window_hashes(words, width)
        return hashes & np.uint64(3 << 62) if next(calls) % 2 == 0 else hashes

    monkeypatch.setattr(substrings, "window_hashes", weak)
    rng = random.Random(9)
    texts = [" ".join(rng.choices("abc", k=rng.randrange(12))) for _ in range(60)]
    assert cut(texts, 3, tmp_path, 3, 2) == plain_cut(texts, 3)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.text(alphabet="ab ", max_size=40), max_size=4),
    st.lists(st.text(alphabet="ab ", max_size=40), min_size=1, max_size=4),
    st.integers(1, 7),
    st.integers(1, 3),
)
def test_what_an_earlier_run_kept_comes_first(tmp_path_factory, known, texts, min_words, parts):
    runs, _, _ = cut_against(known, texts, min_words, tmp_path_factory.mktemp("against"), parts)
    whole = plain_cut(known + texts, min_words)
    assert runs == {number - len(known): found for number, found in whole.items() if number >= len(known)}


def test_of_an_earlier_run_only_windows_that_may_be_here_too_are_stored(tmp_path):
    rng = random.Random(3)
    known = [" ".join(f"{rng.randrange(10**6)}" for _ in range(5000)) for _ in range(20)]
    texts = [" ".join(known[n].split()[200:300]) + f" end {n}" for n in range(20)]
    runs, own, before = cut_against(known, texts, 50, tmp_path)
    assert runs == {n: [(0, 100)] for n in range(20)}
    assert own["windows"] <= before["windows"] < own["windows"] + 20 * 5000 / 8


def test_batches_change_nothing(tmp_path, monkeypatch):
    rng = random.Random(5)
    passages = [" ".join(rng.choices(["red", "green", "blue", "black"], k=60)) for _ in range(8)]
    texts = [" ".join(rng.choices(passages, k=rng.randrange(4))) for _ in range(40)]
    whole = cut(texts, 50, tmp_path / "whole")
    monkeypatch.setattr(substrings, "BATCH_WORDS", 100)
    monkeypatch.setattr(substrings, "REMEMBERED_WORDS", 2)
    assert cut(texts, 50, tmp_path / "batches", 3, 5) == whole == plain_cut(texts, 50)
    assert whole


@given(st.lists(st.integers(0, 2), max_size=30), st.integers(1, 12))
def test_windows_have_equal_hashes_exactly_when_their_words_are_equal(words, width):
    hashes = window_hashes(np.array(words, np.uint64), width).tolist()
    windows = [tuple(words[at : at + width]) for at in range(len(words) - width + 1)]
    assert len(hashes) == len(windows)
    assert len(set(zip(windows, hashes, strict=True))) == len(set(windows)) == len(set(hashes))


def test_a_quotation_stays_where_it_comes_first_and_white_space_does_not_hide_it(tmp_path):
    quote = " ".join(f"word{n}" for n in range(50))
    texts = [f"Before.\n\n{quote}\n\nAfter.", f"Other text:\n  {quote.replace(' ', chr(10))}\n\nMore of it.", quote]
    runs = cut(texts, 50, tmp_path)
    assert runs == {1: [(2, 52)], 2: [(0, 50)]}
    left = [text if n not in runs else remove(text, spans_of(text, runs[n])) for n, text in enumerate(texts)]
    assert left == [texts[0], "Other text:\n  More of it.", ""]


def remove(text, spans):
    for span in reversed(spans):
        text = text[: span.start] + text[span.end :]
    return text


@given(st.text(alphabet="ab\n 中文", max_size=30), st.data())
def test_spans_take_the_words_of_a_run_and_no_other(text, data):
    words = split_words(text)
    assert [match.group() for match in word_matches(text)] == words
    marks = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    runs, at = [], 0
    for marked, group in itertools.groupby(marks):
        length = len(list(group))
        runs += [(at, at + length)] * marked
        at += length
    kept = [word for word, marked in zip(words, marks, strict=True) if not marked]
    assert split_words(remove(text, spans_of(text, runs))) == kept or any(word >= "中" for word in words)
    assert "".join(split_words(remove(text, spans_of(text, runs)))) == "".join(kept)


@pytest.mark.parametrize("texts", [[], [""], ["one two"]])
def test_nothing_to_find(tmp_path, texts):
    assert cut(texts, 50, tmp_path) == {}
