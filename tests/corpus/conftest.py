"""A run of collect and curate on a few files, as the pipeline would run them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seedbed.corpus.collect import COLLECT
from seedbed.corpus.compare import COMPARE
from seedbed.corpus.curate import CURATE
from seedbed.corpus.decisions import read_decision_rows
from seedbed.corpus.executors import Execution
from seedbed.corpus.score import SCORE
from seedbed.corpus.store import read_documents
from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder
from seedbed.run.stages import StageOutput, run_stage

WORDS = ("river", "stone", "quiet", "harbour", "lantern", "copper", "meadow", "winter", "engine", "orchard", "violet")


def prose(number: int, sentences: int = 12) -> str:
    """A distinct English-looking text of some 400 characters."""
    picked = [WORDS[(number * 7 + i * i + i) % len(WORDS)] for i in range(sentences * 5)]
    lines = [" ".join(picked[i : i + 5]).capitalize() + "." for i in range(0, len(picked), 5)]
    return f"Text number {number}.\n" + "\n".join(lines) + "\n"


@dataclass
class Curated:
    folder: RunFolder
    collect: StageOutput
    compare: StageOutput
    curate: StageOutput

    @property
    def decisions(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for row in read_decision_rows(self.curate.path)}

    @property
    def documents(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for batch in read_documents(self.curate.path) for row in batch.to_pylist()}


@pytest.fixture
def make_text() -> Callable[..., str]:
    return prose


@pytest.fixture
def curate(tmp_path: Path) -> Callable[..., Curated]:
    """curate(sources, validation=(), seed=1, held_out_fraction=..., **curate_fields) -> Curated."""
    count = 0

    def run(
        sources: Any,
        validation: Any = (),
        seed: int = 1,
        corpus: Any = None,
        execution: Execution | None = None,
        **fields: Any,
    ) -> Curated:
        nonlocal count
        count += 1
        recipe = Recipe.model_validate(
            {
                "name": "test",
                "seed": seed,
                "corpus": {"sources": sources, "validation": validation, **(corpus or {})},
                "curate": fields,
                "train": {"steps": 1},
            }
        )
        folder = RunFolder.for_recipe(tmp_path / f"run{count}", recipe)
        folder.write_recipe(recipe)
        outputs: dict[str, StageOutput] = {}
        events = EventLog(folder.events_path)
        for stage in (COLLECT, SCORE, COMPARE, CURATE):
            outputs[stage.name] = run_stage(stage, folder, recipe, outputs, events, lambda: None, {}, execution)
        events.close()
        folder.write_index({name: output.path.name for name, output in outputs.items()})
        return Curated(folder, outputs["collect"], outputs["compare"], outputs["curate"])

    return run
