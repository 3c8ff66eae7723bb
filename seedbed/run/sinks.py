"""Sinks: listeners that hand a run's numbers on to TensorBoard, Weights & Biases or trackio; events.jsonl needs none of them.

A sink that fails on the way, for want of a network say, is dropped with one line: no run ends for it.
"""

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Protocol

from seedbed.errors import InputError
from seedbed.recipe.schema import Recipe

Event = dict[str, Any]


class Sink(Protocol):
    """Where numbers and texts go. `restart`: from here on steps are told again from `step` on."""

    def scalars(self, step: int, values: dict[str, float]) -> None: ...

    def text(self, step: int, name: str, text: str) -> None: ...

    def restart(self, step: int) -> None: ...

    def close(self) -> None: ...


def scalars_of(event: Event) -> dict[str, float]:
    """The numbers of an event by name; {} for a kind that has none to draw."""
    if event["kind"] == "step":
        values = {f"train/{name}": value for name, value in event.items() if name not in ("time", "step", "steps")}
        values |= {f"train/loss/{source}": value for source, value in event.get("loss_by_source", {}).items()}
    elif event["kind"] == "validation":
        values = {f"bits_per_byte/{domain}": value for domain, value in event["bits_per_byte"].items()}
    elif event["kind"] == "norms":
        groups = event["groups"].items()
        values = {f"norms/{group}/{kind}": value for group, norms in groups for kind, value in norms.items()}
    else:
        return {}
    return {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}


class SinkListener:
    """Hands the events of training to a sink until it fails."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name = name
        self.sink: Sink | None = sink

    def __call__(self, event: Event) -> None:
        if self.sink is None or "step" not in event:
            return
        step, kind = event["step"], event["kind"]
        try:
            if values := scalars_of(event):
                self.sink.scalars(step, values)
            elif kind == "resume":
                self.sink.restart(step)
            elif kind == "sample":
                self.sink.text(step, "sample", event["prompt"] + event["text"])
            elif kind == "intervention":
                self.sink.text(step, "intervention", event["message"])
        except Exception as error:
            self._drop(error)

    def close(self) -> None:
        try:
            if self.sink is not None:
                self.sink.close()
        except Exception as error:
            self._drop(error)

    def _drop(self, error: Exception) -> None:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        print(f"seedbed: sink {self.name} failed ({reason}): the run goes on without it", file=sys.stderr)
        self.sink = None


class TensorBoard:
    """Event files in RUN/tensorboard: `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._open: Callable[..., Any] = SummaryWriter
        self._folder = folder / "tensorboard"
        self._writer = self._open(str(self._folder))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        self._writer.add_text(name, text, step)

    def restart(self, step: int) -> None:
        self._writer.close()
        self._writer = self._open(str(self._folder), purge_step=step + 1)  # what was drawn of later steps is void

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A run of the project "seedbed"; WANDB_MODE=offline keeps it in RUN/wandb until `wandb sync`."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        import wandb

        values = recipe.model_dump(mode="json")
        self._run = wandb.init(project="seedbed", name=recipe.name, dir=str(folder), config=values)
        # a value among others: wandb's own step cannot go back, and training may
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._run.log({"step": step, **values})

    def text(self, step: int, name: str, text: str) -> None:
        self._run.log({"step": step, name: text})

    def restart(self, step: int) -> None:
        pass

    def close(self) -> None:
        self._run.finish()


class Trackio:
    """A run of the project "seedbed" on this machine, in RUN/trackio unless TRACKIO_DIR says otherwise: `trackio show`."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        os.environ.setdefault("TRACKIO_DIR", str((folder / "trackio").absolute()))  # read when it is imported
        with redirect_stdout(sys.stderr):  # stdout is the command's
            import trackio

            self._run = trackio.init(project="seedbed", name=recipe.name, config={"recipe": recipe.name})

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def text(self, step: int, name: str, text: str) -> None:
        self._run.log({name: text}, step=step)

    def restart(self, step: int) -> None:
        pass

    def close(self) -> None:
        with redirect_stdout(sys.stderr):
            self._run.finish()


OPENERS: dict[str, Callable[[Path, Recipe], Sink]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}


def open_sinks(folder: Path, recipe: Recipe) -> tuple[SinkListener, ...]:
    """The recipe's `train.sinks`. Raises InputError for one whose package is missing."""
    found = []
    for name in recipe.train.sinks:
        try:
            found.append(SinkListener(name, OPENERS[name](folder, recipe)))
        except ImportError:
            raise InputError(f"train.sinks: {name} is not installed: pip install 'seedbed[{name}]'") from None
        except Exception as error:  # no network, no key: known before anything is spent
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputError(f"train.sinks: {name} cannot be used ({reason}): take it out or set it up") from None
    return tuple(found)
