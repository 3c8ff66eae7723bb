"""How a classifier does on documents it was not trained on: precision and recall at a threshold, and by kept share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

KEPT_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
MAX_QUANTILES = 1001


def threshold_for(pool: np.ndarray, share: float) -> float:
    """The score of the last document kept when `share` of the pool stays, best first. `pool`: float [N], N > 0.

    Equal scores stay together, so a little more than `share` may be kept.
    """
    ranked = np.sort(pool)[::-1]
    return float(ranked[max(1, round(share * len(ranked))) - 1])


def at_threshold(good: np.ndarray, bad: np.ndarray, pool: np.ndarray, threshold: float) -> dict[str, float]:
    """Precision and recall for the good documents, and the shares of bad ones and of the pool that stay."""
    true, false = int((good >= threshold).sum()), int((bad >= threshold).sum())
    return {
        "threshold": threshold,
        "kept_share": float((pool >= threshold).mean()),
        "precision": true / (true + false) if true + false else 0.0,
        "recall": true / len(good),
        "bad_kept": false / len(bad),
    }


def by_kept_share(
    good: np.ndarray, bad: np.ndarray, pool: np.ndarray, shares: Sequence[float]
) -> list[dict[str, float]]:
    """One row of at_threshold a share, with the share asked for as `keep_share`."""
    return [{"keep_share": share, **at_threshold(good, bad, pool, threshold_for(pool, share))} for share in shares]


def area_under_curve(good: np.ndarray, bad: np.ndarray) -> float:
    """The probability that a good document scores above a bad one, equal scores counting half (Mann and Whitney 1947)."""
    ranked = np.sort(bad)
    below = np.searchsorted(ranked, good, "left") + np.searchsorted(ranked, good, "right")
    return float(below.mean() / (2 * len(bad)))


def quantiles(pool: np.ndarray) -> list[float]:
    """The pool's scores in ascending order, at most MAX_QUANTILES of them at equal distances."""
    ranked = np.sort(pool)
    if len(ranked) > MAX_QUANTILES:
        ranked = ranked[np.linspace(0, len(ranked) - 1, MAX_QUANTILES).round().astype(np.int64)]
    return [float(score) for score in ranked]


def share_above(ranked: np.ndarray, score: float) -> float:
    """The share of the pool, known by its quantiles, that scores higher: below 0.1 is the best tenth."""
    return float(1 - np.searchsorted(ranked, score, "right") / len(ranked))


def table(card: dict[str, Any]) -> str:
    """The held-out figures of a card, for a person."""
    held = card["held_out"]
    lines = [
        f"held out: {held['good']:,} good and {held['bad']:,} bad documents; a good one scores above a bad one in"
        f" {held['auc']:.1%} of pairs",
        "",
        "  keep share   threshold    kept   precision   recall   bad kept",
    ]
    rows = {row["keep_share"]: row for row in held["by_kept_share"]}
    chosen = card["chosen"]["keep_share"]
    rows[chosen] = card["chosen"]
    for share, row in sorted(rows.items()):
        lines.append(
            f"  {share:>10.1%}   {row['threshold']:>9.4f}   {row['kept_share']:>5.1%}   {row['precision']:>9.1%}"
            f"   {row['recall']:>6.1%}   {row['bad_kept']:>8.1%}{'  <- chosen' if share == chosen else ''}"
        )
    return "\n".join(lines)
