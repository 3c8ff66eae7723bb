"""What the page asks for: one function a path, each from the query's parameters to a JSON value."""

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from seedbed.corpus.browse.catalog import PAGE, Catalog, Cursor, Query
from seedbed.corpus.browse.thresholds import Thresholds
from seedbed.corpus.decisions import VERDICTS
from seedbed.corpus.inspect import QUARANTINE, At, Inspector
from seedbed.corpus.inspect_text import explanation_json
from seedbed.corpus.redecide import Redecider
from seedbed.corpus.rules.group import Span
from seedbed.errors import InputError
from seedbed.files import read_json
from seedbed.quantities import printable

TEXT_CHARACTERS = 200_000  # of a document shown at once
EXCERPT_CHARACTERS = 700
NEAR = 5
MOST_NEAR = 50
CLUSTER_PAGE = 40
MEMBERS = 20
LISTED = 500  # values of a filter

Parameters = Mapping[str, list[str]]


class Pages:
    """Answers about one run. Scores are loaded when a threshold is first asked about."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.inspector = Inspector(run)
        self.catalog = Catalog(self.inspector)
        self._thresholds: Thresholds | None = None
        self._lock = Lock()
        self.paths: dict[str, Callable[[Parameters], Any]] = {
            "/api/run": self.about,
            "/api/documents": self.documents,
            "/api/document": self.document,
            "/api/rules": lambda parameters: self.thresholds().rules(),
            "/api/histogram": lambda parameters: self.thresholds().histogram(one(parameters, "rule")),
            "/api/redecide": lambda parameters: self.thresholds().redecide(parameters.get("set", [])),
            "/api/near": self.near,
            "/api/clusters": self.clusters,
            "/api/cluster": self.cluster,
            "/api/compare": self.compare,
        }

    def thresholds(self) -> Thresholds:
        with self._lock:
            if self._thresholds is None:
                self._thresholds = Thresholds(Redecider.of(self.run))
            return self._thresholds

    def about(self, parameters: Parameters) -> dict[str, Any]:
        """The run's name, and the values of each filter with their documents."""
        entries = read_json(self.inspector.curated / "yields.json")
        facets = {}
        for name in ("verdict", "rule", "source", "language"):
            counts: dict[str, int] = {}
            for entry in entries:
                counts[entry[name]] = counts.get(entry[name], 0) + entry["documents"]
            ordered = sorted(counts.items(), key=lambda item: -item[1])[:LISTED]
            facets[name] = [[value or "(none)", count] for value, count in ordered if value or name == "language"]
        facets["verdict"].sort(key=lambda pair: VERDICTS.index(str(pair[0])))
        return {
            "run": self.run.resolve().name,
            "path": str(self.run),
            "documents": sum(entry["documents"] for entry in entries),
            "facets": facets,
            "scores": self.catalog.scores,
        }

    def documents(self, parameters: Parameters) -> dict[str, Any]:
        named = {name: one(parameters, name, "") for name in ("verdict", "rule", "source", "language", "score", "find")}
        bounds = {name: number(parameters, name) for name in ("low", "high")}
        query = Query(**named, low=bounds["low"], high=bounds["high"], place=one(parameters, "in", "id"))
        limit = whole(parameters, "limit", PAGE, 500)
        return self.catalog.search(query, Cursor.read(one(parameters, "cursor", "")), limit)

    def place(self, parameters: Parameters) -> At:
        """The document that `at` or `id` names."""
        if identity := one(parameters, "id", ""):
            if (at := self.inspector.locate(identity)) is None:
                raise InputError(f"id: this run has no document {identity!r}")
            return at
        return self.at(one(parameters, "at"))

    def at(self, text: str) -> At:
        shard, _, row = text.partition(":")
        known = shard.removeprefix("-").isdigit() and row.isdigit() and len(shard) < 10 and len(row) < 12
        if not known or int(shard) not in self.inspector.decisions:
            raise InputError(f"at: {text!r} is no place in this run")
        return At(int(shard), int(row))

    def document(self, parameters: Parameters) -> dict[str, Any]:
        """All that `seedbed why` says, and the text with what was marked, cut and replaced in it."""
        at = self.place(parameters)
        explanation = self.inspector.explain(at)
        found = {"at": str(at), **explanation_json(explanation), "text": [], "left_out": 0}
        if at.shard != QUARANTINE:
            texts = self.inspector.texts(at)
            rule = explanation.decision["rule"]
            number = self.inspector.text_number(texts, rule.partition(".")[0])
            decisive = [Span(p.start, p.start + len(p.text), p.kind) for p in explanation.places if p.decisive]
            found |= limited(marked_text(texts, number, decisive, rule), TEXT_CHARACTERS)
        return found

    def excerpt(self, at: At) -> str:
        return printable(self.inspector.text(at)[:EXCERPT_CHARACTERS])

    def near(self, parameters: Parameters) -> dict[str, Any]:
        """The documents nearest to a rule's threshold on either side, with the beginning of their texts."""
        count = whole(parameters, "n", NEAR, MOST_NEAR)
        sides = self.thresholds().near(one(parameters, "rule"), parameters.get("set", []), count)
        return {
            side: [{**self.catalog.row(at), "score": value, "excerpt": self.excerpt(at)} for at, value in found]
            for side, found in sides.items()
        }

    def clusters(self, parameters: Parameters) -> dict[str, Any]:
        found, start = self.catalog.clusters(), whole(parameters, "start", 0, 1 << 40)
        page = found[start : start + CLUSTER_PAGE]
        return {
            "clusters": len(found),
            "merged": sum(count for _, count in found),
            "rows": [{"id": identity, "documents": count + 1} for identity, count in page],
            "next": start + CLUSTER_PAGE if start + CLUSTER_PAGE < len(found) else None,
        }

    def cluster(self, parameters: Parameters) -> dict[str, Any]:
        """The kept document of a cluster and its members with their similarity to it."""
        identity = one(parameters, "id")
        kept = self.inspector.locate(identity)
        members = self.catalog.members(identity, whole(parameters, "limit", MEMBERS, 200))
        text = None if kept is None else self.inspector.text(kept, cuts=False)
        rows = []
        for at in members:
            similar = None if text is None else self.inspector.similarity(self.inspector.text(at, cuts=False), text)
            rows.append({**self.catalog.row(at), "similarity": similar})
        return {
            "kept": None if kept is None else {**self.catalog.row(kept), "excerpt": self.excerpt(kept)},
            "members": rows,
        }

    def compare(self, parameters: Parameters) -> dict[str, Any]:
        """What differs between two documents."""
        at, other = self.at(one(parameters, "at")), self.at(one(parameters, "with"))
        found = self.inspector.compare(at, other, "")
        return {
            "similarity": found.similarity,
            "changes": [{"kept": printable(c.kept), "here": printable(c.here)} for c in found.changes[:200]],
            "more": max(0, len(found.changes) - 200),
        }


def marked_text(
    texts: list[tuple[str, str, list[Span]]], number: int, decisive: list[Span], rule: str
) -> list[dict[str, Any]]:
    """The text as it was normalised, in pieces: {"text", "marks": names, "became": None, or what stands there instead}.

    Each step's spans are of what the steps before have left, and are found again in the pieces; `decisive`: those that made
    `rule` fire, in the text with this `number`.
    """
    pieces: list[dict[str, Any]] = [{"text": texts[0][1], "marks": [], "became": None}]
    for at, (name, _, spans) in enumerate(texts):
        for span in decisive if at == number else ():
            mark(pieces, span, f"made {rule} fire: {span.kind}")
        for span in reversed(spans):  # from the end, so that what is replaced moves nothing that is still to be found
            mark(pieces, span, f"{name}: {span.kind}")
    return pieces


def mark(pieces: list[dict[str, Any]], span: Span, name: str) -> None:
    """Mark a span of the present text, cutting pieces at its ends; edited pieces are not cut."""
    found: list[dict[str, Any]] = []
    at = 0
    replaced = False
    for piece in pieces:
        present = piece["text"] if piece["became"] is None else piece["became"]
        low, high = max(span.start - at, 0), min(span.end - at, len(present))
        at += len(present)
        if low >= high:
            found.append(piece)
            continue
        if piece["became"] is not None:
            low, high = 0, len(piece["text"])
        before, inside, after = piece["text"][:low], piece["text"][low:high], piece["text"][high:]
        became = piece["became"]
        if span.replacement is not None:
            became, replaced = ("" if replaced else span.replacement), True
        marked = {"text": inside, "marks": [*piece["marks"], name], "became": became}
        found += [{**piece, "text": before}] if before else []
        found.append(marked)
        found += [{**piece, "text": after}] if after else []
    pieces[:] = found


def limited(pieces: list[dict[str, Any]], characters: int) -> dict[str, Any]:
    """The first pieces, fit to be shown, and how many characters are left out."""
    shown: list[dict[str, Any]] = []
    left = characters
    for piece in pieces:
        if left > 0:
            became = None if piece["became"] is None else printable(piece["became"])
            shown.append({**piece, "text": printable(piece["text"][:left]), "became": became})
        left -= len(piece["text"])
    return {"text": shown, "left_out": max(0, -left)}


def one(parameters: Parameters, name: str, otherwise: str | None = None) -> str:
    values = parameters.get(name)
    if values:
        return values[-1]
    if otherwise is None:
        raise InputError(f"{name}: the question needs it")
    return otherwise


def number(parameters: Parameters, name: str) -> float | None:
    text = one(parameters, name, "")
    try:
        return float(text) if text else None
    except ValueError:
        raise InputError(f"{name}: {text!r} is no number") from None


def whole(parameters: Parameters, name: str, otherwise: int, most: int) -> int:
    text = one(parameters, name, str(otherwise))
    if not text.isdigit() or int(text) > most:
        raise InputError(f"{name}: {text!r} is no whole number up to {most:,}")
    return int(text)
