"""The training loop and the `train` stage around it.

resume from the newest sound checkpoint, or begin at step 0
for each step:   batch(step) -> losses -> gradients -> optimizer      (engine.py)
                 record (meters.py, history.py); now and then look (looks.py) and save (checkpoint.py)
write the model folder
"""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seedbed.errors import Interrupted, SeedbedError
from seedbed.files import write_json
from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.run.machine import cache_dir, measured_peak
from seedbed.run.stages import CHECKPOINTS, StageContext
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.checkpoint import Checkpoint, load_newest, save_checkpoint
from seedbed.train.engine import Engine, Execution
from seedbed.train.history import History
from seedbed.train.looks import Looks
from seedbed.train.measure import choose_device, model_config, open_data
from seedbed.train.meters import Meters
from seedbed.train.parallel import Ranks, join_ranks
from seedbed.train.store import load_weights, save_model, weights_of

EVENT_SECONDS = 0.25  # least time between two `step` events


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
        execution = Execution(device, train.precision, train.compile == "on", train.threads, train.micro_batch_rows)
        engine: Engine | None = context.state.pop("engine", None)
        if engine is not None and (engine.config, engine.execution) == (config, execution) and ranks.world == 1:
            engine.restart(self.steps)
        else:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "inductor"))
            engine = Engine(config, train, self.steps, recipe.seed, execution, open_data(context), ranks)
        self.engine = engine
        self.expert_path = context.inputs["count"].path / "ngram.safetensors" if config.prior_order else None
        self.history = History(self.steps)
        self.looks = Looks(context, engine.model, tokenizer, self.expert_path, self.history)
        flops_per_step = training_flops_per_token(config) * train.batch_tokens
        peak = measured_peak(device, train.precision, train.threads) * ranks.world
        self.meters = Meters(train.batch_tokens, flops_per_step, peak)
        self.step = 0

    def run(self) -> None:
        meters = self.meters
        meters.restart(0, 0.0)
        self.resume()
        last_saved = last_event = time.monotonic()
        while self.step < self.steps:
            outcome = self.engine.gradients(self.step)
            if not outcome.finite:
                raise SeedbedError(
                    f"train: {outcome.trouble} of step {self.step} is not finite: lower train.matrix_lr or "
                    "train.embedding_lr; the checkpoint before it is kept"
                )
            lr_fraction = self.engine.update(self.step, outcome)
            self.history.add(self.step, outcome.loss, outcome.transformer_loss)
            self.step += 1
            meters.step_done()
            now, last = time.monotonic(), self.step == self.steps
            keep = self.step % self.history.every == 0 or last
            if keep or now - last_event > EVENT_SECONDS:
                with meters.time("record"):
                    self.record(lr_fraction, keep)
                last_event = now
            if self.ranks.leads and self.looks.due(self.step):
                with meters.time("look"):
                    self.looks.take(meters.standing(self.step))
            if self.ranks.leads and now - last_saved > self.context.recipe.train.checkpoint_seconds and not last:
                with meters.time("checkpoint"):
                    self.save()
                last_saved = time.monotonic()
            try:
                self.context.check_stop()
            except Interrupted:
                if self.ranks.leads:
                    self.save()
                raise
        meters.step_done()

    def record(self, lr_fraction: float, keep: bool) -> None:
        entry = {
            **self.meters.standing(self.step),
            "loss": round(self.history.smoothed(self.step - 1), 5),
            "lr": round(lr_fraction * self.engine.optimizer.lr.matrix, 8),
            **self.meters.rate(self.step),
        }
        if keep:
            self.history.records.append(entry)
        if self.ranks.leads:
            self.context.emit("step", steps=self.steps, **entry)

    @property
    def checkpoints_path(self) -> Path:
        return self.context.path / CHECKPOINTS

    def save(self) -> None:
        tensors = {f"model/{name}": value for name, value in weights_of(self.engine.model).items()}
        tensors |= {f"optimizer/{name}": value for name, value in self.engine.optimizer.state().items()}
        tensors["losses"] = torch.from_numpy(self.history.losses[: self.step].copy())
        tensors["transformer_losses"] = torch.from_numpy(self.history.transformer_losses[: self.step].copy())
        progress = {"step": self.step, "seconds": self.meters.seconds, "history": self.history.tables()}
        keep = self.context.recipe.train.keep_checkpoints
        save_checkpoint(self.checkpoints_path, self.step, Checkpoint(tensors, progress), keep)

    def resume(self) -> None:
        checkpoint, damaged = load_newest(self.checkpoints_path)
        for line in damaged:
            self.context.emit("note", message=line)
        if checkpoint is None:
            return
        tensors, progress = checkpoint.tensors, checkpoint.progress
        load_weights(self.engine.model, {n[6:]: v for n, v in tensors.items() if n.startswith("model/")})
        self.engine.optimizer.load_state({n[10:]: v for n, v in tensors.items() if n.startswith("optimizer/")})
        self.history.restore(progress["history"], tensors["losses"], tensors["transformer_losses"])
        self.step = progress["step"]
        self.meters.restart(self.step, progress["seconds"])
        if self.ranks.leads:
            standing = self.meters.standing(self.step)
            self.context.emit("resume", **{name: standing[name] for name in ("step", "seconds", "flops")})


def run_train(context: StageContext) -> dict[str, Any]:
    training = Training(context, join_ranks())
    training.run()
    if not training.ranks.leads:
        return {}
    engine, history = training.engine, training.history
    save_model(context.path, engine.model, training.tokenizer_path, training.expert_path)
    np.save(context.path / "losses.npy", history.losses)
    np.save(context.path / "transformer_losses.npy", history.transformer_losses)
    write_json(context.path / "history.json", history.tables())
    count = count_parameters(engine.config)
    return {
        "steps": training.steps,
        "tokens": training.steps * context.recipe.train.batch_tokens,  # type: ignore[operator]
        "epochs": round(engine.data.loader.epochs(training.steps), 3),
        "seconds": round(training.meters.seconds, 2),
        "flops": training.steps * training.meters.flops_per_step,
        "loss": round(history.smoothed(training.steps - 1), 4),
        "parameters": count.total,
        "matrix_parameters": count.matrices,
        "model": engine.config.to_json(),
    }
