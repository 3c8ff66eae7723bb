"""Exact duplicates: documents whose texts have the same digest."""

import numpy as np


def first_copies(digests: np.ndarray, usable: np.ndarray, first_known: int) -> np.ndarray:
    """int64: for each usable document the first with its digest; for others themselves. `digests`: u64 [documents, 2].

    Documents from `first_known` on are of earlier runs and come before the others.
    """
    first = np.arange(len(digests))
    order = np.roll(first, -first_known)
    order = order[usable[order]]
    chosen = digests[order]
    by_digest = np.lexsort((chosen[:, 1], chosen[:, 0]))  # stable: copies stay in their order
    if len(order):
        new = np.append(True, np.any(chosen[by_digest][1:] != chosen[by_digest][:-1], axis=1))
        first[order[by_digest]] = order[by_digest[new]][np.cumsum(new) - 1]
    return first
