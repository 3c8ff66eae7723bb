"""The run folder: its recipe, its lock, and where each thing lies.

RUN/request.json            the recipe as it was asked for
RUN/recipe.toml             the complete recipe
RUN/events.jsonl            everything that happened, append only
RUN/stages/NAME-KEY/        one finished stage, with stage.json: key, inputs, files and their SHA-256, summary
RUN/stages/NAME-KEY.partial the stage being worked on
RUN/run.json                the stages of the present recipe
RUN/report.html, receipt.json
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seedbed.errors import InputError
from seedbed.files import read_json, write_json, write_text
from seedbed.recipe.dump import dump_recipe, load_resolved
from seedbed.recipe.schema import Recipe


def begun(name: str) -> bool:
    """Whether a run that was killed before it wrote its recipe may have left this file."""
    return name in ("lock", "lock.holder", "stages", "request.json") or name.endswith(".partial")


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_path = path / "recipe.toml"
        self.request_path = path / "request.json"
        self.events_path = path / "events.jsonl"
        self.stages_path = path / "stages"
        self.index_path = path / "run.json"
        self.report_path = path / "report.html"
        self.receipt_path = path / "receipt.json"

    @classmethod
    def existing(cls, path: Path) -> "RunFolder":
        """The run folder at `path`, which must hold a recipe."""
        folder = cls(path)
        if not folder.recipe_path.is_file():
            raise InputError(
                f"{path} is not a run folder (it has no recipe.toml): give the folder a `seedbed run` made"
            )
        return folder

    @classmethod
    def for_recipe(cls, path: Path, recipe: Recipe) -> "RunFolder":
        """Make or open the folder for `recipe`. A folder of another recipe's name, or with foreign files, is refused."""
        folder = cls(path)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file, and --out needs a folder: choose another --out")
        held = folder.recipe_name()
        if held not in (None, recipe.name):
            raise InputError(f"{path} holds a run of recipe {held!r}, not {recipe.name!r}: choose another --out folder")
        if held is None and path.is_dir() and any(not begun(item.name) for item in path.iterdir()):
            raise InputError(f"{path} is not empty and is not a run folder: choose another --out folder")
        try:
            folder.stages_path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path} cannot be made ({error.strerror}): choose another --out folder") from None
        if not os.access(path, os.W_OK):
            raise InputError(f"{path} is read-only: choose another --out folder or change its permissions")
        return folder

    def recipe(self) -> Recipe:
        return load_resolved(self.recipe_path)

    def recipe_name(self) -> str | None:
        """Of the run held here, from what was asked for where recipe.toml was lost; None where there is no run."""
        if self.recipe_path.is_file():
            return self.recipe().name
        asked = read_json(self.request_path) if self.request_path.is_file() else None
        return asked["name"] if isinstance(asked, dict) and isinstance(asked.get("name"), str) else None

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the complete recipe unless the file already says the same."""
        text = dump_recipe(recipe)
        if not self.recipe_path.is_file() or self.recipe_path.read_text(encoding="utf-8") != text:
            write_text(self.recipe_path, text)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process. The operating system frees the lock however the process ends."""
        lock_path = self.path / "lock"
        holder_path = self.path / "lock.holder"
        lock = FileLock(lock_path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = holder_path.read_text() if holder_path.is_file() else "another process"
            raise InputError(
                f"{self.path} is in use by {holder}: wait for it, stop it, or choose another --out"
            ) from None
        try:
            holder_path.write_text(f"process {os.getpid()} since {time.strftime('%H:%M:%S')}")
            yield
        finally:
            holder_path.unlink(missing_ok=True)
            lock.release()

    def index(self) -> dict[str, str]:
        """Stage name -> folder name, for the finished stages of the present recipe."""
        return read_json(self.index_path)["stages"] if self.index_path.is_file() else {}

    def write_index(self, stages: dict[str, str]) -> None:
        if self.index() != stages:
            write_json(self.index_path, {"stages": stages})

    def stage_path(self, name: str) -> Path:
        """The finished folder of a stage of the present recipe."""
        folder = self.index().get(name)
        if folder is None or not (self.stages_path / folder / "stage.json").is_file():
            raise InputError(
                f"{self.path}: the stage {name!r} is not finished: run `seedbed run --out {self.path}` first"
            )
        return self.stages_path / folder

    def stage_summary(self, name: str) -> dict[str, Any]:
        return read_json(self.stage_path(name) / "stage.json")["summary"]

    def events(self) -> list[dict[str, Any]]:
        """Everything recorded so far; a line torn by a power cut is left out."""
        if not self.events_path.is_file():
            return []
        events = []
        for line in self.events_path.read_bytes().splitlines():
            try:
                events.append(json.loads(line))
            except (UnicodeDecodeError, json.JSONDecodeError):
                continue
        return events
