"""From band tables to verified edges: the same pairs as comparing every bucket in memory, whatever the shards and parts."""

import itertools
import random
from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.dedup.candidates import LEADERS, LEFT_OUT, bucket_pairs, find_candidates, unique_pairs
from seedbed.corpus.dedup.signature import NO_KEY, MinHasher
from seedbed.corpus.dedup.tables import count_documents, read_keys, write_bands
from seedbed.corpus.dedup.verify import FLOOR, store_shingles, verify_pairs, wanted_rows

NUM_WORDS = 60


def family(rng: random.Random, members: int) -> list[str]:
    """A text and versions of it with a few words changed."""
    words = [f"w{rng.randrange(10**6)}" for _ in range(NUM_WORDS)]
    versions = []
    for _ in range(members):
        version = list(words)
        for _ in range(rng.randrange(4)):
            version[rng.randrange(NUM_WORDS)] = f"x{rng.randrange(10**6)}"
        versions.append(" ".join(version))
    return versions


def corpus(seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    texts = [text for _ in range(60) for text in family(rng, rng.choice([1, 1, 2, 3, 30]))] + ["", "...", "one two"]
    rng.shuffle(texts)
    return texts


def find_edges(texts, shards, parts, folder, ranks=None, first_known=10**9):
    """{(a, b): jaccard} by the shard functions."""
    folder.mkdir()
    hasher = MinHasher()
    bounds = [len(texts) * n // shards for n in range(shards + 1)]
    starts = bounds[:-1]
    for shard, (start, end) in enumerate(itertools.pairwise(bounds)):
        write_bands(folder, shard, np.array([hasher.bands(t) for t in texts[start:end]], np.uint64).reshape(-1, 14))
    np.save(folder / "ranks.npy", np.arange(len(texts)) if ranks is None else ranks)
    task = {"tables": [[str(folder), n] for n in range(shards)], "starts": starts, "parts": parts}
    task |= {"ranks": str(folder / "ranks.npy"), "first_known": first_known}
    for part in range(parts):
        find_candidates(task | {"part": part}, folder)
    for shard, (start, end) in enumerate(itertools.pairwise(bounds)):
        rows = wanted_rows(folder, parts, start, end)
        store_shingles(folder, shard, start, ((row, texts[start + row]) for row in rows.tolist()), hasher)
    edges = {}
    for shard, end in enumerate(bounds[1:]):
        verify_pairs({"shard": shard, "starts": starts, "end": end, "parts": parts, "work": str(folder)}, folder)
        table = pq.read_table(folder / f"edges-{shard:05d}.parquet").to_pylist()
        edges |= {(row["a"], row["b"]): row["jaccard"] for row in table}
    return edges


def plain_edges(texts):
    """The same by plain Python, every bucket and every pair in it."""
    hasher, buckets, edges = MinHasher(), defaultdict(list), {}
    for number, text in enumerate(texts):
        for band, key in enumerate(hasher.bands(text).tolist()):
            if key != NO_KEY:
                buckets[band, key].append(number)
    shingles = [set(hasher.shingles(text).tolist()) for text in texts]
    for members in buckets.values():
        for a, b in itertools.combinations(members, 2):
            similarity = len(shingles[a] & shingles[b]) / len(shingles[a] | shingles[b])
            if similarity >= FLOOR:
                edges[a, b] = similarity
    return edges


@pytest.mark.parametrize(("shards", "parts"), [(1, 1), (4, 3)])
def test_edges_are_those_of_plain_buckets(tmp_path, shards, parts, monkeypatch):
    monkeypatch.setattr("seedbed.corpus.dedup.candidates.bucket_pairs", all_pairs)
    texts = corpus()
    assert find_edges(texts, shards, parts, tmp_path / "run") == pytest.approx(plain_edges(texts))


def all_pairs(keys, documents, ranks, first_known):
    return bucket_pairs(keys, documents, ranks, first_known, leaders=10**6)


def test_shards_and_parts_change_nothing(tmp_path):
    texts = corpus()
    assert find_edges(texts, 1, 1, tmp_path / "one") == find_edges(texts, 5, 4, tmp_path / "many")


def test_a_document_left_out_has_no_edge_and_known_pairs_are_not_looked_at_again(tmp_path):
    texts = corpus()
    edges = plain_edges(texts)
    ranks = np.arange(len(texts))
    ranks[[a for a, _ in edges]] = LEFT_OUT
    assert not find_edges(texts, 2, 1, tmp_path / "left-out", ranks)
    new = find_edges(texts, 2, 1, tmp_path / "new", first_known=100)
    assert new and all(a < 100 for a, _ in new)


@given(st.lists(st.integers(1, 4), max_size=40), st.randoms(use_true_random=False), st.integers(1, 5))
@settings(deadline=None)
def test_a_buckets_leaders_are_paired_with_all_others(keys, rng, leaders):
    ranks = list(range(len(keys)))
    rng.shuffle(ranks)
    pairs, sizes = bucket_pairs(
        np.array(keys, np.uint64), np.arange(len(keys)), np.array(ranks, np.int64), len(keys), leaders
    )
    expected = set()
    for key in set(keys):
        members = sorted((n for n, k in enumerate(keys) if k == key), key=ranks.__getitem__)
        expected |= {tuple(sorted((a, b))) for at, a in enumerate(members[:leaders]) for b in members[at + 1 :]}
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == expected
    assert len(pairs) == len(expected)
    assert sorted(sizes.tolist()) == sorted(keys.count(key) for key in set(keys))


def test_a_crowded_bucket_gives_pairs_in_proportion_to_its_documents():
    pairs, _ = bucket_pairs(np.ones(10_000, np.uint64), np.arange(10_000), np.arange(10_000), 10_000)
    assert len(pairs) < LEADERS * 10_000
    assert set(pairs[:, 1].tolist()) | {0} == set(range(10_000))


def test_pairs_are_in_order_and_once():
    assert unique_pairs([np.array([[3, 1], [1, 2]]), np.array([[1, 3]])]).tolist() == [[1, 2], [1, 3]]
    assert unique_pairs([]).shape == (0, 2)


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), min_size=3, max_size=3), max_size=20))
@settings(deadline=None)
def test_a_band_table_gives_back_the_keys(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("bands")
    table = np.array(keys, np.uint64).reshape(-1, 3)
    write_bands(folder, 7, table)
    assert count_documents(folder, 7) == len(keys)
    assert (read_keys(folder, 7) == table).all()
