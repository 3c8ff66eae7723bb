"""Deciding anew from stored scores: what other thresholds would keep, without reading a word of text.

The table of scores is read once and held (about 40 bytes a document); after that an answer takes as long as reading the
columns of the changed rules, and for the same rules again not even that. Where the recipe cuts what repeats, texts have to be
read to know what would be cut: `with_cuts` does it, and takes as long as it takes in a run.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from seedbed.corpus.chain import Judgement, judgements
from seedbed.corpus.curate import cause_name, cut_decided, shard_tasks
from seedbed.corpus.decide import (
    ALL_CUT,
    KEPT,
    OTHER_CAUSES,
    REMOVED,
    Compared,
    Decided,
    Ledger,
    decide,
    first_failures,
    read_compared,
    read_ledger,
    scored_parts,
)
from seedbed.corpus.decisions import VERDICTS, decision_table
from seedbed.corpus.dedup.index import open_run
from seedbed.corpus.executors import close_executors, run_tasks
from seedbed.corpus.store import read_table
from seedbed.errors import InputError
from seedbed.recipe.curation import STEPS, CurateConfig, overlay
from seedbed.recipe.layers import check_keys, parse_setting, validate
from seedbed.recipe.schema import Recipe
from seedbed.run.folder import RunFolder

DEDUP_THRESHOLDS = ("exact", "min_jaccard", "max_cluster")  # of `curate.dedup`: what `decide` reads


@dataclass(frozen=True)
class Redecided:
    """Two decisions on the same documents. `changed`: names of the fields, with their values before and after."""

    recipe: Recipe
    changed: dict[str, tuple[Any, Any]]
    ledger: Ledger
    before: Decided
    after: Decided

    def gained(self) -> NDArray[np.int64]:
        return np.flatnonzero((self.before.verdict != KEPT) & (self.after.verdict == KEPT))

    def lost(self) -> NDArray[np.int64]:
        return np.flatnonzero((self.before.verdict == KEPT) & (self.after.verdict != KEPT))

    def verdicts(self) -> dict[str, tuple[int, int]]:
        counts = [np.bincount(decided.verdict, minlength=3).tolist() for decided in (self.before, self.after)]
        return {name: (counts[0][at], counts[1][at]) for at, name in enumerate(VERDICTS[:3])}

    def kept_bytes(self) -> tuple[int, int]:
        before, after = (int(d.num_bytes[d.verdict == KEPT].sum()) for d in (self.before, self.after))
        return before, after

    def rules(self) -> dict[str, tuple[int, int]]:
        """Documents that each rule took, before and after, in the order the rules are asked."""
        counts = [Counter(decided.cause[decided.cause >= 0].tolist()) for decided in (self.before, self.after)]
        causes = sorted({*counts[0], *counts[1]})
        return {cause_name(self.ledger, cause): (counts[0][cause], counts[1][cause]) for cause in causes}

    def sources(self, rows: NDArray[np.int64]) -> dict[str, int]:
        """How many of these documents are of each source."""
        found: Counter[str] = Counter()
        for shard, here in rows_by_shard(self.ledger, rows):
            found.update(take(self.ledger.shards[shard], "source", here))
        return dict(found.most_common())


class Redecider:
    """A run's scores, ready to be held against other thresholds."""

    def __init__(self, parts: list[Path], compared: Compared, recipe: Recipe, folder: RunFolder | None = None) -> None:
        """`folder`: the run's, which only `with_cuts` needs."""
        self.recipe = recipe
        self.folder = folder
        self.compared = compared
        self.ledger = read_ledger(parts, recipe.curate)
        self.before = decide(self.ledger, recipe.curate, compared)
        self._held: tuple[frozenset[int], NDArray[np.int16], pa.Table] | None = None

    @classmethod
    def of(cls, run: Path) -> "Redecider":
        folder = RunFolder.existing(run)
        folder.stage_path("curate")  # which says what to do where it is not finished
        compared = read_compared(folder.stage_path("compare"))
        return cls(scored_parts(folder.stage_path("score")), compared, folder.recipe(), folder)

    def ask(self, settings: Iterable[str]) -> Redecided:
        """What the recipe with these `GROUP.RULE=VALUE` would decide. Raises InputError for what is no threshold."""
        recipe = with_settings(self.recipe, settings)
        rules = judgements(recipe.curate)
        failed = self.failures(rules)
        ledger = replace(self.ledger, failed=failed, rules=rules)
        changed = differences(self.recipe.curate.model_dump(), recipe.curate.model_dump())
        return Redecided(recipe, changed, ledger, self.before, decide(ledger, recipe.curate, self.compared))

    @property
    def cuts(self) -> bool:
        """Whether the recipe cuts from kept documents what repeats others."""
        return self.recipe.curate.dedup.boilerplate or self.recipe.curate.dedup.substrings

    def with_cuts(self, found: Redecided) -> Redecided:
        """The same with what is cut of the documents that each side keeps: before as it was written, after as it would be.

        Reads the texts that would be kept; intermediate files go to the system's folder for temporary ones.
        """
        assert self.folder is not None
        collected, scored, curated = (self.folder.stage_path(name) for name in ("collect", "score", "curate"))
        before, after = (replace(d, **copies(d)) for d in (found.before, found.after))
        columns = ["verdict", "bytes_out"]
        written = pa.concat_tables(decision_table(curated, columns, n) for n in range(len(found.ledger.shards)))
        kept = pc.equal(written.column("verdict"), "kept").to_numpy()
        before.cause[(before.verdict == KEPT) & ~kept] = len(found.ledger.rules) + OTHER_CAUSES.index(ALL_CUT)
        before.verdict[(before.verdict == KEPT) & ~kept] = REMOVED
        before.num_bytes[kept] = written.column("bytes_out").to_numpy()[kept]
        curate = found.recipe.curate
        tasks = shard_tasks(collected, scored, curate.unicode_form)
        earlier = [open_run(run, None) for run in curate.dedup.against]
        with TemporaryDirectory(prefix="seedbed-redecide-") as name:
            work, out = Path(name) / "work", Path(name) / "cuts"
            out.mkdir()
            try:
                cut_decided(found.ledger, after, tasks, earlier, curate.dedup, work, out, run_tasks)
            finally:
                close_executors()
        return replace(found, before=before, after=after)

    def failures(self, rules: list[Judgement]) -> NDArray[np.int16]:
        """The first rule that each document fails: of the unchanged rules as held, and of the changed ones."""
        changed = frozenset(n for n, rule in enumerate(rules) if rule.threshold != self.ledger.rules[n].threshold)
        if not changed:
            return self.ledger.failed
        if self._held is None or self._held[0] != changed:
            self._held = changed, *self.hold(changed)
        _, others, scores = self._held
        own = first_failures(scores, [rule if n in changed else off(rule) for n, rule in enumerate(rules)])
        own = np.where(self.ledger.named == 0, own, np.int16(-1))
        return np.where(others < 0, own, np.where(own < 0, others, np.minimum(own, others))).astype(np.int16)

    def hold(self, changed: frozenset[int]) -> tuple[NDArray[np.int16], pa.Table]:
        """(first failures of all other rules, the columns of these rules)."""
        wanted = [off(rule) if n in changed else rule for n, rule in enumerate(self.ledger.rules)]
        own = sorted({self.ledger.rules[n].column for n in changed})
        only = sorted({rule.column for rule in wanted if rule.threshold is not None} | set(own))
        others, tables = [], []
        # A document that an unchanged rule was the first to fail fails it still: only the others have to be asked again.
        for shard, part in enumerate(self.ledger.shards):
            here = slice(int(self.ledger.starts[shard]), int(self.ledger.starts[shard + 1]))
            failed = self.ledger.failed[here]
            again = np.isin(failed, list(changed))
            table = read_table(part, columns=only if again.any() else own)
            tables.append(table.select(own))
            found = failed.copy()
            if again.any():
                found[again] = first_failures(table.filter(pa.array(again)), wanted)
            others.append(found)
        spared = np.concatenate(others)
        return np.where(self.ledger.named == 0, spared, np.int16(-1)), pa.concat_tables(tables)

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        return [
            name
            for shard, here in rows_by_shard(self.ledger, rows)
            for name in take(self.ledger.shards[shard], "id", here)
        ]


def copies(decided: Decided) -> dict[str, Any]:
    """Own copies of the arrays that cutting changes."""
    return {name: getattr(decided, name).copy() for name in ("verdict", "cause", "num_bytes")}


def off(rule: Judgement) -> Judgement:
    return replace(rule, threshold=None)


def take(part: Path, column: str, rows: NDArray[np.int64]) -> list[str]:
    found: list[str] = read_table(part, columns=[column]).column(column).take(pa.array(rows)).to_pylist()
    return found


def rows_by_shard(ledger: Ledger, rows: NDArray[np.int64]) -> Iterable[tuple[int, NDArray[np.int64]]]:
    """Documents (in order) as (shard, rows within it)."""
    for shard in range(len(ledger.shards)):
        start, stop = ledger.starts[shard], ledger.starts[shard + 1]
        here = rows[(rows >= start) & (rows < stop)] - start
        if len(here):
            yield shard, here


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """The recipe with thresholds of its `curate` section changed. Raises InputError for anything else."""
    layers = [(f"--set {setting}", parse_setting(setting.removeprefix("curate."))) for setting in settings]
    section = recipe.curate.model_dump(mode="json")
    for origin, layer in layers:
        check_keys(layer, CurateConfig, origin)
        section = overlay(section, layer)
    values = recipe.model_dump(mode="json") | {"curate": section}
    changed = validate(values, [(origin, {"curate": layer}) for origin, layer in layers])
    refuse_other_fields(recipe, changed, layers)
    return changed


def refuse_other_fields(before: Recipe, after: Recipe, layers: list[tuple[str, dict[str, Any]]]) -> None:
    """Raise InputError for a field that is not decided by: scores, edges or texts would be others."""
    decided = {rule.name for rule in judgements(before.curate)} | {f"dedup.{name}" for name in DEDUP_THRESHOLDS}
    changed = differences(before.curate.model_dump(), after.curate.model_dump())
    for origin, layer in layers:
        field = ".".join(leaf_of(layer))
        if field not in decided:
            group = field.partition(".")[0]
            why = (
                f"the recipe has no step {group!r}"
                if group in STEPS and group not in before.curate.steps
                else "it is no threshold"
            )
            raise InputError(
                f"{origin}: stored scores cannot tell what this would give ({why}): the documents have to be scored with it: "
                f"`seedbed run RECIPE --out FOLDER --set curate.{origin.removeprefix('--set ').removeprefix('curate.')}`"
            )
        if field not in changed:
            raise InputError(f"{origin}: curate.{field} has that value already: give another")


def leaf_of(layer: dict[str, Any]) -> list[str]:
    [(key, value)] = layer.items()
    return [key, *leaf_of(value)] if isinstance(value, dict) else [key]


def differences(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted names of the fields that differ, with both values."""
    found: dict[str, tuple[Any, Any]] = {}
    for key, old in before.items():
        new = after[key]
        if isinstance(old, dict):
            found |= differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found[prefix + key] = old, new
    return found


def write_changed(run: Path, found: Redecided, listener: Any, command: str) -> None:
    """Run the folder's curate stage again with the changed thresholds; later stages wait for `seedbed run --out RUN`."""
    from seedbed.files import read_json
    from seedbed.run.pipeline import run_pipeline

    request = run / "request.json"
    asked = read_json(request) if request.is_file() else RunFolder.existing(run).recipe().model_dump(mode="json")
    asked |= {"curate": found.recipe.curate.model_dump(mode="json")}
    run_pipeline(validate(asked, [(str(request), asked)]), run, listener, "curate", command)


def redecided_json(found: Redecided, decider: Redecider, shown: int) -> dict[str, Any]:
    sides = {"gained": found.gained(), "lost": found.lost()}
    return {
        "changed": {name: {"before": old, "after": new} for name, (old, new) in found.changed.items()},
        "verdicts": {name: {"before": old, "after": new} for name, (old, new) in found.verdicts().items()},
        "kept_bytes": dict(zip(("before", "after"), found.kept_bytes(), strict=True)),
        "rules": {name: {"before": old, "after": new} for name, (old, new) in found.rules().items()},
        **{
            name: {"documents": len(rows), "sources": found.sources(rows), "ids": decider.ids(rows[:shown])}
            for name, rows in sides.items()
        },
    }


def change_rows(counts: dict[str, tuple[int, int]]) -> list[list[str]]:
    return [
        [name, f"{old:,}", f"{new:,}", f"{new - old:+,}" if new != old else ""] for name, (old, new) in counts.items()
    ]


def redecided_text(found: Redecided, decider: Redecider, shown: int) -> str:
    """Before and after: in all, by rule, and the documents that change sides."""
    from seedbed.corpus.yields import align, size_text

    old, new = found.kept_bytes()
    blocks = [
        "\n".join(f"curate.{name}: {setting_text(a)} -> {setting_text(b)}" for name, (a, b) in found.changed.items()),
        align([["", "before", "after", "change"], *change_rows(found.verdicts())])
        + f"\ntext kept  {size_text(old)} -> {size_text(new)}",
        align([["taken by", "before", "after", "change"], *change_rows(found.rules())]),
    ]
    for title, rows in (("newly kept", found.gained()), ("no longer kept", found.lost())):
        lines = [f"{title}: {len(rows):,} document{'' if len(rows) == 1 else 's'}{by_source(found.sources(rows))}"]
        lines += [f"  {name}" for name in decider.ids(rows[:shown])]
        lines += [f"  and {len(rows) - shown:,} more"] if len(rows) > shown else []
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def by_source(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:6])
    return f" ({shown})" if shown else ""


def setting_text(value: Any) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
