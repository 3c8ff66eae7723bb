"""The training loop and the `train` stage around it.

resume from the newest sound checkpoint, or begin at step 0
for each step:   batch(step) -> losses -> gradients                   (engine.py)
                 guard: nothing harmful reaches the weights           (guard.py)
                 optimizer                                            (engine.py)
                 record (meters.py, history.py); now and then look (looks.py) and save (checkpoints/)
write the model folder
"""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from seedbed.errors import InputError, Interrupted
from seedbed.files import sha256_json, write_json
from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.run.machine import cache_dir, datasheet_peak, measured_peak
from seedbed.run.stages import CHECKPOINTS, StageContext
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.autopsy import examine
from seedbed.train.branch import find_checkpoint, keep_checkpoints, saved_steps
from seedbed.train.checkpoints import Checkpoints, Moments
from seedbed.train.engine import Engine
from seedbed.train.execution import execution_of
from seedbed.train.guard import RECORD_FILE, Guard
from seedbed.train.history import History
from seedbed.train.looks import Looks
from seedbed.train.measure import choose_device, model_config, open_data
from seedbed.train.meters import Advance, Meters, load_meters
from seedbed.train.norms import Norms
from seedbed.train.parallel import Ranks, join_ranks, lost_ranks
from seedbed.train.sharded_engine import engine_class
from seedbed.train.stages import STAGES
from seedbed.train.store import live_weights, save_model
from seedbed.train.watchdog import Watchdog, launcher_exit

EVENT_SECONDS = 0.25  # least time between two `step` events
TIMES_SECONDS = 5.0  # between two `time` events: what a kill leaves unaccounted at most


class Training:
    """One training run, from wherever it stands to its end."""

    def __init__(self, context: StageContext, ranks: Ranks) -> None:
        self.context, self.ranks = context, ranks
        recipe = context.recipe
        train = recipe.train
        assert train.steps and train.threads and train.micro_batch_rows and train.batch_tokens
        self.steps = train.steps
        self.tokenizer_path = context.inputs["tokenizer"].path / "tokenizer.json"
        tokenizer = Tokenizer.load(self.tokenizer_path)
        config = model_config(recipe, tokenizer.vocab_size)
        device = choose_device(train.device)
        execution = execution_of(train, device)
        engine: Engine | None = context.state.pop("engine", None)
        if engine is not None and (engine.config, engine.execution) == (config, execution) and ranks.world == 1:
            engine.restart(self.steps)
            engine.data = open_data(context)  # a mixture's schedule refers to the number of steps
        else:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "inductor"))
            engine = engine_class(train.parallel)(
                config, train, self.steps, recipe.seed, execution, open_data(context), ranks
            )
        self.engine = engine
        self.expert_path = context.inputs["count"].path / "ngram.safetensors" if config.prior_order else None
        self.history = History(self.steps)
        self.looks = Looks(context, tokenizer, self.expert_path, self.history)
        identity = {
            "model": sha256_json(config.to_json()),
            "data": sha256_json({name: output.digest for name, output in context.inputs.items()}),
            "recipe or data": STAGES["train"].key(recipe, context.inputs),
        }
        self.checkpoints = Checkpoints(
            context.path / CHECKPOINTS, identity, train.keep_checkpoints, train.keep_every_steps, ranks, context.emit
        )
        self.moments = Moments(ranks, train.checkpoint_seconds, train.keep_every_steps)
        self.guard = Guard(
            train,
            self.history,
            context.path / RECORD_FILE,
            ranks.leads,
            lambda step, trouble: examine(context.path, engine, step, str(trouble), ranks.leads),
            self.checkpoints,
            context.emit,
        )
        peak = measured_peak(device, execution.peak_dtype, train.threads) * ranks.world
        sheet = datasheet_peak(device, execution.peak_dtype)
        self.meters = Meters(
            self.tokens_before, training_flops_per_token(config), peak, sheet and sheet * ranks.world, device
        )
        self.norms = Norms(engine, self.steps)
        self.watchdog = Watchdog(context.path, ranks.rank, train.stuck_seconds, context.emit, launcher_exit())
        self.step = 0
        self.lr_fraction = 0.0

    def tokens_before(self, step: int) -> int:
        """Tokens of the batches that were trained before `step`."""
        loader = self.engine.data.loader
        skipped = sum(loader.plan.rows_at(number) for number in self.guard.skipped if number < step)
        return (loader.plan.rows_before(step) - skipped) * loader.context

    def run(self) -> None:
        mixture = self.engine.data.loader.mixture
        for line in mixture.notes if mixture and self.ranks.leads else ():
            self.context.emit("note", message=line)
        self.meters.restart(0, 0.0, 0.0)
        with self.meters.time("resume"):
            self.resume()
        with self.watchdog:
            self.train()
        self.moments.close()
        self.checkpoints.finish()
        self.history.settle(self.step, self.engine.sum_digests)
        self.meters.now()
        self.tell_times()

    def train(self) -> None:
        """All steps from here to the last."""
        meters, watchdog = self.meters, self.watchdog
        last_event = last_times = time.monotonic()
        while self.step < self.steps:
            with meters.step() as done:
                done.how = self.advance()
                done.waited = self.engine.waited
            watchdog.beat(self.step)
            if done.how == "back":
                continue
            now, last = time.monotonic(), self.step == self.steps
            keep = self.step % self.history.every == 0 or last
            if keep or now - last_event > EVENT_SECONDS:
                with meters.time("record"):
                    self.record(keep)
                last_event = now
            if self.looks.due(self.step):
                with meters.time("look"), watchdog.patient():
                    self.look()
            self.checkpoints.poll()
            asked = self.stop_asked()
            save, leave = self.moments.ask(self.step, asked is not None)
            if leave or (save and not last):
                with meters.time("checkpoint"), watchdog.patient():
                    self.save(wait=leave)
            if leave or now - last_times > TIMES_SECONDS:
                self.tell_times()
                last_times = now
            if leave:
                raise asked or Interrupted("stopped with another rank: run the same command again to go on")

    def advance(self) -> Advance:
        """Train the next step, pass it over, or go back to an earlier one."""
        step, guard, engine = self.step, self.guard, self.engine
        self.step += 1
        if guard.skips(step):
            return "passed"
        outcome = engine.gradients(step)
        trouble = guard.judge(step, outcome)
        if trouble is None:
            norms = self.norms.before() if self.norms.due(step) else None
            self.lr_fraction = engine.update(step, outcome)
            self.history.add(step, outcome, engine.rows_digest)
            if norms is not None:
                self.record_norms(self.norms.after(norms))
            return "trained"
        with self.meters.time("guard"), self.watchdog.patient():
            back_to = guard.intervene(step, outcome, trouble)
            engine.drop()
        if back_to is None:
            return "passed"
        self.go_back(back_to)
        return "back"

    def go_back(self, at_most: int) -> None:
        """To the newest checkpoint of step `at_most` or before, else to the beginning."""
        with self.meters.time("rewind"), self.watchdog.patient():
            self.engine.restart(self.steps)
            self.history.clear()
            self.norms = Norms(self.engine, self.steps)
            self.step = 0
            self.meters.restart(0, 0.0, 0.0)
            self.resume(at_most)

    def look(self) -> None:
        model = self.engine.whole_model()
        if model is not None and self.ranks.leads:
            self.looks.take(self.meters.standing(self.step), model)

    def tell_times(self) -> None:
        if self.ranks.leads:
            self.context.emit("time", **self.meters.times())

    def record_norms(self, groups: dict[str, dict[str, float]]) -> None:
        self.history.norms.append({"step": self.step, "groups": groups})
        if self.ranks.leads:
            self.context.emit("norms", step=self.step, groups=groups)

    def record(self, keep: bool) -> None:
        entry = {
            **self.meters.standing(self.step),
            "loss": round(self.history.smoothed(self.step - 1), 5),
            "lr": round(self.lr_fraction * self.engine.optimizer.lr.matrix, 8),
            "gradient_norm": self.history.last_norm(self.step - 1),
            **self.meters.rate(self.step),
            **load_meters(self.engine.expert_loads()),
            **self.meters.memory(),
        }
        if keep:
            by_source = self.engine.source_losses.take(self.engine.sum_losses)
            entry |= {"loss_by_source": by_source} if by_source else {}
            self.history.records.append(entry)
        if self.ranks.leads:
            self.context.emit("step", steps=self.steps, **entry)

    def stop_asked(self) -> Interrupted | None:
        try:
            self.context.check_stop()
        except Interrupted as asked:
            return asked
        return None

    def tensors(self) -> dict[str, Tensor]:
        """All that training goes on from, as it lives: a checkpoint is copied from these and loaded into them."""
        parts = {
            "model": live_weights(self.engine.model),
            "optimizer": self.engine.optimizer.state(),
            "history": self.history.tensors(),
        }
        return {f"{part}/{name}": tensor for part, held in parts.items() for name, tensor in held.items()}

    def progress(self) -> dict[str, Any]:
        """What goes with `tensors()` and is none."""
        return {
            "step": self.step,
            "rows": self.engine.data.loader.plan.rows_before(self.step),
            "seconds": self.meters.seconds,
            "useful_seconds": self.meters.useful,
            "history": self.history.tables(),
        }

    def save(self, wait: bool) -> None:
        self.history.settle(self.step, self.engine.sum_digests)
        self.checkpoints.save(self.step, self.tensors(), self.progress(), wait)

    def spread_weights(self) -> Path | None:
        """The checkpoint of the last step, where the weights may be spread over ranks."""
        if self.ranks.world == 1:
            return None
        self.save(wait=True)
        return self.checkpoints.path(self.step)

    def resume(self, at_most: int | None = None) -> None:
        tensors = self.tensors()
        progress = self.checkpoints.load_newest(tensors, at_most)
        start_from = self.context.recipe.train.start_from
        if progress is None and start_from is not None:
            progress = self.branch_off(find_checkpoint(start_from), tensors)
        self.checkpoints.require_room(tensors)
        if progress is None:
            return
        self.step = progress["step"]
        self.history.restore(progress["history"], self.step)
        self.meters.restart(self.step, progress["seconds"], progress["useful_seconds"])
        if self.ranks.leads:
            standing = self.meters.standing(self.step)
            self.context.emit("resume", **{name: standing[name] for name in ("step", "seconds", "flops")})

    def branch_off(self, path: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Take over the weights, state and history of another training's checkpoint; the horizon may differ."""
        self.context.emit("note", message=f"goes on from {path}")
        before = History(saved_steps(path))
        theirs = {f"history/{name}": tensor for name, tensor in before.tensors().items()}
        progress = self.checkpoints.load_from(path, ("model", "data"), {**tensors, **theirs})
        step, rows = progress["step"], self.engine.data.loader.plan.rows_before(progress["step"])
        if progress["rows"] != rows:
            raise InputError(
                f"train.start_from: {path} was reached after {progress['rows']} rows, and this recipe's batches before step "
                f"{step} hold {rows}: give its train.batch_tokens, or train.batch_warmup to change from there"
            )
        self.history.take_over(before, step)
        return progress


def run_train(context: StageContext) -> dict[str, Any]:
    with lost_ranks():
        training = Training(context, join_ranks())
        training.run()
        merged = training.spread_weights()
    if not training.ranks.leads:
        return {}
    engine, history = training.engine, training.history
    save_model(context.path, engine.model, training.tokenizer_path, training.expert_path, merged)
    np.save(context.path / "losses.npy", history.losses)
    np.save(context.path / "transformer_losses.npy", history.transformer_losses)
    np.save(context.path / "batches.npy", history.batches)
    write_json(context.path / "history.json", history.tables())
    keep_checkpoints(context.path, context.recipe.train.keep_every_steps)
    count = count_parameters(engine.config)
    return {
        "steps": training.steps,
        "steps_skipped": len(training.guard.skipped),
        "tokens": training.tokens_before(training.steps),
        "epochs": round(engine.data.loader.epochs(training.steps), 3),
        "sources": [source._asdict() for source in engine.data.loader.sources(training.steps)],
        "seconds": round(training.meters.seconds, 2),
        "flops": training.tokens_before(training.steps) * training.meters.flops_per_token,
        "loss": round(history.smoothed(training.steps - 1), 4),
        "parameters": count.total,
        "matrix_parameters": count.matrices,
        "model": engine.config.to_json(),
    }
