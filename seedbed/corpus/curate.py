"""The curate stage: every document scored, judged and accounted for, and the good ones written with their split.

Three passes: `score` reads the text and keeps some 150 bytes a document, `decide` needs no text,
`write` copies what is kept.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import xxhash

from seedbed.corpus import normalise
from seedbed.corpus.collect import PROGRESS_BYTES
from seedbed.corpus.decisions import SCORE_PREFIX, DecisionWriter, decision_schema, read_decision_rows
from seedbed.corpus.holdout import Text, choose_held_out
from seedbed.corpus.rules import EMPTY, EXACT_DEDUP, IN_VALIDATION, first_failure
from seedbed.corpus.scorers import SCORERS, score
from seedbed.corpus.store import DocumentWriter, read_documents
from seedbed.corpus.yields import COLUMNS, sum_yields, totals
from seedbed.errors import InputError, SeedbedError
from seedbed.files import write_json
from seedbed.recipe.schema import CurateConfig, Recipe
from seedbed.run.stages import Stage, StageContext

TRAIN, VALIDATION = "train", "validation"
KEPT, REMOVED, MERGED = "kept", "removed", "merged"
SCORING_SHARE = 0.85  # of the stage's time, measured on the embedded corpus: for progress only


@dataclass
class Scored:
    """What `score` learnt, one entry per document in the order of collect."""

    digests: list[bytes] = field(default_factory=list)  # 16 bytes, XXH3 of the normalised text
    num_bytes: "array[int]" = field(default_factory=lambda: array("q"))
    scores: "array[float]" = field(default_factory=lambda: array("d"))  # len(SCORERS) a document
    domains: list[str] = field(default_factory=list)
    named_splits: list[str] = field(default_factory=list)  # name of the validation file, or ""

    def scores_of(self, document: int) -> dict[str, float]:
        start = document * len(SCORERS)
        return dict(zip(SCORERS, self.scores[start : start + len(SCORERS)], strict=True))


@dataclass
class Decision:
    verdict: str
    rule: str = ""
    reason: str = ""
    equal_to: int = -1  # document that this one is equal to
    split: str = ""


def curate_config(recipe: Recipe) -> Any:
    corpus = recipe.corpus
    held_out = None if corpus.validation else [recipe.seed, corpus.held_out_fraction, corpus.held_out_max_bytes]
    versions = {"normalise": normalise.VERSION, **{item.name: item.version for item in SCORERS.values()}}
    return [recipe.curate.model_dump(mode="json"), held_out, versions]


def run_curate(context: StageContext) -> dict[str, Any]:
    scored = score_documents(context)
    decisions = decide(scored, context.recipe.curate)
    if context.recipe.corpus.validation:
        require_training_text(decisions, scored)
        require_validation_text(decisions, scored)
    elif context.recipe.corpus.sources:  # else training reads shards that exist already
        hold_out(decisions, scored, context.recipe)
    write_outputs(context, scored, decisions)
    return summarise(context, scored, decisions)


def score_documents(context: StageContext) -> Scored:
    """Pass 1: normalise and score every text."""
    form = context.recipe.curate.unicode_form
    collected = context.inputs["collect"].summary
    scored, done = Scored(), 0
    for batch in read_documents(context.inputs["collect"].path, ["text", "domain", "split", "bytes_in"]):
        for text, domain, split, bytes_in in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            text = normalise.normalise(text, form)
            data = text.encode()
            scored.digests.append(xxhash.xxh3_128_digest(data))
            scored.num_bytes.append(len(data))
            scored.scores.extend(score(text))
            scored.domains.append(domain)
            scored.named_splits.append(split)
            before, done = done, done + bytes_in
            if before // PROGRESS_BYTES != done // PROGRESS_BYTES:
                context.progress(SCORING_SHARE * done, collected["bytes"], "bytes")
    return scored


def decide(scored: Scored, config: CurateConfig) -> list[Decision]:
    """Pass 2: a verdict per document from its scores and its digest. Splits drawn by hash are set later.

    Named validation files are measured whole: rules spare them, and training documents equal to one of theirs go.
    """
    decisions = []
    first_with: dict[bytes, int] = {}
    for document, digest in enumerate(scored.digests):
        split = scored.named_splits[document]
        failure = None if split else first_failure(scored.scores_of(document), config)
        first = first_with.get(digest)
        if not scored.num_bytes[document]:
            decision = Decision(REMOVED, EMPTY, "nothing is left of the text after normalisation.")
        elif failure is not None:
            decision = Decision(REMOVED, failure.rule.name, failure.reason)
        elif first is not None and not split and scored.named_splits[first]:
            decision = Decision(REMOVED, IN_VALIDATION, "equal to the validation document {}.", first)
        elif first is not None and not split and config.exact_dedup:
            decision = Decision(MERGED, EXACT_DEDUP, "equal to {}, which came first.", first)
        else:
            first_with.setdefault(digest, document)
            decision = Decision(KEPT, split=split or TRAIN)
        decisions.append(decision)
    return decisions


def require_training_text(decisions: list[Decision], scored: Scored) -> None:
    """Raise InputError when no training document was kept, naming the rule that took most."""
    read = [d for d, split in zip(decisions, scored.named_splits, strict=True) if not split]
    if any(decision.verdict == KEPT for decision in read):
        return
    rule, count = Counter(decision.rule for decision in read).most_common(1)[0]
    remedy = {
        EMPTY: "give text that holds more than white space",
        IN_VALIDATION: "name validation files that are not the training text",
    }.get(rule, f'loosen curate.{rule}, or set it to "none"')
    raise InputError(f"no document of the corpus was kept: {rule} removed {count} of {len(read)}: {remedy}")


def require_validation_text(decisions: list[Decision], scored: Scored) -> None:
    """Raise InputError when a named validation file holds nothing to be measured on."""
    kept = {decision.split for decision in decisions}
    for name in dict.fromkeys(scored.named_splits):
        if name and name not in kept:
            raise InputError(f"corpus.validation: {name} holds no text: give a file that does, or leave it out")


def hold_out(decisions: list[Decision], scored: Scored, recipe: Recipe) -> None:
    """Move a share of the kept documents to the validation split. Equal texts stay together."""
    require_training_text(decisions, scored)
    sizes: dict[bytes, Text] = {}
    kept = [document for document, decision in enumerate(decisions) if decision.verdict == KEPT]
    for document in kept:
        digest, size = scored.digests[document], scored.num_bytes[document]
        before = sizes.get(digest)
        sizes[digest] = Text(digest, scored.domains[document], size + (before.num_bytes if before else 0))
    if len(sizes) == 1:
        lost = Counter(decision.rule for decision in decisions if decision.rule).most_common(1)
        left = f" left of {len(decisions)} ({lost[0][0]} took {lost[0][1]})" if lost else ""
        raise InputError(
            f"the corpus has one document{left}, and some text must be held out: "
            "give more, split it, or name a validation file (corpus.validation)"
        )
    corpus = recipe.corpus
    held = choose_held_out(sizes.values(), recipe.seed, corpus.held_out_fraction, corpus.held_out_max_bytes)
    for document in kept:
        if scored.digests[document] in held:
            decisions[document].split = VALIDATION


def write_outputs(context: StageContext, scored: Scored, decisions: list[Decision]) -> None:
    """Pass 3: documents that are kept, the decision table with the quarantined records at its end, and the yields."""
    form = context.recipe.curate.unicode_form
    collect = context.inputs["collect"]
    wanted = {decision.equal_to for decision in decisions}
    ids: dict[int, str] = {}
    document = 0
    schema = decision_schema(SCORERS)
    with (
        DocumentWriter(context.path) as documents,
        DecisionWriter(context.path / "decisions.parquet", schema) as table,
    ):
        kept, last_reason = 0, ""
        for batch in read_documents(collect.path):
            for row in batch.to_pylist():
                decision = decisions[document]
                if document in wanted:
                    ids[document] = row["id"]
                bytes_out = scored.num_bytes[document] if decision.verdict == KEPT else 0
                decided = decision_row(row, decision, ids, bytes_out, scored.scores_of(document))
                table.add(decided)
                if decision.verdict == KEPT:
                    row |= {"text": normalise.normalise(row["text"], form), "split": decision.split}
                    documents.add(row, bytes_out)
                    kept += 1
                else:
                    last_reason = f"{row['id']}: {decided['reason']}"
                document += 1
            share = SCORING_SHARE + (1 - SCORING_SHARE) * document / len(decisions)
            counts = {"kept": kept, "removed": document - kept, "last_reason": last_reason}
            context.progress(share * collect.summary["bytes"], collect.summary["bytes"], "bytes", **counts)
        for row in read_decision_rows(collect.path / "quarantine.parquet"):
            table.add(row)
    yields = sum_yields(read_decision_rows(context.path / "decisions.parquet", COLUMNS))
    check_identity(yields, collect.summary)
    write_json(context.path / "yields.json", yields)


def decision_row(
    row: dict[str, Any], decision: Decision, ids: dict[int, str], bytes_out: int, scores: dict[str, float]
) -> dict[str, Any]:
    equal_to = ids.get(decision.equal_to, "")
    return {
        "id": row["id"],
        "source": row["source"],
        "domain": row["domain"],
        "split": decision.split if decision.verdict == KEPT else row["split"],
        "verdict": decision.verdict,
        "rule": decision.rule,
        "reason": decision.reason.replace("{}", equal_to),
        "merged_into": equal_to if decision.verdict == MERGED else "",
        "bytes_in": row["bytes_in"],
        "bytes_out": bytes_out,
        **{SCORE_PREFIX + name: value for name, value in scores.items()},
    }


def check_identity(yields: list[dict[str, Any]], collected: dict[str, Any]) -> None:
    """read = kept + removed + merged + quarantined, in documents and in bytes; anything else is a defect of ours."""
    num_documents, num_bytes, _ = totals(yields)
    expected = collected["read"], collected["bytes"] + collected["bytes_quarantined"]
    if (num_documents, num_bytes) != expected:
        raise SeedbedError(
            f"curate has {num_documents} records of {num_bytes} bytes, collect for {expected[0]} of {expected[1]}: "
            "a defect of seedbed, please report it"
        )


def summarise(context: StageContext, scored: Scored, decisions: list[Decision]) -> dict[str, Any]:
    collected = context.inputs["collect"].summary
    verdicts = Counter(decision.verdict for decision in decisions)
    splits: dict[str, dict[str, int]] = {}
    domains: dict[str, dict[str, dict[str, int]]] = {}
    for document, decision in enumerate(decisions):
        if decision.verdict == KEPT:
            by_domain = domains.setdefault(scored.domains[document], {})
            for group in (splits, by_domain):
                entry = group.setdefault(decision.split, {"documents": 0, "bytes": 0})
                entry["documents"] += 1
                entry["bytes"] += scored.num_bytes[document]
    return {
        "read": collected["read"],
        **{verdict: verdicts[verdict] for verdict in (KEPT, REMOVED, MERGED)},
        "quarantined": collected["quarantined"],
        "bytes_read": collected["bytes"] + collected["bytes_quarantined"],
        "bytes_kept": sum(entry["bytes"] for entry in splits.values()),
        "splits": splits,
        "domains": domains,
    }


CURATE = Stage(name="curate", version=1, inputs=("collect",), config=curate_config, run=run_curate)
