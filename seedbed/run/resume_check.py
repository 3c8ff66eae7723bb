"""Is a run resumed what it would have been unbroken? Its training is done again, killed at random moments, and compared.

    scratch folder beside the run
        unbroken/   trained in one go
        chain-1/    killed, gone on with, killed again, ... to its end; a next chain where kills are left
        ranks/      killed on one rank, on several, on one again, and ended on several

Data stages and recipe are the run's; only the number of steps is smaller, which shortens the schedule with it. A kill is SIGKILL
to every process of the training: nothing gets to tidy up.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.errors import SeedbedError
from seedbed.files import sha256_file, write_json
from seedbed.recipe.layout import AUTO, Layout, parse_layout
from seedbed.recipe.schema import Recipe
from seedbed.run.attempt import INPUTS_FILE
from seedbed.run.folder import RunFolder
from seedbed.run.stages import load_output, require_sound
from seedbed.run.workers import check_recipe

INPUTS = ("tokenizer", "tokenize", "count")
COMPARED = ("losses.npy", "transformer_losses.npy", "batches.npy", "model.safetensors")
CHECKPOINTS_PER_TRAINING = 20  # enough that a kill seldom throws everything back to the beginning
# Other ranks add the same gradients in another order, and the first steps of Adam and Muon turn rounding into full moves. Bounds
# for a mistake, not for rounding: docs/training.md has what was measured. A lost or repeated batch shows in the digests, exactly.
LOSS_TOLERANCE = {"float32": 0.01, "bfloat16": 0.03}  # of a step's loss, relative
WEIGHT_TOLERANCE = {"float32": 0.1, "bfloat16": 0.5}  # norm of the difference over the norm of the weights
POLL_SECONDS = 0.02
START_SECONDS = 600.0  # an attempt that has not begun to train by then has hung


@dataclass(frozen=True)
class Attempt:
    """One start of the training: on how many ranks, the step it went on from, and where it was killed; None: it ended."""

    chain: str
    ranks: int
    from_step: int
    killed_after_seconds: float | None
    killed_at_step: int | None


@dataclass
class ResumeCheck:
    """`problems`: one line per difference, empty where resume is exact."""

    steps: int
    attempts: list[Attempt] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    chains: int = 0
    weights: int = 0
    rows: int = 0
    documents: int = 0
    ranks: int = 1
    loss_tolerance: float = LOSS_TOLERANCE["float32"]
    weight_tolerance: float = WEIGHT_TOLERANCE["float32"]
    loss_difference: float | None = None  # on other ranks, the greatest relative one of any step
    weight_difference: float | None = None
    not_checked: str = ""
    kept: str = ""  # the scratch folder, where something differed

    @property
    def kills(self) -> int:
        return sum(attempt.killed_after_seconds is not None for attempt in self.attempts)

    def to_json(self) -> dict[str, Any]:
        return {"resumes_exactly": not self.problems, "kills": self.kills, **asdict(self)}


def check_resume(
    run: RunFolder,
    kills: int = 6,
    steps: int = 100,
    ranks: int = 2,
    layout: str = AUTO,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> ResumeCheck:
    """Train `steps` steps of the run again as the module says. Raises InputError where the run cannot be trained again."""
    recipe = run.recipe()
    inputs = {name: run.stage_path(name) for name in INPUTS}
    run.stage_path("measure")  # the recipe is complete only then
    chosen = Layout(dp=ranks) if layout == AUTO else parse_layout(layout)
    check_recipe(chosen, recipe, ranks)
    for path in inputs.values():
        output = load_output(path)
        assert output is not None
        require_sound(output, {})
    rounding = "float32" if recipe.train.precision == "float32" else "bfloat16"
    result = ResumeCheck(
        steps, ranks=ranks, loss_tolerance=LOSS_TOLERANCE[rounding], weight_tolerance=WEIGHT_TOLERANCE[rounding]
    )
    scratch = Path(tempfile.mkdtemp(prefix=f"{run.path.resolve().name}.resume-", dir=run.path.resolve().parent))
    try:
        proof = Proof(scratch, recipe, inputs, steps, random.Random(seed), tell, result)
        proof.unbroken()
        proof.on_one_layout(kills)
        result.not_checked = why_not(recipe, ranks, layout)
        if ranks > 1 and not result.not_checked:
            proof.on_other_ranks(ranks, layout)
    finally:
        if result.problems:
            result.kept = str(scratch)
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    return result


def why_not(recipe: Recipe, ranks: int, layout: str) -> str:
    """Why other ranks cannot be tried on this machine; "" where they can."""
    if ranks == 1:
        return "another number of ranks was not asked for"
    import torch

    gpus = torch.cuda.device_count() if recipe.train.device != "cpu" else 0
    return f"{ranks} ranks need as many GPUs, and {gpus} is here" if 0 < gpus < ranks else ""


@dataclass(frozen=True)
class Kill:
    """`seconds` after the first event of the kind `after`."""

    after: str
    seconds: float


class Proof:
    """The trainings in `scratch`, and what was found about them in `result`."""

    def __init__(
        self,
        scratch: Path,
        recipe: Recipe,
        inputs: dict[str, Path],
        steps: int,
        draw: random.Random,
        tell: Callable[[str], None],
        result: ResumeCheck,
    ) -> None:
        self.scratch, self.inputs, self.draw, self.tell, self.result = scratch, inputs, draw, tell, result
        changes = {"steps": steps, "parallel": AUTO, "checkpoint_seconds": 1.0, "keep_every_steps": None}
        self.recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})
        self.starting = self.training = 0.0  # seconds of the unbroken one: up to its first step, and from there

    def folder(self, name: str) -> RunFolder:
        """A fresh folder for the training."""
        folder = RunFolder(self.scratch / name)
        folder.stages_path.mkdir(parents=True)
        write_json(folder.path / INPUTS_FILE, {name: str(path.resolve()) for name, path in self.inputs.items()})
        return folder

    def unbroken(self) -> None:
        folder = self.folder("unbroken")
        self.tell("training unbroken")
        self.attempt(folder, 1)
        times = {event["kind"]: event["time"] for event in reversed(folder.events())}  # the first of each kind
        self.starting, self.training = times["step"] - times["stage_start"], times["stage_end"] - times["step"]
        self.expected = trained(folder)
        digests, self.result.rows, self.result.documents = batches_of(self.recipe, self.inputs)
        if not np.array_equal(np.load(self.expected / "batches.npy"), digests):
            self.result.problems.append("the unbroken training did not read the batches of its recipe")
        self.result.weights = sum(tensor.size for tensor in read_weights(self.expected).values())

    def on_one_layout(self, kills: int) -> None:
        """Chains of kills, each to its end; all must be the unbroken training bit for bit."""
        chains: list[RunFolder] = []
        left = kills
        while left or not chains:
            chains.append(self.folder(f"chain-{len(chains) + 1}"))
            while left and not self.attempt(chains[-1], 1, self.moment()):
                left -= 1
        for chain in chains:
            if not chain.index():
                self.attempt(chain, 1)
            for name in COMPARED:
                if sha256_file(trained(chain) / name) != sha256_file(self.expected / name):
                    self.result.problems.append(f"{chain.path.name}: {name} is not that of the unbroken training")
        self.result.chains = len(chains)

    def on_other_ranks(self, ranks: int, layout: str) -> None:
        """One chain that goes from one rank to `ranks` and back, twice. One that ends on one rank, before its kill, says
        nothing: another begins on `ranks`.
        """
        chain = self.folder("ranks")
        if self.attempt(chain, 1, self.early()):
            chain = self.folder("ranks-2")
        for number, layout_here in ((ranks, layout), (1, AUTO)):
            if self.attempt(chain, number, self.early(), layout_here):
                break
        if not chain.index():
            self.attempt(chain, ranks, None, layout)
        if not np.array_equal(np.load(trained(chain) / "batches.npy"), np.load(self.expected / "batches.npy")):
            self.result.problems.append("ranks: batches.npy is not that of the unbroken training")
        self.compare_nearly(trained(chain))

    def compare_nearly(self, found: Path) -> None:
        losses, expected = np.load(found / "losses.npy"), np.load(self.expected / "losses.npy")
        result = self.result
        result.loss_difference = float(np.max(np.abs(losses - expected) / np.abs(expected)))
        if not result.loss_difference <= result.loss_tolerance:
            result.problems.append(
                f"ranks: losses differ by {result.loss_difference:.2g}, more than {result.loss_tolerance:g}"
            )
        here, there = read_weights(found), read_weights(self.expected)
        gap = sum(float(np.square(here[name].astype(np.float64) - there[name]).sum()) for name in there) ** 0.5
        size = sum(float(np.square(value.astype(np.float64)).sum()) for value in there.values()) ** 0.5
        result.weight_difference = gap / size
        if not result.weight_difference <= result.weight_tolerance:
            result.problems.append(
                f"ranks: weights differ by {result.weight_difference:.2g} of their norm, more than {result.weight_tolerance:g}"
            )

    def early(self) -> "Kill":
        """Some time after an attempt's first step, which leaves something for the next."""
        return Kill("step", self.training * self.draw.uniform(0.1, 0.3))

    def moment(self) -> "Kill":
        """One in five while the training starts up, the others at any place of its first third: most go on several times."""
        if self.draw.random() < 0.2:
            return Kill("stage_start", self.starting * self.draw.random())
        return Kill("stage_start", self.starting + self.training * self.draw.uniform(0, 1 / 3))

    def attempt(self, folder: RunFolder, ranks: int, planned: "Kill | None" = None, layout: str = AUTO) -> bool:
        """Start the training, and let it end or kill it. Whether it ended."""
        train = self.recipe.train.model_copy(
            update={
                "parallel": layout,
                "checkpoint_seconds": max(1e-3, self.training / CHECKPOINTS_PER_TRAINING) if self.training else 1.0,
            }
        )
        folder.write_recipe(self.recipe.model_copy(update={"train": train}))
        seen = len(folder.events())
        children = start_ranks(folder.path, ranks)
        try:
            began = time.monotonic()
            if planned is not None:
                wait_for(children, folder, seen, planned.after)
            wait_seconds(children, None if planned is None else time.monotonic() + planned.seconds)
        finally:
            kill(children)
        ended = bool(folder.index())
        events = folder.events()[seen:]
        done = Attempt(
            folder.path.name,
            ranks,
            next((event["step"] for event in events if event["kind"] == "resume"), 0),
            None if ended else round(time.monotonic() - began, 2),
            None if ended else last_step(events),
        )
        self.result.attempts.append(done)
        self.tell(f"{done.chain}: from step {done.from_step} {'to the end' if ended else 'until it was killed'}")
        return ended


def last_step(events: list[dict[str, Any]]) -> int:
    """The last step that is known to have been trained."""
    return max((event["step"] for event in events if event["kind"] in ("step", "resume", "checkpoint")), default=0)


def start_ranks(path: Path, ranks: int) -> list[subprocess.Popen[bytes]]:
    """The processes of one training, in the environment that torchrun would give them; stderr goes to FOLDER/stderr-RANK.txt."""
    environment = {**os.environ, "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "10000")}
    if ranks > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    else:
        for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
            environment.pop(name, None)
    children = []
    for rank in range(ranks):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}
        with (path / f"stderr-{rank}.txt").open("wb") as stderr:
            children.append(
                subprocess.Popen(
                    [sys.executable, "-m", "seedbed.run.attempt", str(path)],
                    env=environment | own,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    start_new_session=True,  # Ctrl-C is for the one who checks; `kill` follows
                )
            )
    return children


def all_ended(children: list[subprocess.Popen[bytes]]) -> bool:
    """Whether all came to their ends. Raises SeedbedError where one failed."""
    states = [child.poll() for child in children]
    for rank, (child, state) in enumerate(zip(children, states, strict=True)):
        if state:
            lines = (Path(str(child.args[-1])) / f"stderr-{rank}.txt").read_text(errors="replace").splitlines()  # type: ignore[index]
            said = next((line for line in reversed(lines) if line.startswith("seedbed: ")), lines[-1] if lines else "")
            raise SeedbedError(f"the training ended with status {state}: {said.removeprefix('seedbed: ')}")
    return all(state is not None for state in states)


def wait_for(children: list[subprocess.Popen[bytes]], folder: RunFolder, seen: int, kind: str) -> None:
    """Wait for the next event of `kind` after the first `seen` ones."""
    deadline = time.monotonic() + START_SECONDS
    while not any(event["kind"] == kind for event in folder.events()[seen:]):
        if all_ended(children):
            break
        if time.monotonic() > deadline:
            raise SeedbedError(f"{folder.path}: the training did not begin within {START_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def wait_seconds(children: list[subprocess.Popen[bytes]], until: float | None) -> None:
    """Wait for the end of all, or `until` then."""
    while not all_ended(children) and (until is None or time.monotonic() < until):
        time.sleep(POLL_SECONDS)


def kill(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
    for child in children:
        child.wait()


def trained(folder: RunFolder) -> Path:
    return folder.stage_path("train")


def read_weights(path: Path) -> dict[str, np.ndarray]:
    from safetensors.torch import load_file

    return {name: tensor.float().numpy() for name, tensor in load_file(path / "model.safetensors").items()}


def batches_of(recipe: Recipe, inputs: dict[str, Path]) -> tuple[np.ndarray, int, int]:
    """What the recipe says each step reads: its digest [steps], and the number of rows and of documents in all."""
    from seedbed.run.events import EventLog
    from seedbed.run.stages import StageContext
    from seedbed.train.batch_digest import batch_digest
    from seedbed.train.measure import open_data

    outputs = {name: load_output(path) for name, path in inputs.items()}
    data = open_data(StageContext("train", recipe, Path(), outputs, EventLog(None)))  # type: ignore[arg-type]
    digests, rows, documents = [], 0, set()
    assert recipe.train.steps
    for step in range(recipe.train.steps):
        batch = data.rows(step, 0, data.loader.plan.rows_at(step))
        digests.append(batch_digest(batch.inputs_BT, 0))
        rows += len(batch.inputs_BT)
        documents |= {span.id for row in data.loader.documents(step) for span in row}
    return np.array(digests, np.int64), rows, len(documents)
