"""The training loop and the `train` stage around it.

resume from the newest sound checkpoint, or begin at step 0
for each step:   batch(step) -> losses -> gradients -> optimizer      (engine.py)
                 record; now and then validate, sample, checkpoint
write the model folder
"""

import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seedbed.errors import Interrupted, SeedbedError
from seedbed.evaluate.bits import score_split
from seedbed.files import write_json
from seedbed.generate.engine import sample_text
from seedbed.model.arithmetic import count_parameters, training_flops_per_token
from seedbed.model.language_model import LanguageModel
from seedbed.run.machine import cache_dir, measured_peak
from seedbed.run.stages import CHECKPOINTS, StageContext
from seedbed.tokens.tokenizer import Tokenizer
from seedbed.train.checkpoint import Checkpoint, load_newest, save_checkpoint
from seedbed.train.engine import Engine, Execution
from seedbed.train.history import History
from seedbed.train.measure import choose_device, model_config, open_data
from seedbed.train.parallel import Ranks, join_ranks
from seedbed.train.store import load_expert, load_weights, save_model, weights_of

EVENT_SECONDS = 0.25  # least time between two `step` events
VALIDATION_BYTES_PER_DOMAIN = 16_384  # in training a look costs a second or two; `evaluate` reads far more
SAMPLE_TOKENS = 60


class Training:
    """One training run, from wherever it stands to its end."""

    def __init__(self, context: StageContext, ranks: Ranks) -> None:
        self.context, self.ranks = context, ranks
        recipe = context.recipe
        train = recipe.train
        assert train.steps and train.threads and train.micro_batch_rows
        self.steps = train.steps
        self.tokenizer_path = context.inputs["tokenizer"].path / "tokenizer.json"
        self.tokenizer = Tokenizer.load(self.tokenizer_path)
        config = model_config(recipe, self.tokenizer.vocab_size)
        device = choose_device(train.device)
        execution = Execution(device, train.precision, train.compile == "on", train.threads, train.micro_batch_rows)
        engine: Engine | None = context.state.pop("engine", None)
        if engine is not None and (engine.config, engine.execution) == (config, execution) and ranks.world == 1:
            engine.restart(self.steps)
        else:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "inductor"))
            engine = Engine(config, train, self.steps, recipe.seed, execution, open_data(context), ranks)
        self.engine = engine
        self.history = History(self.steps)
        self.step = 0
        self.seconds = 0.0
        self.aside = 0.0  # of these seconds, those spent on looks and checkpoints
        self.rated = (0, 0.0)  # step and working seconds when the rate was last taken
        self.flops_per_step = training_flops_per_token(config) * recipe.train.batch_tokens  # type: ignore[operator]
        self.peak = measured_peak(device, train.precision, train.threads)
        self.expert_path = context.inputs["count"].path / "ngram.safetensors" if config.prior_order else None
        self.language_model: LanguageModel | None = None

    def run(self) -> None:
        self.resume()
        recipe = self.context.recipe
        look_every = max(1, round(recipe.train.validate_every_fraction * self.steps))
        last_saved = last_event = time.monotonic()
        began, at_start = time.monotonic(), self.seconds
        while self.step < self.steps:
            result = self.engine.step(self.step)
            if not result.loss < float("inf"):
                raise SeedbedError(
                    f"train: the loss of step {self.step} is {result.loss}: lower train.matrix_lr or "
                    "train.embedding_lr; the checkpoint before it is kept"
                )
            self.history.losses[self.step] = result.loss
            self.history.transformer_losses[self.step] = result.transformer_loss
            self.step += 1
            now = time.monotonic()
            self.seconds = at_start + now - began
            last = self.step == self.steps
            if self.step % self.history.every == 0 or last or now - last_event > EVENT_SECONDS:
                self.record(result.lr_fraction, keep=self.step % self.history.every == 0 or last)
                last_event = now
            if self.step % look_every == 0 and self.steps - self.step >= look_every / 2:
                self.look()
            if self.ranks.leads and now - last_saved > recipe.train.checkpoint_seconds and not last:
                self.save()
                last_saved = time.monotonic()
            self.aside += time.monotonic() - now
            try:
                self.context.check_stop()
            except Interrupted:
                if self.ranks.leads:
                    self.save()
                raise
        self.seconds = at_start + time.monotonic() - began

    def record(self, lr_fraction: float, keep: bool) -> None:
        tokens = self.step * self.context.recipe.train.batch_tokens  # type: ignore[operator]
        working = self.seconds - self.aside
        rate = (self.step - self.rated[0]) / max(1e-9, working - self.rated[1])
        self.rated = (self.step, working)
        entry = {
            "step": self.step,
            "tokens": tokens,
            "seconds": round(self.seconds, 3),
            "flops": self.step * self.flops_per_step,
            "loss": round(self.history.smoothed(self.step - 1), 5),
            "lr": round(lr_fraction * self.engine.optimizer.lr.matrix, 8),
            "tokens_per_second": round(rate * tokens / self.step, 1),
            "mfu": round(rate * self.flops_per_step / (self.peak * self.ranks.world), 4),
        }
        if keep:
            self.history.records.append(entry)
        if self.ranks.leads:
            self.context.emit("step", steps=self.steps, **entry)

    def look(self) -> None:
        """Validate and sample: for the eye, without influence on the weights."""
        if not self.ranks.leads:
            return
        context, recipe = self.context, self.context.recipe
        if self.language_model is None:
            expert = load_expert(self.expert_path) if self.expert_path else None
            self.language_model = LanguageModel(self.engine.model, expert)
        scores: dict[str, float] = {}
        bits = num_bytes = 0.0
        for split in sorted(p for p in context.inputs["tokenize"].path.iterdir() if p.is_dir() and p.name != "train"):
            for domain, score in score_split(
                self.language_model, split, VALIDATION_BYTES_PER_DOMAIN, tokenizer=self.tokenizer
            ).items():
                scores.setdefault(domain, round(score["model"], 4))
                bits, num_bytes = bits + score["model"] * score["bytes"], num_bytes + score["bytes"]
        if num_bytes:
            scores = {"all": round(bits / num_bytes, 4), **scores}
        if not all(map(math.isfinite, scores.values())):
            return  # the weights diverged: the next step's loss says so
        tokens = self.step * recipe.train.batch_tokens  # type: ignore[operator]
        entry = {"step": self.step, "tokens": tokens, "seconds": round(self.seconds, 3), "bits_per_byte": scores}
        self.history.validations.append({**entry, "flops": self.step * self.flops_per_step})
        context.emit("validation", **entry)
        evaluate = recipe.evaluate
        for prompt in evaluate.prompts[:1] or ("",):
            text = sample_text(
                self.language_model,
                self.tokenizer,
                prompt,
                SAMPLE_TOKENS,
                temperature=evaluate.temperature,
                top_k=evaluate.top_k,
                seed=recipe.seed,
            )
            self.history.samples.append({"step": self.step, "prompt": prompt, "text": text})
            context.emit("sample", step=self.step, prompt=prompt, text=text)
        self.engine.model.train()

    @property
    def checkpoints_path(self) -> Path:
        return self.context.path / CHECKPOINTS

    def save(self) -> None:
        tensors = {f"model/{name}": value for name, value in weights_of(self.engine.model).items()}
        tensors |= {f"optimizer/{name}": value for name, value in self.engine.optimizer.state().items()}
        tensors["losses"] = torch.from_numpy(self.history.losses[: self.step].copy())
        tensors["transformer_losses"] = torch.from_numpy(self.history.transformer_losses[: self.step].copy())
        progress = {"step": self.step, "seconds": self.seconds, "history": self.history.tables()}
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
        self.step, self.seconds = progress["step"], progress["seconds"]
        self.rated = (self.step, self.seconds)
        if self.ranks.leads:
            flops = self.step * self.flops_per_step
            self.context.emit("resume", step=self.step, seconds=self.seconds, flops=flops)


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
        "seconds": round(training.seconds, 2),
        "flops": training.steps * training.flops_per_step,
        "loss": round(history.smoothed(training.steps - 1), 4),
        "parameters": count.total,
        "matrix_parameters": count.matrices,
        "model": engine.config.to_json(),
    }
