"""Showing a run as it goes, on stderr only: a live table on a terminal, plain lines elsewhere."""

import atexit
import os
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Protocol

from seedbed.quantities import duration, printable
from seedbed.recipe.schema import Recipe
from seedbed.run.board import Board, StageView, scores_line, step_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PLAIN_SECONDS = 10.0  # between two lines on the same stage's progress


class ProgressListener(Protocol):
    def __call__(self, event: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class PlainProgress:
    """Log lines at a bounded rate, for pipes, files, CI and `--json`."""

    def __init__(self, recipe: Recipe, stream: IO[str] | None = None) -> None:
        self._board = Board(recipe)
        self._stream = stream or sys.stderr
        self._next: dict[str, float] = {}

    def __call__(self, event: dict[str, Any]) -> None:
        board = self._board
        board.update(event)
        kind, name = event["kind"], event.get("stage", "")
        if kind == "run_start":
            self._write(f"run of recipe {board.recipe.name}")
        elif kind == "stage_start":
            self._next[name] = event["time"] + PLAIN_SECONDS / 5
            self._write(f"{name}: started")
        elif kind == "stage_cached":
            self._write(f"{name}: kept from before")
        elif kind == "stage_end":
            self._write(f"{name}: done in {event['seconds']:.1f} s  {board.stages[name].outcome}".rstrip())
        elif kind in ("progress", "step") and event["time"] >= self._next.get(name, 0.0):
            self._next[name] = event["time"] + PLAIN_SECONDS
            self._write(f"{name}: {self._advance(name, event)}")
        elif kind == "validation":
            self._write(f"{name}: step {event['step']}: {scores_line(board.validation)}")
        elif kind == "sample":
            self._write(f"{name}: step {event['step']} writes: {printable(event['prompt'] + event['text'])!r}")
        elif kind == "resume":
            self._write(f"{name}: continues from step {event['step']}")
        elif kind in ("note", "intervention"):
            self._write(f"{name}: {event['message']}" if name else event["message"])
        elif kind == "run_end":
            self._write(f"{event['status']} in {duration(event['seconds'])}  {board.cost}".rstrip())

    def _advance(self, name: str, event: dict[str, Any]) -> str:
        board, stage = self._board, self._board.stages[name]
        parts = [stage.amount()]
        left = stage.seconds_left()
        if left is not None:
            parts.append(f"{duration(left)} left")
        if event["kind"] == "step":
            parts.append(step_line(event))
        elif stage.pace():
            parts.append(stage.pace())
        if name == "curate" and board.verdicts():
            parts.append(board.verdicts())
        if board.cost and event["kind"] == "step":
            parts.append(board.cost)
        return "  ".join(parts)

    def _write(self, line: str) -> None:
        print(time.strftime("%H:%M:%S"), line, file=self._stream, flush=True)

    def close(self) -> None:
        pass


class TerminalProgress:
    """A live table of the stages, drawn once a second. Samples and notes scroll by above it."""

    def __init__(
        self, recipe: Recipe, console: "Console | None" = None, clock: Callable[[], float] = time.time
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self._board = Board(recipe)
        self._clock = clock
        self._console = console or Console(stderr=True)
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=1,
            redirect_stdout=False,
            transient=False,
        )
        self._live.start()
        atexit.register(self.close)  # the cursor comes back however the program ends

    def __call__(self, event: dict[str, Any]) -> None:
        self._board.update(event)
        kind = event["kind"]
        if kind == "sample":
            self._print_sample(event)
        elif kind in ("note", "intervention"):
            self._say(printable(event["message"]))
        elif kind == "resume":
            self._say(f"continues from step {event['step']}")
        elif kind == "run_end":
            self.close()

    def _say(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text(f"  {line}", style="dim"))  # a Text: a style on print would dim the live table too

    def _print_sample(self, event: dict[str, Any]) -> None:
        from rich.text import Text

        text = Text(f"  step {event['step']}  ", style="dim")
        text.append(printable(event["prompt"]), style="bold")
        text.append(printable(event["text"]), style="not dim")
        self._console.print(text)

    def close(self) -> None:
        atexit.unregister(self.close)
        self._live.stop()

    def render(self) -> "RenderableType":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        board, now = self._board, self._clock()
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=1)
        table.add_column(min_width=10)
        table.add_column(width=22 if self._console.width >= 70 else 8)  # a phone's terminal has 40: numbers before bars
        table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)  # what is left of the width
        for name, stage in board.stages.items():
            table.add_row(*self._row(name, stage, now))
        lines: list[RenderableType] = [table]
        if board.stages.get("curate", StageView()).state == "running":
            lines += [
                Text(f"    refused: {printable(reason)}", style="yellow", no_wrap=True, overflow="ellipsis")
                for reason in board.reasons
            ]
        if board.validation:
            lines.append(Text("  " + scores_line(board.validation), style="green", no_wrap=True, overflow="ellipsis"))
        spent = [duration(now - board.started)] if board.started else []
        lines.append(
            Text("  " + "  ".join([*spent, board.cost]).rstrip(), style="dim", no_wrap=True, overflow="ellipsis")
        )
        return Group(*lines)

    def _row(self, name: str, stage: StageView, now: float) -> tuple["RenderableType", ...]:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        board = self._board
        if stage.state == "waiting":
            return Text("·", style="dim"), Text(name, style="dim"), "", ""
        if stage.state == "kept":
            return Text("=", style="green"), Text(name), "", Text("kept from before", style="dim")
        if stage.state == "done":
            seconds = Text(f"{stage.seconds:.1f} s", style="dim")
            return Text("✓", style="green"), Text(name), seconds, Text(printable(stage.outcome), style="dim")
        parts = [stage.amount()] if stage.total else []
        left = stage.seconds_left()
        if left is not None:
            parts.append(f"{duration(left)} left")
        if name == "train" and board.step:
            parts.append(step_line(board.step))
        elif stage.pace():
            parts.append(stage.pace())
        if name == "curate" and board.verdicts():
            parts.append(board.verdicts())
        bar: RenderableType = Text(duration(now - stage.started), style="dim")
        if stage.total:
            bar = ProgressBar(total=stage.total, completed=stage.done)
        return Text("▸", style="cyan"), Text(name, style="bold"), bar, Text("  ".join(parts))


def make_progress(json: bool, recipe: Recipe) -> ProgressListener:
    """The live table where stderr is a terminal, plain lines under `--json`, NO_COLOR, CI or a pipe."""
    plain = json or not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("CI")
    if plain or os.environ.get("TERM") == "dumb":
        return PlainProgress(recipe)
    return TerminalProgress(recipe)
