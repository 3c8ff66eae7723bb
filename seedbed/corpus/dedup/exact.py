"""Exact duplicates: documents whose texts have the same digest."""

import numpy as np


def first_copies(digests: np.ndarray) -> np.ndarray:
    """int64: for each document the number of the first one with its digest. `digests`: u8 [documents, 16]."""
    halves = np.ascontiguousarray(digests).view("<u8").reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: copies stay in the order of their numbers
    new = np.append(True, np.any(halves[order][1:] != halves[order][:-1], axis=1))[: len(order)]
    first = np.empty(len(order), np.int64)
    first[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1] if len(order) else []
    return first
