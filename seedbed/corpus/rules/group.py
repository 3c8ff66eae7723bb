"""What a group of rules is: named scores of a document, rules that hold them against thresholds, and edits of its text."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol

from seedbed.corpus.view import TextView
from seedbed.recipe.curation import CurateConfig
from seedbed.recipe.section import Section

Facts = Mapping[str, Any]  # a document's columns besides its text: id, source, url, title, licence, opt_out, date, ...
Side = Literal["at least", "at most", "between", "one of", "none of"]


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the text as it is at this step. `replacement`: None only notes them, "" cuts them."""

    start: int
    end: int
    kind: str
    replacement: str | None = None


@dataclass(frozen=True)
class Score:
    """`what` completes the sentence "the document's ... is 0.31". A label is text, a number is NaN where it has no meaning."""

    name: str
    what: str
    kind: Literal["number", "label"] = "number"


@dataclass(frozen=True)
class Rule:
    """`name` is the field of the group's section in the recipe that holds the threshold; None there switches it off."""

    name: str
    score: str
    side: Side


class Worker(Protocol):
    """A group ready to work: its models loaded and patterns compiled, once a process."""

    def examine(self, view: TextView, facts: Facts) -> tuple[Sequence[float | str], Sequence[Span]]:
        """The scores in the group's order, and spans: those with a replacement edit the text for the steps after."""
        ...


class Explainer(Protocol):
    """A worker that can also say where."""

    def explain(self, view: TextView, facts: Facts, rule: str) -> Sequence[Span]:
        """The spans that made `rule` remove the document."""
        ...


@dataclass(frozen=True)
class Group:
    """Raise `version` when its numbers or edits change: it enters the key of the stage. `edits`: spans may replace text."""

    name: str
    version: int
    scores: tuple[Score, ...]
    rules: tuple[Rule, ...]
    start: Callable[[Any, CurateConfig], Worker]  # from the group's section and the whole `curate` section
    applies: Literal["any", "prose", "code"] = "any"
    reads: Callable[[Any], Any] = lambda section: None  # fingerprint of the files that the section names, as JSON

    def section(self, config: CurateConfig) -> Section:
        section = getattr(config, self.name)
        assert isinstance(section, Section)
        return section

    def suits(self, domain: str) -> bool:
        """Whether its rules are meant for documents of this domain."""
        return self.applies == "any" or (self.applies == "code") == domain.startswith("code:")


@dataclass(frozen=True)
class Check:
    """One rule on one document. `threshold`: None when off, (low, high) of numbers, or the labels."""

    group: str
    rule: Rule
    what: str
    score: float | str | None
    threshold: tuple[float, float] | tuple[str, ...] | None

    @property
    def name(self) -> str:
        return f"{self.group}.{self.rule.name}"

    @property
    def passed(self) -> bool:
        if self.threshold is None or self.score is None or self.score == "" or self.score != self.score:
            return True
        if isinstance(self.score, str):
            return covers(self.threshold, self.score) == (self.rule.side == "one of")
        low, high = numeric(self.threshold)
        return low <= self.score <= high

    @property
    def reason(self) -> str:
        assert self.threshold is not None and self.score is not None
        if isinstance(self.score, str):
            found = "not one of" if self.rule.side == "one of" else "one of"
            shown = ", ".join(str(label) for label in self.threshold[:8])
            return f"{self.what} is {self.score}, {found} {shown} (curate.{self.name})."
        low, high = numeric(self.threshold)
        side, bound = ("below", low) if self.score < low else ("above", high)
        return f"{self.what} is {number_text(self.score)}, {side} {number_text(bound)} (curate.{self.name})."


def covers(globs: Sequence[Any], label: str) -> bool:
    """Whether a glob covers the label, or one of several that ", " separates. Capitals make no difference."""
    return any(fnmatchcase(name.lower(), str(glob).lower()) for name in label.split(", ") for glob in globs)


def numeric(threshold: tuple[Any, ...]) -> tuple[float, float]:
    low, high = threshold
    return float(low), float(high)


def threshold_of(rule: Rule, section: Section) -> tuple[float, float] | tuple[str, ...] | None:
    """The rule's threshold as bounds (infinite where there is none) or labels; None when it is off."""
    value: Any = getattr(section, rule.name)
    if value is None:
        return None
    if rule.side in ("one of", "none of"):
        return tuple(value)
    if rule.side == "between":
        return float(value[0]), float(value[1])
    return (float(value), math.inf) if rule.side == "at least" else (-math.inf, float(value))


def number_text(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) and value == int(value) else f"{value:.3g}"
