"""Which documents are merged, and into which: pure functions of edges, ranks and who is alive.

A document is merged only into a kept one that it has a verified edge with. Similarity is not transitive: of a chain of
documents, each like the next, enough stay that every other is like one of them. So no connected component can wipe out a source,
as joining whole components has done (marin issue 6854: 859,092 documents to 2). Components are counted all the same, and those
over a limit are reported and held to a higher similarity: few honest texts have thousands of near copies.
"""

from dataclasses import dataclass

import numpy as np

NONE = -1  # merged into nothing
TIGHTER = 0.05  # by which the similarity asked for rises in a component that is too large


@dataclass(frozen=True)
class Giant:
    """A connected component over the limit: its documents (copies counted once), how many stay, what its edges had to reach."""

    member: int  # the lowest number in it
    documents: int
    kept: int
    min_jaccard: float


@dataclass(frozen=True)
class Merges:
    """`into` int64: the kept document that each is merged into, or NONE. `similarity` to it: 1 for a copy, NaN where NONE.

    `sizes`: documents of every component of two and more, copies counted once, the largest first.
    """

    into: np.ndarray
    similarity: np.ndarray
    sizes: np.ndarray
    giants: list[Giant]


def merge_documents(
    first_copy: np.ndarray,
    edges: np.ndarray,
    similarities: np.ndarray,
    alive: np.ndarray,
    ranks: np.ndarray,
    min_jaccard: float,
    max_cluster: int | None = None,
) -> Merges:
    """Copies and near-duplicates among the documents that are alive; the best ranked are kept.

    `first_copy` int64: the first document of equal text (`exact.py`); `edges` int64 [edges, 2] between first copies and
    their Jaccard `similarities`; `alive` bool; `ranks` int64, each different, the best lowest.
    """
    documents = np.flatnonzero(alive)
    documents = documents[np.argsort(-ranks[documents])]  # the best last: it is what stays written
    best = np.full(len(alive), NONE, np.int64)
    best[first_copy[documents]] = documents

    ends = best[edges]
    used = (similarities >= min_jaccard) & np.all(ends != NONE, axis=1)
    ends, similarities = ends[used], similarities[used]
    asked, sizes, giants = limit_components(ends, similarities, min_jaccard, max_cluster)
    used = similarities >= asked
    near, similarity = merge_near(ends[used], similarities[used], ranks)

    chosen = best[first_copy[documents]]
    target = np.where(near[chosen] == NONE, chosen, near[chosen])
    merged = target != documents
    into, close = np.full(len(alive), NONE, np.int64), np.full(len(alive), np.nan)
    into[documents[merged]] = target[merged]
    close[documents[merged]] = np.where(near[chosen] == NONE, 1.0, similarity[chosen])[merged]
    return Merges(
        into, close, sizes, [Giant(int(m[0]), len(m), int(np.sum(into[m] == NONE)), asked) for m, asked in giants]
    )


def limit_components(
    edges: np.ndarray, similarities: np.ndarray, min_jaccard: float, max_cluster: int | None
) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, float]]]:
    """(what each edge has to reach, sizes of components, for those over the limit their documents and what was asked in the end).

    In a component of more than `max_cluster` documents the edges have to reach TIGHTER more, again and again until no part of it
    is larger, or only equal sets of shingles hold it together.
    """
    nodes, local = np.unique(edges, return_inverse=True)
    local = local.reshape(-1, 2)
    asked = np.full(len(edges), min_jaccard)
    labels = component_labels(local, len(nodes))
    sizes = np.bincount(labels)
    giants = np.flatnonzero(sizes > (max_cluster or len(nodes)))
    parts = labels
    while len(giants):
        large = np.bincount(parts)[parts] > (max_cluster or len(nodes))
        rising = large[local[:, 0]] & (similarities >= asked) & (asked < 1)
        if not rising.any():
            break
        asked[rising] = np.minimum(1, asked[rising] + TIGHTER)
        parts = component_labels(local[similarities >= asked], len(nodes))
    of_giants = [
        (nodes[labels == giant], float(asked[labels[local[:, 0]] == giant].max(initial=min_jaccard)))
        for giant in giants
    ]
    return asked, -np.sort(-sizes), of_giants


def component_labels(edges: np.ndarray, num_nodes: int) -> np.ndarray:
    """int32 [nodes]: the number of each node's connected component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(num_nodes, num_nodes))
    return np.asarray(connected_components(graph, directed=False)[1]) if num_nodes else np.empty(0, np.int32)


def merge_near(edges: np.ndarray, similarities: np.ndarray, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(int64 into, float64 similarity) of every document: greedily, the best ranked that is not merged is kept, and what it has
    an edge with is merged into it.
    """
    into, similarity = np.full(len(ranks), NONE, np.int64), np.full(len(ranks), np.nan)
    better = np.where((ranks[edges[:, 0]] < ranks[edges[:, 1]])[:, None], edges, edges[:, ::-1])
    order = np.lexsort((ranks[better[:, 1]], ranks[better[:, 0]]))
    merged: dict[int, int] = {}
    for number, (kept, other) in zip(order.tolist(), better[order].tolist(), strict=True):
        if kept not in merged and other not in merged:  # what comes before `kept` has been decided by now
            merged[other] = number
    if merged:
        documents, numbers = np.array(list(merged)), np.array(list(merged.values()))
        into[documents], similarity[documents] = better[numbers, 0], similarities[numbers]
    return into, similarity
