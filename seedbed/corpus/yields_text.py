"""What `seedbed yields` says: the waterfall as tables, and as JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.corpus.decisions import VERDICTS
from seedbed.corpus.published import Alarm, alarm_rows, alarms, comparison_rows, published_texts
from seedbed.corpus.yields import (
    COLLECT,
    Amount,
    Step,
    Tokens,
    align,
    count_text,
    count_tokens,
    share_text,
    size_text,
    totals,
    waterfall,
    waterfalls,
)
from seedbed.files import read_json
from seedbed.recipe.curation import CurateConfig
from seedbed.run.folder import RunFolder
from seedbed.run.stages import check_json

GROUPS_SHOWN = 30


@dataclass(frozen=True)
class Yields:
    """All that is shown of a run's yields."""

    entries: list[dict[str, Any]]  # as in yields.json
    steps: list[Step]
    by_source: dict[str, list[Step]]
    by_language: dict[str, list[Step]]
    tokens: Tokens
    near: bool  # whether near-duplicates were looked for
    alarms: list[Alarm]

    @property
    def read(self) -> Amount:
        return self.steps[0].reached

    @property
    def kept(self) -> Amount:
        return self.steps[-1].left


def read_yields(run: Path) -> Yields:
    """Of a run folder whose curate stage is finished; tokens are counted where its tokenize stage is too."""
    folder = RunFolder.existing(run)
    curated = folder.stage_path("curate")
    check_json(curated)
    entries = read_json(curated / "yields.json")
    tokenize = folder.stage_path("tokenize") if "tokenize" in folder.index() else None
    return make_yields(entries, folder.recipe().curate, count_tokens(tokenize))


def make_yields(entries: list[dict[str, Any]], config: CurateConfig, tokens: Tokens) -> Yields:
    steps, near = config.steps, config.dedup.near
    whole, by_source = waterfall(entries, steps), waterfalls(entries, steps, "source")
    by_language = waterfalls(entries, steps, "language")
    return Yields(entries, whole, by_source, by_language, tokens, near, alarms(whole, by_source, near))


def yields_text(found: Yields) -> str:
    """The waterfall, the sources, the rules, then the alarms."""
    blocks = [step_table(found), source_table(found)]
    rules = [
        [f"{step.name}.{rule}" if step.name != rule else rule, *amount_texts(taken, step.reached)]
        for step in found.steps
        for rule, taken in step.rules.items()
        if taken.documents
    ]
    if rules:
        blocks.append(align([["taken by", "documents", "of reached", "text"], *rules]))
    blocks.append(alarm_text(found.alarms))
    return "\n\n".join(blocks)


def amount_texts(taken: Amount, reached: Amount) -> list[str]:
    return [f"{taken.documents:,}", share_text(taken.documents, reached.documents), size_text(taken.bytes)]


def step_table(found: Yields) -> str:
    read, tokens = found.read, found.tokens
    beside = published_texts(found.steps, found.near)
    header = ["step", "taken", "left", "of reached", "of all", "bytes left", "tokens left"]
    rows = [["read", "", f"{read.documents:,}", "", "100.0%", size_text(read.bytes), ""]]
    for step in found.steps:
        left = step.left
        estimated = "" if step.name == COLLECT else "~" + count_text(tokens.estimate(left))
        shares = [share_text(left.documents, step.reached.documents), share_text(left.documents, read.documents)]
        rows.append(
            [step.name, f"{step.taken.documents:,}", f"{left.documents:,}", *shares, size_text(left.bytes), estimated]
        )
    kept = found.kept
    shares = ["", share_text(kept.documents, read.documents)]
    rows.append(["kept", "", f"{kept.documents:,}", *shares, size_text(kept.bytes), tokens.kept_text(kept)])
    if beside:
        header.append("published: kept of reached")
        rows = [[*row, beside.get(row[0], "")] for row in rows]
        widest = max(len(row[-1]) for row in rows)
        rows = [[*row[:-1], row[-1].ljust(widest)] for row in rows]
        header[-1] = header[-1].ljust(widest)
    how = (
        f"Tokens: kept ones counted, others (~) at this run's {tokens.bytes_per_token:.2f} bytes of text a token."
        if tokens.measured
        else f"Tokens (~) at {tokens.bytes_per_token:.2f} bytes of text a token: the text is not tokenized yet."
    )
    return align([header, *rows]) + "\n" + how


def source_table(found: Yields) -> str:
    header = ["source", "read", *VERDICTS[1:], "kept", "share", "bytes read", "bytes kept", "tokens kept"]
    rows = []
    sources = list(dict.fromkeys(entry["source"] for entry in found.entries))
    for source, label in [*((s, s) for s in sources), *([("", "total")] if len(sources) > 1 else [])]:
        read, bytes_in, bytes_out = totals(found.entries, "", source)
        counts = [totals(found.entries, verdict, source)[0] for verdict in VERDICTS]
        numbers = [f"{n:,}" for n in (read, *counts[1:], counts[0])]
        kept = found.tokens.kept_text(Amount(counts[0], bytes_out), source)
        rows.append([label, *numbers, share_text(counts[0], read), size_text(bytes_in), size_text(bytes_out), kept])
    return align([header, *rows])


def group_table(found: Yields, by: str) -> str:
    """What is left of every source or language after each step that took something, as a share of its documents."""
    groups = found.by_source if by == "source" else found.by_language
    names = [step.name for step in found.steps if step.taken.documents]
    header = [by, "read", *names, "kept", "bytes kept", "tokens kept"]
    rows = []
    for value, steps in list(groups.items())[:GROUPS_SHOWN]:
        read, kept = steps[0].reached.documents, steps[-1].left
        left = {step.name: share_text(step.left.documents, read) for step in steps}
        own = found.tokens.kept_text(kept, value) if by == "source" else "~" + count_text(found.tokens.estimate(kept))
        rows.append(
            [
                value or "(none)",
                f"{read:,}",
                *(left[name] for name in names),
                f"{kept.documents:,}",
                size_text(kept.bytes),
                own,
            ]
        )
    more = f"\nand {len(groups) - GROUPS_SHOWN:,} more" if len(groups) > GROUPS_SHOWN else ""
    title = f"Share of documents left after each step, by {by}"
    return f"{title}\n\n{align([header, *rows])}{more}\n\n{alarm_text(found.alarms)}"


def alarm_text(found: list[Alarm]) -> str:
    if not found:
        return "No step and no source stands out."
    return "\n".join(["Look at these:", *(f"  ! {alarm.sentence}" for alarm in found)])


def yields_json(found: Yields, by: str | None) -> dict[str, Any]:
    groups = {"source": found.by_source, "language": found.by_language}
    counted, measured = found.tokens.kept(found.kept)
    return {
        "read": {"documents": found.read.documents, "bytes": found.read.bytes},
        "kept": {"documents": found.kept.documents, "bytes": found.kept.bytes, "tokens": counted},
        "tokens_measured": measured,
        "bytes_per_token": found.tokens.bytes_per_token,
        "steps": steps_json(found.steps, found),
        **{
            f"by_{name}": {value: steps_json(steps, found) for value, steps in group.items()}
            for name, group in groups.items()
            if by in (None, name)
        },
        "published": comparison_rows(found.steps, found.near),
        "alarms": alarm_rows(found.alarms),
        "yields": found.entries,
    }


def steps_json(steps: list[Step], found: Yields) -> list[dict[str, Any]]:
    read = steps[0].reached.documents
    return [
        {
            "step": step.name,
            "reached": {"documents": step.reached.documents, "bytes": step.reached.bytes},
            "left": {
                "documents": step.left.documents,
                "bytes": step.left.bytes,
                "tokens_estimated": found.tokens.estimate(step.left),
            },
            "share_of_reached": step.share(),
            "share_of_all": step.left.documents / read if read else 1.0,
            "taken": {rule: {"documents": a.documents, "bytes": a.bytes} for rule, a in step.rules.items()},
        }
        for step in steps
    ]
