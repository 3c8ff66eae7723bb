"""Keeps harm from the weights: judges a step between its gradients and its update.

    loss or gradient not finite                           the step is skipped
    loss or gradient norm far above what is usual         the step is skipped
    several such steps in a row: not these batches but    back to a checkpoint from before, and the steps that led
    the weights are at fault                              there are skipped as well; or an end, where that cannot help

A skipped step is not trained; its batch and its place in the learning rate's schedule pass with it. So batch(step) stays what it
is, and the weights are a function of recipe, data and the list of skipped steps. The list is on the disk before anything follows
from it: a run that is killed and started again passes over the same steps without looking at them twice.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.errors import SeedbedError
from seedbed.files import read_json, write_json
from seedbed.recipe.schema import TrainConfig
from seedbed.train.checkpoints import Checkpoints
from seedbed.train.engine import Outcome
from seedbed.train.history import History

RECORD_FILE = "interventions.json"
LEAST_STEPS = 32  # trained before anything counts as unusual, and before going back is tried
SIGMA_PER_MAD = 1.4826  # of a normal distribution (Rousseeuw & Croux 1993, eq. 1.3)
LEAST_RISE = 1.05  # a loss this little above the usual one is no spike, however steady the losses were
LEAST_NORM_RISE = 10.0  # likewise of gradient norms, which vary by factors


@dataclass(frozen=True)
class Trouble:
    """Why a step is not to be trained. `usual` and `limit` are of the loss or the norm that `cause` names."""

    cause: str
    value: float
    usual: float | None = None
    limit: float | None = None

    def __str__(self) -> str:
        if self.limit is None:
            return self.cause
        return f"{self.cause}: {self.value:.4g}, usual {self.usual:.4g}, limit {self.limit:.4g}"


@dataclass(frozen=True)
class Intervention:
    """What was done at a step. Because of it steps [skipped[0], skipped[1]) are not trained."""

    step: int
    action: str  # skip, rewind or stop
    cause: str
    skipped: tuple[int, int]
    loss: float | None  # None: not finite
    gradient_norm: float | None
    usual: float | None = None
    limit: float | None = None
    to_step: int | None = None  # of a rewind: the latest step it may go back to
    suspects: list[dict[str, Any]] = field(default_factory=list)  # documents, worst first; all are in the autopsy
    autopsy: str = ""


class Guard:
    """`examine(step, trouble)` looks into the batch, on all ranks; it gives the autopsy's file and its suspects.

    Rank 0 `writes` the record.
    """

    def __init__(
        self,
        train: TrainConfig,
        history: History,
        path: Path,
        writes: bool,
        examine: Callable[[int, Trouble], tuple[str, list[dict[str, Any]]]],
        checkpoints: Checkpoints,
        emit: Callable[..., None],
    ) -> None:
        self.train, self.history, self.path, self.writes = train, history, path, writes
        self.examine, self.checkpoints, self.emit = examine, checkpoints, emit
        self.interventions = read_record(path)
        self.skipped = {step for done in self.interventions for step in skipped_by(done)}

    def skips(self, step: int) -> bool:
        return step in self.skipped

    def judge(self, step: int, outcome: Outcome) -> Trouble | None:
        """What speaks against training on the batch of `step`, from it and the steps before alone."""
        if outcome.trouble:
            return Trouble(f"{outcome.trouble} is not finite", outcome.loss)
        if not self.train.spike_sigmas:
            return None
        window = slice(max(0, step - self.train.spike_window_steps), step)
        losses, norms = self.history.losses[window], self.history.gradient_norms[window]
        return spike("loss spike", losses, outcome.loss, self.train.spike_sigmas) or spike(
            "gradient spike", norms, outcome.gradient_norm, self.train.spike_sigmas, logarithmic=True
        )

    def intervene(self, step: int, outcome: Outcome, trouble: Trouble) -> int | None:
        """Decide, record and tell what is done about `step`, which is now skipped.

        Gives the latest step that training must go back to, or None to go on. Raises SeedbedError where neither can help.
        """
        autopsy, suspects = self.examine(step, trouble)
        bad = self.bad_in_a_row(step)
        action, first, to_step = "skip", step, None
        if len(bad) >= self.train.bad_steps_in_a_row:
            healthy = np.isfinite(self.history.losses[max(0, bad[0] - self.train.spike_window_steps) : bad[0]]).sum()
            rewinds = sum(done.action == "rewind" for done in self.interventions)
            if healthy < LEAST_STEPS or rewinds >= self.train.max_rewinds:
                action = "stop"
            else:
                action, to_step = "rewind", self.place_before(bad[0])
                first = to_step
                # those that trained on what is skipped from now on: gone before the record says so, lest a kill between
                # leave one to go on from
                self.checkpoints.forget_after(to_step)
        done = Intervention(
            step,
            action,
            trouble.cause,
            (first, step + 1),
            finite(outcome.loss),
            finite(outcome.gradient_norm),
            finite(trouble.usual),
            finite(trouble.limit),
            to_step,
            suspects,
            autopsy,
        )
        self.interventions.append(done)
        self.skipped.update(skipped_by(done))
        if self.writes:
            write_json(self.path, [asdict(item) for item in self.interventions])
            self.emit("intervention", message=sentence(done, trouble), **asdict(done))
        if action == "stop":
            raise SeedbedError(
                f"train: {trouble} at step {step}, the {ordinal(len(bad))} bad step in a row: lower train.matrix_lr or "
                f"train.embedding_lr, or look at the documents in {self.path.parent / autopsy}"
            )
        return to_step

    def bad_in_a_row(self, step: int) -> list[int]:
        """`step` and the bad steps straight before it, since training last went back."""
        bad = {done.step for done in self.interventions if done.action != "rewind"}
        begin = max((done.step for done in self.interventions if done.action == "rewind"), default=-1)
        first = step
        while first - 1 in bad and first - 1 > begin:
            first -= 1
        return list(range(first, step + 1))

    def place_before(self, first_bad: int) -> int:
        """Where training goes back to at the latest: some steps before the first bad one.

        Where the margin reaches back beyond the oldest checkpoint, the one nearest to it serves rather than step 0.
        """
        wanted = max(0, first_bad - self.train.rewind_margin_steps)
        kept = [step for step in self.checkpoints.steps() if step <= first_bad]
        return wanted if not kept or min(kept) <= wanted else min(kept)


def spike(cause: str, values: np.ndarray, value: float, sigmas: float, logarithmic: bool = False) -> Trouble | None:
    """Trouble when `value` is above all of the window's `values` and many robust standard deviations above their median.

    Median and median absolute deviation do not follow single outliers. Not finite values are of skipped steps.
    """
    # cheap for the steps that are no spikes, nearly all of them
    if len(values) < LEAST_STEPS or not value > np.fmax.reduce(values):
        return None
    known = values[np.isfinite(values)].astype(np.float64)
    if len(known) < LEAST_STEPS:
        return None
    if logarithmic:
        known = np.log(np.maximum(known, 1e-30))
    median = float(np.median(known))
    spread = sigmas * SIGMA_PER_MAD * float(np.median(np.abs(known - median)))
    if logarithmic:
        usual = float(np.exp(median))
        limit = usual * max(float(np.exp(spread)), LEAST_NORM_RISE)
    else:
        usual, limit = median, max(median + spread, median * LEAST_RISE)
    return Trouble(cause, value, usual, limit) if value > limit else None


def read_record(path: Path) -> list[Intervention]:
    if not path.is_file():
        return []
    try:
        return [Intervention(**{**entry, "skipped": tuple(entry["skipped"])}) for entry in read_json(path)]
    except (TypeError, KeyError) as error:
        raise SeedbedError(
            f"{path} is damaged ({error}): delete {path.parent} and run the same command again"
        ) from None


def skipped_by(done: Intervention) -> range:
    return range(*done.skipped)


def sentence(done: Intervention, trouble: Trouble) -> str:
    text = f"step {done.step}: {trouble}: "
    if done.action == "skip":
        text += "not trained on"
    elif done.action == "rewind":
        text += f"back to step {done.to_step} or before, and steps {done.skipped[0]} to {done.step} are not trained"
    else:
        text += "training ends"
    if done.suspects:
        worst = done.suspects[0]
        text += f"; the loss is highest in {worst['id']} of {worst['source']}"
    return text


def ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def finite(value: float | None) -> float | None:
    """JSON has no nan."""
    return None if value is None or not np.isfinite(value) else value
