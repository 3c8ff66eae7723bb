"""A rule's threshold: how its score is spread, what another value would decide, and the documents nearest to it."""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus.chain import Judgement, judgements
from seedbed.corpus.decide import KEPT
from seedbed.corpus.inspect import At
from seedbed.corpus.redecide import Redecider, setting_text, with_settings
from seedbed.corpus.rules.group import numeric
from seedbed.errors import InputError

BINS = 60
EDGE = 0.005  # share of documents at either end that share the outermost bins
SKEWED = 30.0  # the upper end over the median: from there on bins grow in proportion
LABELS = 30


class Thresholds:
    """Answers about thresholds; loads the run's scores when first asked, and answers one question at a time."""

    def __init__(self, decider: Redecider) -> None:
        self.decider = decider
        self._lock = Lock()

    def rules(self) -> list[dict[str, Any]]:
        """Every rule of the recipe with its threshold."""
        return [
            {
                "name": rule.name,
                "what": rule.what,
                "score": rule.column,
                "side": rule.rule.side,
                "threshold": None if rule.threshold is None else setting_text(self.value(rule)),
                "values": numbers(rule),
            }
            for rule in self.decider.ledger.rules
        ]

    def value(self, rule: Judgement) -> Any:
        return getattr(rule.group.section(self.decider.recipe.curate), rule.rule.name)

    def rule(self, name: str) -> tuple[int, Judgement]:
        for number, rule in enumerate(self.decider.ledger.rules):
            if rule.name == name:
                return number, rule
        raise InputError(f"rule: this run has no {name!r}")

    def histogram(self, name: str) -> dict[str, Any]:
        """Documents by score: kept, removed by this rule first, and others; a label's most frequent values."""
        number, rule = self.rule(name)
        with self._lock:
            column = self.decider.hold(frozenset([number]))[1].column(rule.column)
        before = self.decider.before
        groups = np.where(before.verdict == KEPT, 0, np.where(before.cause == number, 1, 2))
        if rule.rule.side in ("one of", "none of"):
            encoded = column.combine_chunks().fill_null("").dictionary_encode()
            codes, labels = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
            counts = np.stack([np.bincount(codes[groups == g], minlength=len(labels)) for g in range(3)], axis=1)
            order = np.argsort(-counts.sum(axis=1))[:LABELS]
            return {"labels": [labels[at] or "(none)" for at in order], "counts": counts[order].tolist()}
        values = column.fill_null(float("nan")).to_numpy()
        known = np.isfinite(values)
        edges = bin_edges(values[known], numbers(rule))
        clipped = np.clip(values, edges[0], edges[-1])
        counts = np.stack([np.histogram(clipped[known & (groups == g)], edges)[0] for g in range(3)], axis=1)
        return {"edges": edges.tolist(), "counts": counts.tolist(), "without": int((~known).sum())}

    def redecide(self, settings: list[str]) -> dict[str, Any]:
        with self._lock:
            found = self.decider.ask(settings) if settings else None
        verdicts = found.verdicts() if found else {}
        return {
            "documents": len(self.decider.ledger),
            "cuts": self.decider.cuts,  # which are not counted here: finding them reads every text
            "kept": verdicts.get("kept", (int((self.decider.before.verdict == KEPT).sum()),) * 2),
            "verdicts": verdicts,
            "kept_bytes": found.kept_bytes() if found else [],
            "gained": len(found.gained()) if found else 0,
            "lost": len(found.lost()) if found else 0,
            "rules": {k: v for k, v in found.rules().items() if v[0] != v[1]} if found else {},
        }

    def near(self, name: str, settings: list[str], count: int) -> dict[str, list[tuple[At, float]]]:
        """The documents nearest to the threshold among those that every other rule lets pass: {"kept", "removed"}."""
        number, rule = self.rule(name)
        if rule.rule.side in ("one of", "none of"):
            return {"kept": [], "removed": []}
        with self._lock:
            changed = self.threshold_with(name, settings)
            others, table = self.decider.hold(frozenset([number]))
        bounds = numeric(changed.threshold) if changed.threshold else (-np.inf, np.inf)
        values = table.column(rule.column).fill_null(float("nan")).to_numpy()
        asked = (
            (others < 0) & (self.decider.ledger.num_bytes > 0) & (self.decider.ledger.named == 0) & np.isfinite(values)
        )
        margin = np.where(asked, np.minimum(values - bounds[0], bounds[1] - values), np.nan)
        return {
            "kept": self.nearest(margin, margin >= 0, values, count),
            "removed": self.nearest(-margin, margin < 0, values, count),
        }

    def threshold_with(self, name: str, settings: list[str]) -> Judgement:
        own = [setting for setting in settings if setting.partition("=")[0] == name]
        recipe = with_settings(self.decider.recipe, own) if own else self.decider.recipe
        return next(rule for rule in judgements(recipe.curate) if rule.name == name)

    def nearest(
        self, distance: NDArray[np.float64], side: NDArray[np.bool_], values: NDArray[np.float64], count: int
    ) -> list[tuple[At, float]]:
        rows = np.flatnonzero(side)
        if len(rows) > count:
            rows = rows[np.argpartition(distance[rows], count)[:count]]
        rows = rows[np.argsort(distance[rows], kind="stable")]
        return [(self.at(row), float(values[row])) for row in rows.tolist()]

    def at(self, document: int) -> At:
        shard = int(np.searchsorted(self.decider.ledger.starts, document, "right")) - 1
        return At(shard, document - int(self.decider.ledger.starts[shard]))


def numbers(rule: Judgement) -> list[float | None]:
    """The bounds of a number's threshold: [low, high], None where there is none."""
    if rule.threshold is None or rule.rule.side in ("one of", "none of"):
        return [None, None]
    return [bound if np.isfinite(bound) else None for bound in numeric(rule.threshold)]


def bin_edges(values: NDArray[np.float64], thresholds: list[float | None]) -> NDArray[np.float64]:
    """Edges from the score's low end to its high end, which hold the thresholds too; in proportion where it is skewed."""
    if not len(values):
        return np.linspace(0, 1, BINS + 1)
    low, middle, high = np.quantile(values, [EDGE, 0.5, 1 - EDGE])
    known = [bound for bound in thresholds if bound is not None]
    low, high = min(low, *known, high), max(high, *known, low)
    high = high if high > low else low + 1
    if low >= 0 and middle > 0 and high > SKEWED * middle:
        return np.expm1(np.linspace(np.log1p(low / middle), np.log1p(high / middle), BINS + 1)) * middle
    return np.linspace(low, high, BINS + 1)
