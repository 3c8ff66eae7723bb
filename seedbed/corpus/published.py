"""Yields beside those that others have published, and the alarms: where a step or a source falls far outside."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from seedbed.corpus.yields import COLLECT, DEDUP, Amount, Step

# When an alarm is raised. Wide on purpose: crawls differ, and an alarm that rings always is not heard.
LEAST_DOCUMENTS = 100  # fewer say nothing about a share
KEPT_UNDER = 1 / 2  # of the least published share kept
REMOVED_OVER = 3.0  # times the largest published share removed
REMOVED_UNDER = 1 / 3  # of the least published share removed
SOURCE_LOST = 0.9  # share of a source's documents that no one loses unnoticed
OTHERS_LOST_MUCH = 0.5  # share that the other sources lost while one lost nothing
MERGED = 0.5  # share of a source that deduplication may take
QUARANTINED = 0.1  # share of a source that may be unreadable


@dataclass(frozen=True)
class Published:
    """`kept`: share, in `unit`, of what reached the steps together."""

    who: str
    source: str
    date: str
    unit: str
    steps: tuple[str, ...]
    kept: float
    what: str


@dataclass(frozen=True)
class Alarm:
    """`about`: the step or the source."""

    kind: str
    about: str
    sentence: str


@cache
def published_yields() -> tuple[Published, ...]:
    text = (resources.files("seedbed.corpus") / "published_yields.toml").read_text(encoding="utf-8")
    return tuple(Published(**{**entry, "steps": tuple(entry["steps"])}) for entry in tomllib.loads(text)["published"])


def comparable(steps: list[Step], near: bool) -> list[tuple[Published, float]]:
    """Published yields of steps that this run has, all of them, each with this run's share kept by the same steps.

    `near`: whether deduplication looked for more than equal texts, as what is published does.

    Where theirs is of documents so is ours; where theirs is of tokens ours is of bytes of text.
    """
    by_name = {step.name: step for step in steps if step.name != DEDUP or near}
    found = []
    for entry in published_yields():
        if all(name in by_name for name in entry.steps):
            shares = [share_of(by_name[name], entry.unit) for name in entry.steps]
            found.append((entry, math.prod(shares)))
    return found


def share_of(step: Step, unit: str) -> float:
    part, whole = (
        (step.left.documents, step.reached.documents) if unit == "documents" else (step.left.bytes, step.reached.bytes)
    )
    return part / whole if whole else 1.0


def alarms(steps: list[Step], by_source: dict[str, list[Step]], near: bool) -> list[Alarm]:
    """Sentences on what falls far outside, the steps first, then the sources."""
    return [*step_alarms(steps, near), *source_alarms(by_source)]


def step_alarms(steps: list[Step], near: bool) -> list[Alarm]:
    reached = {step.name: step.reached.documents for step in steps}
    groups: dict[tuple[str, ...], list[tuple[Published, float]]] = {}
    for entry, kept in comparable(steps, near):
        if min(reached[name] for name in entry.steps) >= LEAST_DOCUMENTS:
            groups.setdefault(entry.steps, []).append((entry, kept))
    found: list[Alarm] = []
    said: set[str] = set()
    for names, entries in sorted(groups.items(), key=lambda item: len(item[0])):
        if said & set(names):
            continue  # one of these steps alone was told of
        about = " and ".join(names)
        low = min(entries, key=lambda pair: pair[1] / pair[0].kept)
        high = max(entries, key=lambda pair: pair[1] / pair[0].kept)
        if all(outside(kept, entry.kept) < 0 for entry, kept in entries):
            found.append(Alarm("keeps little", about, comparison(about, *low, "far less than")))
        elif all(outside(kept, entry.kept) > 0 for entry, kept in entries):
            found.append(Alarm("keeps much", about, comparison(about, *high, "far more than")))
        said |= set(names) if found and found[-1].about == about else set()
    return found


def outside(kept: float, published: float) -> int:
    """-1 where far less is kept than published, 1 where far more, 0 inside."""
    removed, published_removed = 1 - kept, 1 - published
    if kept < KEPT_UNDER * published or removed > REMOVED_OVER * published_removed:
        return -1
    return 1 if removed < REMOVED_UNDER * published_removed else 0


def comparison(about: str, entry: Published, kept: float, how: str) -> str:
    return (
        f"{about} kept {kept:.1%} of the {entry.unit if entry.unit == 'documents' else 'text'} that came to it, "
        f"{how} the {entry.kept:.1%} of {entry.who} ({entry.source})."
    )


def source_alarms(by_source: dict[str, list[Step]]) -> list[Alarm]:
    found = []
    reads = {source: steps[0].reached for source, steps in by_source.items()}
    lefts = {source: steps[-1].left for source, steps in by_source.items()}
    all_read, all_left = sum(reads.values(), Amount()), sum(lefts.values(), Amount())
    for source, steps in by_source.items():
        read, left = reads[source].documents, lefts[source].documents
        if read < LEAST_DOCUMENTS:
            continue
        if left < (1 - SOURCE_LOST) * read:
            most = max(steps, key=lambda step: step.taken.documents)
            sentence = f"{source} lost {1 - left / read:.1%} of its documents, most of them to {most.name}."
            found.append(Alarm("source lost", source, sentence))
        others = all_read.documents - read
        lost = 1 - (all_left.documents - left) / others if others else 0.0
        if left == read and others >= LEAST_DOCUMENTS and lost > OTHERS_LOST_MUCH:
            sentence = f"{source} lost none of its {read:,} documents while the other sources lost {lost:.1%}."
            found.append(Alarm("source untouched", source, sentence))
        for step in steps:
            taken, reached = step.taken.documents, step.reached.documents
            if step.name == DEDUP and reached >= LEAST_DOCUMENTS and taken > MERGED * reached:
                sentence = f"deduplication merged {taken / reached:.1%} of what came to it from {source}."
                found.append(Alarm("merged", source, sentence))
            if step.name == COLLECT and taken > QUARANTINED * reached:
                worst = next(iter(step.rules))
                sentence = f"{taken / reached:.1%} of {source} could not be read, most of it {worst}."
                found.append(Alarm("quarantined", source, sentence))
    return found


def published_texts(steps: list[Step], near: bool) -> dict[str, str]:
    """For a table: step -> what others kept there, beside the last of the steps that a figure is of."""
    found: dict[str, list[str]] = {}
    order = [step.name for step in steps]
    for entry, _ in comparable(steps, near):
        last = max(entry.steps, key=order.index)
        together = f" with {', '.join(entry.steps[:-1])}" if len(entry.steps) > 1 else ""
        found.setdefault(last, []).append(f"{entry.who.split(',')[0]} {entry.kept:.0%}{together}")
    return {name: "; ".join(texts) for name, texts in found.items()}


def comparison_rows(steps: list[Step], near: bool) -> list[dict[str, Any]]:
    """Every published yield with this run's, for the page and for programs."""
    return [
        {
            "steps": list(entry.steps),
            "kept": kept,
            "published": entry.kept,
            "unit": entry.unit,
            "who": entry.who,
            "source": entry.source,
            "date": entry.date,
            "what": entry.what,
        }
        for entry, kept in comparable(steps, near)
    ]


def alarm_rows(found: Sequence[Alarm]) -> list[dict[str, str]]:
    return [{"kind": alarm.kind, "about": alarm.about, "sentence": alarm.sentence} for alarm in found]
