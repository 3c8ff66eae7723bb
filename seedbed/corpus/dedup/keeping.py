"""Which of several equal documents stays: an order over all documents, from columns that scoring has stored."""

from collections.abc import Mapping, Sequence

import numpy as np


def keep_ranks(
    policy: str, columns: Mapping[str, np.ndarray], preferred: Sequence[str] = (), known: np.ndarray | None = None
) -> np.ndarray:
    """int64 rank of each document, the one to keep lowest; where the policy sees no difference, the earlier number.

    Policies and the column that each reads: `first` none, `longest` `num_bytes`, `oldest` `date` (ISO 8601; undated ones last),
    `best score` `score` (the highest; NaN last), `source` `source` (by place in `preferred`, others last, then the longest).
    `known` bool: documents of earlier runs, which come before all others.
    """
    count = len(next(iter(columns.values())))
    keys: list[np.ndarray] = {
        "first": lambda: [],
        "longest": lambda: [-columns["num_bytes"]],
        "oldest": lambda: [columns["date"] == "", order_of(columns["date"])],
        "best score": lambda: [np.where(np.isnan(columns["score"]), np.inf, -columns["score"])],
        "source": lambda: [place_in(columns["source"], preferred), -columns["num_bytes"]],
    }[policy]()
    if known is not None:
        keys = [~known, *keys]
    order = np.lexsort([np.arange(count), *reversed(keys)])  # the last key counts most
    ranks = np.empty(count, np.int64)
    ranks[order] = np.arange(count)
    return ranks


def order_of(labels: np.ndarray) -> np.ndarray:
    """Place of each label in the sorted labels."""
    return np.unique(labels.astype(str), return_inverse=True)[1].reshape(-1)


def place_in(labels: np.ndarray, preferred: Sequence[str]) -> np.ndarray:
    """Place of each label in `preferred`, its length for those that are not there."""
    known, where = np.unique(labels.astype(str), return_inverse=True)
    places = [preferred.index(label) if label in preferred else len(preferred) for label in known.tolist()]
    return np.array(places, np.int64)[where.reshape(-1)]
