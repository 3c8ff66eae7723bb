"""The chain of a recipe's steps: what they find in one document, each on the text as the steps before have left it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from seedbed.corpus.rules import load_group
from seedbed.corpus.rules.group import Check, Facts, Group, Rule, Span, threshold_of
from seedbed.corpus.view import TextView
from seedbed.corpus.words import splitter_version
from seedbed.recipe.curation import CurateConfig

SCORE_PREFIX = "score."


@dataclass
class Examined:
    """`text` is what the edits left; `scores` in the chain's order, None where a step is not meant for the document."""

    text: str
    scores: list[float | str | None]
    spans: list[tuple[str, Span]]  # with the step, in order


class Chain:
    """The steps of a `curate` section, loaded and ready. Making one may take a second: models are read."""

    def __init__(self, config: CurateConfig) -> None:
        self.config = config
        self.groups = chain_groups(config)
        self.workers = [group.start(group.section(config), config) for group in self.groups]

    def examine(self, text: str, facts: Facts) -> Examined:
        """Every step's scores and spans, whatever an earlier score says."""
        view = TextView(text, self.config.words)
        scores: list[float | str | None] = []
        spans: list[tuple[str, Span]] = []
        for group, worker in zip(self.groups, self.workers, strict=True):
            if not group.suits(facts["domain"]):
                scores += [None] * len(group.scores)
                continue
            found, marked = worker.examine(view, facts)
            scores += found
            if marked:
                spans += [(group.name, span) for span in marked]
                edited = apply_spans(view.text, marked)
                if edited != view.text:
                    cuts_only = all(span.replacement in ("", None) for span in marked)
                    cuts = [(span.start, span.end) for span in marked if span.replacement == ""] if cuts_only else []
                    view = view.without(cuts, edited)
        return Examined(view.text, scores, spans)


def chain_groups(config: CurateConfig) -> list[Group]:
    return [load_group(name) for name in config.steps]


def score_columns(config: CurateConfig) -> list[tuple[str, str]]:
    """(column, "number" or "label") of every score of the chain, in order."""
    return [(column(g, score.name), score.kind) for g in chain_groups(config) for score in g.scores]


def column(group: Group, score: str) -> str:
    return f"{SCORE_PREFIX}{group.name}.{score}"


@dataclass(frozen=True)
class Judgement:
    """One rule of the chain with its threshold, and the column that holds its score."""

    group: Group
    rule: Rule
    what: str
    threshold: tuple[float, float] | tuple[str, ...] | None

    @property
    def name(self) -> str:
        return f"{self.group.name}.{self.rule.name}"

    @property
    def column(self) -> str:
        return column(self.group, self.rule.score)

    def check(self, score: float | str | None) -> Check:
        return Check(self.group.name, self.rule, self.what, score, self.threshold)


def judgements(config: CurateConfig) -> list[Judgement]:
    """Every rule of every step, in the order they are asked."""
    found = []
    for group in chain_groups(config):
        what = {score.name: score.what for score in group.scores}
        section = group.section(config)
        found += [Judgement(group, rule, what[rule.score], threshold_of(rule, section)) for rule in group.rules]
    return found


def scoring_config(config: CurateConfig) -> dict[str, Any]:
    """The part of a `curate` section that scores depend on: all but the thresholds, the versions of the steps,
    and the files that they read. Raises InputError where one of these is missing."""
    parts: dict[str, Any] = {
        "steps": list(config.steps),
        "words": splitter_version(config.words),
        "unicode_form": config.unicode_form,
    }
    for group in chain_groups(config):
        thresholds = {rule.name for rule in group.rules}
        section = group.section(config)
        fields = {k: v for k, v in section.model_dump(mode="json").items() if k not in thresholds}
        parts[group.name] = [group.version, fields, group.reads(section)]
    return parts


def apply_spans(text: str, spans: Sequence[Span]) -> str:
    """`text` with the spans that have a replacement replaced; spans are in order and do not overlap."""
    pieces, at = [], 0
    for span in spans:
        if span.replacement is not None:
            assert span.start >= at, f"spans overlap at {span.start}"
            pieces += [text[at : span.start], span.replacement]
            at = span.end
    return "".join([*pieces, text[at:]]) if pieces else text


def apply_steps(text: str, spans: Iterable[tuple[str, Span]]) -> str:
    """`text` with the edits of every step, each step's on what the step before left."""
    step, waiting = "", []  # type: str, list[Span]
    for name, span in spans:
        if name != step:
            text, step, waiting = apply_spans(text, waiting), name, []
        waiting.append(span)
    return apply_spans(text, waiting)
