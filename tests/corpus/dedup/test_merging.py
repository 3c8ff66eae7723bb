"""Merges: only into kept documents that are like enough, and no chain wipes out a source."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.corpus.dedup.clusters import NONE, merge_documents
from seedbed.corpus.dedup.exact import first_copies
from seedbed.corpus.dedup.keeping import keep_ranks
from seedbed.corpus.dedup.signature import MinHasher, jaccard


def merge(count, edges, *, alive=None, ranks=None, first_copy=None, min_jaccard=0.7, max_cluster=None):
    return merge_documents(
        np.arange(count) if first_copy is None else np.array(first_copy),
        np.array([[a, b] for a, b, _ in edges], np.int64).reshape(-1, 2),
        np.array([similarity for *_, similarity in edges], float),
        np.ones(count, bool) if alive is None else np.array(alive),
        np.arange(count) if ranks is None else np.array(ranks),
        min_jaccard,
        max_cluster,
    )


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    first_copy = [draw(st.sampled_from(sorted({n, *draw(st.just(range(n)))}))) for n in range(count)]
    first_copy = [first_copy[first] if first_copy[first] == first else n for n, first in enumerate(first_copy)]
    firsts = sorted(set(first_copy))
    pairs = [(a, b) for a in firsts for b in firsts if a < b]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    similarities = draw(st.lists(st.floats(0.5, 1), min_size=len(edges), max_size=len(edges)))
    alive = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    ranks = draw(st.permutations(range(count)))
    edges = [(a, b, s) for (a, b), s in zip(edges, similarities, strict=True)]
    return count, edges, {"first_copy": first_copy, "alive": alive, "ranks": ranks}


@settings(deadline=None, max_examples=300)
@given(graphs())
def test_whatever_the_graph(graph):
    count, edges, options = graph
    merges = merge(count, edges, **options)
    similar = {frozenset((a, b)): s for a, b, s in edges if s >= 0.7}
    first, alive, ranks = options["first_copy"], options["alive"], options["ranks"]

    def similarity(a, b):
        return 1.0 if first[a] == first[b] else similar.get(frozenset((first[a], first[b])), 0.0)

    kept = [n for n in range(count) if alive[n] and merges.into[n] == NONE]
    for document in range(count):
        target = merges.into[document]
        if target == NONE:
            assert np.isnan(merges.similarity[document])
            continue
        assert alive[document] and target in kept and target != document
        assert merges.similarity[document] == similarity(document, target) >= 0.7
    # what stays is unlike everything else that stays, and the best of each is among it
    assert all(similarity(a, b) == 0 for a in kept for b in kept if a != b)
    if any(alive):
        assert min((n for n in range(count) if alive[n]), key=ranks.__getitem__) in kept


def test_a_chain_of_similar_documents_survives():
    """Marin issue 6854: 859,092 documents, each like the next, became 2. Here half of such a chain stays."""
    words = [f"w{n}" for n in range(3000)]
    texts = [" ".join(words[start : start + 100]) for start in range(0, 2900, 10)]
    hasher = MinHasher()
    shingles = [hasher.shingles(text) for text in texts]
    edges = [(n, n + 1, jaccard(shingles[n], shingles[n + 1])) for n in range(len(texts) - 1)]
    assert all(similarity >= 0.7 for *_, similarity in edges)
    assert jaccard(shingles[0], shingles[-1]) == 0
    merges = merge(len(texts), edges)
    assert merges.sizes.tolist() == [len(texts)]
    assert np.sum(merges.into == NONE) == len(texts) // 2


def test_a_component_over_the_limit_is_held_to_more_and_reported():
    weak = [(n, n + 1, 0.71) for n in range(0, 9, 2)] + [(n, n + 1, 0.93) for n in range(1, 9, 2)]
    apart = [(20, 21, 0.71)]
    merges = merge(22, weak + apart, max_cluster=5)
    (giant,) = merges.giants
    assert (giant.member, giant.documents) == (0, 10)
    assert giant.min_jaccard == pytest.approx(0.75)
    assert giant.kept == 6  # the weak edges no longer hold, the strong ones do
    assert merges.into[21] == 20
    assert not merge(22, weak + apart, max_cluster=10).giants


def test_a_large_cluster_of_equal_shingles_is_reported_and_merged_all_the_same():
    merges = merge(10, [(0, n, 1.0) for n in range(1, 10)], max_cluster=5)
    assert (merges.giants[0].documents, merges.giants[0].kept) == (10, 1)


@given(st.lists(st.sampled_from([b"a" * 16, b"b" * 16, b"a" * 8 + b"b" * 8])))
def test_first_copies_are_those_of_a_dictionary(digests):
    first = {}
    expected = [first.setdefault(digest, number) for number, digest in enumerate(digests)]
    table = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
    assert first_copies(table, np.ones(len(table), bool), len(table)).tolist() == expected


COLUMNS = {
    "num_bytes": np.array([5, 9, 5, 7]),
    "date": np.array(["2020-01-01", "", "2019", "2019"]),
    "score": np.array([0.1, np.nan, 0.9, 0.1]),
    "source": np.array(["web", "web", "books", "wiki"]),
}


@pytest.mark.parametrize(
    ("policy", "order"),
    [
        ("first", [0, 1, 2, 3]),
        ("longest", [1, 3, 0, 2]),
        ("oldest", [2, 3, 0, 1]),
        ("best score", [2, 0, 3, 1]),
        ("source", [3, 2, 1, 0]),
    ],
)
def test_who_stays(policy, order):
    ranks = keep_ranks(policy, COLUMNS, preferred=("wiki", "books"))
    assert np.argsort(ranks).tolist() == order
    known = np.array([False, False, False, True])
    assert np.argsort(keep_ranks(policy, COLUMNS, ("wiki", "books"), known))[0] == 3
