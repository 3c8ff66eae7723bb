"""Questions to a finished run: which document is meant, and why it was kept, removed, merged or quarantined."""

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from seedbed.corpus import normalise
from seedbed.corpus.chain import apply_spans, chain_groups, judgements
from seedbed.corpus.decisions import decision_parts, read_batches
from seedbed.corpus.dedup.signature import hasher, jaccard
from seedbed.corpus.differences import Change, changes
from seedbed.corpus.rules.group import Check, Span
from seedbed.corpus.store import UNREADABLE, damaged, document_parts, read_documents, read_table
from seedbed.corpus.view import TextView
from seedbed.errors import InputError
from seedbed.run.folder import RunFolder

FACTS = ("title", "url", "origin", "licence", "opt_out", "date")
SHOWN_IDS = 8
SIMILAR_AMONG = 50_000  # ids compared for a suggestion: difflib takes about a second for as many
EXCERPT_CHARACTERS = 600
CONTEXT_CHARACTERS = 30  # shown on either side of a passage
MERGED_SHOWN = 8
QUARANTINE = -1  # the shard of records that are no documents


@dataclass(frozen=True)
class At:
    """Where a record stands: the number of its shard (QUARANTINE for records that are no documents) and its row there."""

    shard: int
    row: int

    def __str__(self) -> str:
        return f"{self.shard}:{self.row}"


@dataclass(frozen=True)
class Place:
    """A passage that a step marked, cut or replaced in the text as it was then, with what stands around it."""

    step: str
    kind: str
    start: int
    before: str
    text: str
    after: str
    replacement: str | None
    decisive: bool  # it made the rule fire that decided


@dataclass(frozen=True)
class Partner:
    """The document that this one was merged into: Jaccard similarity of their word n-grams, and what differs."""

    id: str
    similarity: float
    changes: list[Change]


@dataclass(frozen=True)
class Explanation:
    """A decision with every rule's check against the recipe's thresholds, the passages concerned and the text's beginning.

    `partner`: what it was merged into, where that is a document of this run; `merged`: ids merged into it, and how many.
    """

    decision: dict[str, Any]
    checks: list[Check]
    facts: dict[str, str]  # FACTS of the document as it was collected
    metadata: dict[str, Any]
    excerpt: str
    places: list[Place]
    partner: Partner | None
    merged: tuple[list[str], int]


def match_id(ids: list[str], wanted: str, elsewhere: Callable[[], list[str]] = list) -> str:
    """The one id that equals, begins with or contains `wanted`, or the one that `elsewhere` finds where none does.

    Raises InputError with the nearest ids when there is none or more than one.
    """
    for find in (
        lambda: [i for i in ids if i == wanted],
        lambda: [i for i in ids if i.startswith(wanted)],
        lambda: [i for i in ids if wanted.lower() in i.lower()],
        elsewhere,
    ):
        matches = find()
        if len(matches) == 1:
            return matches[0]
        if matches:
            shown = ", ".join(matches[:SHOWN_IDS])
            more = f", and {len(matches) - SHOWN_IDS:,} more" if len(matches) > SHOWN_IDS else ""
            raise InputError(f"{wanted!r} fits {len(matches):,} documents: name one of {shown}{more}")
    near = difflib.get_close_matches(wanted, ids[:SIMILAR_AMONG], 3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else f"ids look like {', '.join(ids[:2])}"
    raise InputError(f"no document {wanted!r} among the {len(ids):,} that were read: {hint}")


def ids_by_metadata(collected: Path, wanted: str) -> list[str]:
    """Ids of the documents whose origin, address, title or own fields (id, ...) contain `wanted`."""
    pattern = json.dumps(wanted.lower(), ensure_ascii=False)[1:-1]
    return [
        row["id"]
        for batch in read_documents(collected, ["id", "origin", "url", "title", "metadata"])
        for row in batch.to_pylist()
        if any(wanted.lower() in row[name].lower() for name in ("origin", "url", "title"))
        or pattern in row["metadata"].lower()
    ]


def explain(run: Path, wanted: str) -> Explanation:
    """Everything known of one document of a finished curate stage."""
    inspector = Inspector(run)
    return inspector.explain(inspector.find(wanted))


class Inspector:
    """A run's documents and decisions, by place. Reads what is asked for and holds nothing but a few paths."""

    def __init__(self, run: Path) -> None:
        self.folder = RunFolder.existing(run)
        self.curated, self.collected, self.scored = (self.folder.stage_path(n) for n in ("curate", "collect", "score"))
        self.config = self.folder.recipe().curate
        self.decisions = {shard_of(part): part for part in decision_parts(self.curated)}
        self.documents = dict(enumerate(document_parts(self.collected)))
        for shard in self.documents:
            if shard not in self.decisions:
                raise damaged(self.curated / f"decisions-{shard:05d}.parquet", FileNotFoundError())

    def find(self, wanted: str) -> At:
        """The document whose id, its beginning, a part of it, or a field of its own is `wanted`."""
        if (at := self.locate(wanted)) is not None:
            return at
        ids = [
            i for part in self.decisions.values() for b in read_batches(part, ["id"]) for i in b.column(0).to_pylist()
        ]
        at = self.locate(match_id(ids, wanted, lambda: ids_by_metadata(self.collected, wanted)))
        assert at is not None
        return at

    def locate(self, identity: str) -> At | None:
        for shard, part in self.decisions.items():
            start = 0
            for batch in read_batches(part, ["id"]):
                row = pc.index(batch.column(0), identity).as_py()
                if row >= 0:
                    return At(shard, start + row)
                start += batch.num_rows
        return None

    def decision(self, at: At) -> dict[str, Any]:
        return read_row(self.decisions[at.shard], at.row)

    def document(self, at: At) -> dict[str, Any]:
        """As it was collected."""
        return read_row(self.documents[at.shard], at.row)

    def spans(self, at: At, cuts: bool = True) -> list[tuple[str, Span]]:
        """What scoring marked, in the order of the steps, and what was cut of a kept document because it stands elsewhere."""
        names = ["step", "start", "end", "kind", "replacement"]
        paths = [self.scored / f"spans-{at.shard:05d}.parquet"]
        cut = self.curated / f"cuts-{at.shard:05d}.parquet"  # of runs that cut what repeats
        found: list[tuple[str, Span]] = []
        for path in [*paths, cut] if cuts and cut.is_file() else paths:
            table = read_table(path, names, [("document", "=", at.row)])
            rows = zip(*(table[name].to_pylist() for name in names), strict=True)
            found += [(step, Span(*span)) for step, *span in rows]
        return found

    def texts(self, at: At, cuts: bool = True) -> list[tuple[str, str, list[Span]]]:
        """(step, the text as it came to it, what it marked) of the steps that marked something; then ("", final text, [])."""
        text, found = normalise.normalise(self.document(at)["text"], self.config.unicode_form), []
        for step, marked in groupby(self.spans(at, cuts), key=lambda pair: pair[0]):
            spans = [span for _, span in marked]
            found.append((step, text, spans))
            text = apply_spans(text, spans)
        return [*found, ("", text, [])]

    def text(self, at: At, cuts: bool = True) -> str:
        """Normalised and edited; without `cuts` as it was scored and compared."""
        return self.texts(at, cuts)[-1][1]

    def explain(self, at: At) -> Explanation:
        decision = self.decision(at)
        if at.shard == QUARANTINE:
            return Explanation(decision, [], dict.fromkeys(FACTS, ""), {}, "", [], None, ([], 0))
        document = self.document(at)
        kept = decision["verdict"] == "kept"
        return Explanation(
            decision=decision,
            checks=self.checks(at, decision),
            facts={name: document[name] for name in FACTS},
            metadata=json.loads(document["metadata"]),
            excerpt=(self.text(at) if kept else document["text"])[:EXCERPT_CHARACTERS],
            places=self.places(at, document, decision["rule"]),
            partner=self.partner(at, decision["merged_into"]),
            merged=self.merged_into(decision["id"]) if kept else ([], 0),
        )

    def checks(self, at: At, decision: dict[str, Any]) -> list[Check]:
        found = judgements(self.config)
        for column in (judgement.column for judgement in found):
            if column not in decision:  # a bit of the file's own list of columns is another
                raise damaged(self.decisions[at.shard], LookupError(f"no column {column}"))
        return [judgement.check(decision[judgement.column]) for judgement in found]

    def places(self, at: At, document: dict[str, Any], rule: str) -> list[Place]:
        """The passages that steps marked, those first that made the deciding rule fire."""
        texts = self.texts(at)
        found = [make_place(step, text, span, False) for step, text, spans in texts for span in spans]
        step = rule.partition(".")[0]
        return [*(make_place(step, text, span, True) for text, span in self.decisive(texts, document, rule)), *found]

    def decisive(
        self, texts: list[tuple[str, str, list[Span]]], document: dict[str, Any], rule: str
    ) -> list[tuple[str, Span]]:
        """What made `rule` fire: spans, each with the text that they are of. Only this step's model is loaded."""
        step, _, threshold = rule.partition(".")
        groups = {group.name: group for group in chain_groups(self.config)}
        if step not in groups or not groups[step].suits(document["domain"]):
            return []
        worker = groups[step].start(groups[step].section(self.config), self.config)
        if not hasattr(worker, "explain"):
            return []
        text = texts[self.text_number(texts, step)][1]
        return [(text, span) for span in worker.explain(TextView(text, self.config.words), document, threshold)]

    def text_number(self, texts: list[tuple[str, str, list[Span]]], step: str) -> int:
        """Which of `texts` came to this step of the recipe: that of the first step from there on that marked something."""
        order = {name: number for number, name in enumerate(self.config.steps)}
        wanted = order.get(step, len(order))
        return next(n for n, (name, _, _) in enumerate(texts) if name == "" or order.get(name, len(order)) >= wanted)

    def partner(self, at: At, identity: str) -> Partner | None:
        """The document that this one was merged into; None where there is none in this run."""
        other = self.locate(identity) if identity else None
        return None if other is None else self.compare(at, other, identity)

    def compare(self, at: At, other: At, identity: str) -> Partner:
        """What differs between a document and the one it was merged into (`identity`, at `other`)."""
        mine, theirs = self.text(at, cuts=False), self.text(other, cuts=False)
        return Partner(identity, self.similarity(mine, theirs), changes(theirs, mine))

    def similarity(self, text: str, other: str) -> float:
        """Jaccard similarity of the word n-grams, as deduplication compares them; 1 for equal texts."""
        dedup = self.config.dedup
        shingles = hasher(dedup.ngram, dedup.bands, dedup.rows).shingles
        return 1.0 if text == other else jaccard(shingles(text), shingles(other))

    def merged_into(self, identity: str) -> tuple[list[str], int]:
        """Ids of the first documents that were merged into this one, and how many there are."""
        found: list[str] = []
        count = 0
        for part in self.decisions.values():
            for batch in read_batches(part, ["merged_into", "id"]):
                ids = batch.column("id").filter(pc.equal(batch.column("merged_into"), identity))
                count += len(ids)
                found += ids.slice(0, max(0, MERGED_SHOWN - len(found))).to_pylist()
        return found, count


def shard_of(part: Path) -> int:
    number = part.stem.rpartition("-")[2]
    return int(number) if number.isdigit() else QUARANTINE


def read_row(part: Path, row: int, columns: list[str] | None = None) -> dict[str, Any]:
    """One row of a Parquet file. Memory: its row group."""
    try:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if row < count:
                    found: dict[str, Any] = file.read_row_group(group, columns).slice(row, 1).to_pylist()[0]
                    return found
                row -= count
    except UNREADABLE as error:
        raise damaged(part, error) from None
    raise InputError(f"{part} has no row {row} after its last")


def make_place(step: str, text: str, span: Span, decisive: bool) -> Place:
    before, after = text[max(0, span.start - CONTEXT_CHARACTERS) : span.start], text[span.end :][:CONTEXT_CHARACTERS]
    return Place(step, span.kind, span.start, before, text[span.start : span.end], after, span.replacement, decisive)
