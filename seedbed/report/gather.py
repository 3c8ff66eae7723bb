"""Reads what a run folder holds into plain values for the page. A stage that is missing is left out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.corpus.decontaminate.report import FILE as CONTAMINATION
from seedbed.corpus.yields import count_tokens
from seedbed.corpus.yields_text import Yields, make_yields
from seedbed.files import read_json
from seedbed.recipe.schema import Recipe

if TYPE_CHECKING:
    from seedbed.run.folder import RunFolder

NUM_EXAMPLES = 4  # kept documents shown, one a domain
EXCERPT_CHARACTERS = 420
EXCERPT_LINES = 7
MAX_FILES_SEARCHED = 16  # of at most 64 MB of text each: an example deeper in the corpus is shown without its text


@dataclass
class Examples:
    """Rows of the decision table, each with `excerpt` where its text was found; refused ones by (verdict, rule)."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


@dataclass
class RunData:
    """Everything the page shows."""

    recipe: Recipe
    receipt: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    yields: Yields | None = None
    contamination: dict[str, Any] | None = None  # by the decontaminate step, where the recipe has it
    examples: Examples = field(default_factory=Examples)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    measure: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    losses: Any = None  # float32 array, one per step, nats per token
    transformer_losses: Any = None  # likewise, of the transformer without its n-gram expert
    evaluation: dict[str, Any] | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)

    def summary(self, stage: str) -> dict[str, Any]:
        return self.stages.get(stage, {}).get("summary", {})


def gather(folder: "RunFolder", recipe: Recipe, receipt: dict[str, Any]) -> RunData:
    """Everything the page needs of the stages that `folder` has finished for `recipe`."""
    paths = {name: folder.stages_path / stage for name, stage in folder.index().items()}
    paths = {name: path for name, path in paths.items() if (path / "stage.json").is_file()}
    data = RunData(recipe, receipt, {name: read_json(path / "stage.json") for name, path in paths.items()})
    if "curate" in paths:
        tokens = count_tokens(paths.get("tokenize"))
        data.yields = make_yields(read_json(paths["curate"] / "yields.json"), recipe.curate, tokens)
        data.examples = read_examples(paths["curate"])
        attach_excerpts(data.examples, [paths[name] for name in ("collect", "curate") if name in paths])
    data.contamination = optional_json(paths, "curate", CONTAMINATION)
    if "tokenize" in paths:
        manifests = sorted(paths["tokenize"].glob("*/manifest.json"))
        data.splits = {path.parent.name: read_json(path) for path in manifests}
    data.measure = optional_json(paths, "measure", "measure.json")
    data.model = optional_json(paths, "train", "config.json")
    data.history = optional_json(paths, "train", "history.json") or history_of_events(folder.events())
    if "train" in paths:
        data.losses = read_losses(paths["train"] / "losses.npy")
        data.transformer_losses = read_losses(paths["train"] / "transformer_losses.npy")
    data.evaluation = optional_json(paths, "evaluate", "evaluation.json")
    data.samples = optional_json(paths, "evaluate", "samples.json") or []
    return data


def optional_json(paths: dict[str, Path], stage: str, name: str) -> Any:
    path = paths[stage] / name if stage in paths else None
    return read_json(path) if path and path.is_file() else None


def read_losses(path: Path) -> Any:
    import numpy as np

    return np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None


def history_of_events(events: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The history of a training that is not finished. A step trained again after a resume counts as last seen."""
    found: dict[str, dict[Any, dict[str, Any]]] = {"validations": {}, "samples": {}, "steps": {}, "norms": {}}
    key = None
    for event in events:
        if event["kind"] == "stage_start" and event["stage"] == "train" and event["key"] != key:
            key = event["key"]  # another recipe's training: what came before is not of this one
            found = {name: {} for name in found}
        elif event["kind"] == "step":
            found["steps"][event["step"]] = event
        elif event["kind"] == "norms":
            found["norms"][event["step"]] = event
        elif event["kind"] == "validation":
            found["validations"][event["step"]] = event
        elif event["kind"] == "sample":
            found["samples"][event["step"], event["prompt"]] = event
    return {name: [entries[at] for at in sorted(entries)] for name, entries in found.items()}


def read_examples(path: Path) -> Examples:
    """The first document that each rule refused, and the first that was kept of each domain; in bounded memory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from seedbed.corpus.decisions import decision_batches

    examples = Examples()
    held: set[str] = set()
    for batch in decision_batches(path, ["id", "source", "domain", "verdict", "rule", "reason"]):
        table = pa.Table.from_batches([batch])
        kept = pc.equal(table["verdict"], "kept")
        refused = table.filter(pc.invert(kept))
        for pair in refused.select(["verdict", "rule"]).group_by(["verdict", "rule"]).aggregate([]).to_pylist():
            name = pair["verdict"], pair["rule"]
            if name not in examples.refused:
                same = pc.and_(pc.equal(refused["verdict"], name[0]), pc.equal(refused["rule"], name[1]))
                examples.refused[name] = refused.filter(same).slice(0, 1).to_pylist()[0]
        for domain in pc.unique(table["domain"]).to_pylist():
            first = table.filter(pc.and_(pc.equal(table["domain"], domain), kept)).slice(0, 1).to_pylist()
            if first and domain not in held and len(held) < NUM_EXAMPLES:
                held.add(domain)
                examples.kept += first
    return examples


def attach_excerpts(examples: Examples, folders: list[Path]) -> None:
    """Add `excerpt`, the first characters of the text as it was read, to each example that is found."""
    from seedbed.corpus.store import UNREADABLE, damaged

    wanted = {row["id"]: row for row in [*examples.refused.values(), *examples.kept]}
    for folder in folders:
        for path in sorted(folder.glob("documents-*.parquet"))[:MAX_FILES_SEARCHED]:
            try:
                attach_excerpts_of(path, wanted)
            except UNREADABLE as error:
                raise damaged(path, error) from None


def attach_excerpts_of(path: Path, wanted: dict[str, dict[str, Any]]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["id"])["id"].to_pylist()
            at = [index for index, name in enumerate(ids) if name in wanted and "excerpt" not in wanted[name]]
            if at:
                texts = file.read_row_group(group, columns=["text"])["text"].take(at).to_pylist()
                for index, text in zip(at, texts, strict=True):
                    wanted[ids[index]]["excerpt"] = excerpt(text)


def excerpt(text: str) -> str:
    """The first characters and lines of a document."""
    start = text[: 4 * EXCERPT_CHARACTERS].strip()
    short = "\n".join(start[:EXCERPT_CHARACTERS].split("\n")[:EXCERPT_LINES]).rstrip()
    return short if short == start else short + " …"
