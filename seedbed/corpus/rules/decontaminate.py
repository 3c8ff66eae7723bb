"""Evaluation items in a document: removed with it, cut out of it, or only noted, as the recipe says."""

from seedbed.corpus.decontaminate.index import IndexConfig, fingerprint, open_index
from seedbed.corpus.decontaminate.search import Passage, search
from seedbed.corpus.rules.group import Facts, Group, Rule, Score, Span
from seedbed.corpus.view import TextView
from seedbed.errors import InputError
from seedbed.recipe.curation import CurateConfig, DecontaminateConfig

STEP = "decontaminate"
CUT = "cut"
ANSWER = "+answer"  # ends the kind of a span that reaches into an item's answer


class Decontaminate:
    def __init__(self, section: DecontaminateConfig) -> None:
        self.index = open_index(index_config(section))
        self.cut = section.cut

    def examine(self, view: TextView, facts: Facts) -> tuple[list[float], list[Span]]:
        """Noted spans have the kind SET:LINE, with +answer where they reach into the answer."""
        found = search(view.text, self.index)
        spans = [Span(p.start, p.end, p.item + ANSWER * p.answered) for p in found.passages]
        if self.cut:
            spans = sorted([*spans, *cuts(found.passages)], key=lambda span: span.start)
        return [float(found.hits), float(found.items), float(found.answers), found.share], spans


def cuts(passages: list[Passage]) -> list[Span]:
    """The passages of all items, in order, those that overlap taken together."""
    spans: list[Span] = []
    for passage in sorted(passages, key=lambda p: p.start):
        if spans and passage.start < spans[-1].end:
            spans[-1] = Span(spans[-1].start, max(spans[-1].end, passage.end), CUT, "")
        else:
            spans.append(Span(passage.start, passage.end, CUT, ""))
    return spans


def index_config(section: DecontaminateConfig) -> IndexConfig:
    if not section.sets:
        raise InputError(
            "curate.decontaminate.sets: no evaluation sets: name their files or folders, or leave decontaminate out of "
            "curate.steps"
        )
    return IndexConfig(section.sets, section.ngram, section.short_words, section.max_items, section.ignore)


def start(section: DecontaminateConfig, config: CurateConfig) -> Decontaminate:
    return Decontaminate(section)


DECONTAMINATE = Group(
    name=STEP,
    version=1,
    scores=(
        Score("hits", "number of places where an evaluation item's n-gram stands"),
        Score("items", "number of evaluation items found"),
        Score("answers", "number of evaluation items found with words of their answers"),
        Score("share", "share of words that stand in evaluation items"),
    ),
    rules=(
        Rule("max_hits", "hits", "at most"),
        Rule("max_answers", "answers", "at most"),
        Rule("max_share", "share", "at most"),
    ),
    start=start,
    reads=lambda section: fingerprint(index_config(section)),
)
