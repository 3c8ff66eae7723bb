"""A run prepared up to training, for tests that train on it again and again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seedbed.errors import Interrupted
from seedbed.files import sha256_file
from seedbed.recipe.schema import Recipe
from seedbed.run.events import EventLog
from seedbed.run.pipeline import load_stage
from seedbed.run.stages import StageContext
from seedbed.train.loop import run_train

Event = dict[str, Any]


@dataclass
class Prepared:
    """A run whose data stages and measurement are finished; `context()` is a fresh `train` stage on them."""

    recipe: Recipe
    outputs: dict[str, Any]
    root: Path
    events: list[Event]

    def context(self, name: str, recipe: Recipe | None = None, check_stop: Callable[[], None] = lambda: None):  # type: ignore[no-untyped-def]
        path = self.root / name
        path.mkdir(exist_ok=True)
        inputs = {key: self.outputs[key] for key in load_stage("train").inputs}
        return StageContext(
            "train", recipe or self.recipe, path, inputs, EventLog(None, (self.events.append,)), check_stop
        )

    def train(self, name: str, recipe: Recipe | None = None, stop_after: int | None = None) -> Path:
        """Train in folder `name`; with `stop_after` as if Ctrl-C came in the step of that number."""
        calls = 0

        def check_stop() -> None:
            nonlocal calls
            calls += 1
            if calls == stop_after:
                raise Interrupted("stopped")

        context = self.context(name, recipe, check_stop)
        if stop_after is None:
            run_train(context)
        else:
            with pytest.raises(Interrupted):
                run_train(context)
        return context.path

    def of_kind(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["kind"] == kind]


def assert_same_model(one: Path, other: Path) -> None:
    for name in ("losses.npy", "transformer_losses.npy", "batches.npy", "model.safetensors"):
        assert sha256_file(one / name) == sha256_file(other / name), name
