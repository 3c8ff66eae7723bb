"""events.jsonl: one JSON object a line, append only, and the listeners that show them.

Every event has `time` (Unix seconds), `kind` and `stage`. The kinds and their fields:
    run_start       command, recipe, machine
    stage_start     key
    stage_cached    key
    progress        done, total, unit, and what the stage adds (rate, loss, ...): shown, not stored
    step            step, loss, lr, tokens, flops, seconds, tokens_per_second, ...: training, stored at a bounded rate
    validation      step, and one of SCORES: {domain: value}
    sample          step, prompt, text
    resume          step, flops: training continues from a checkpoint that had reached these
    checkpoint      step, bytes; waited_seconds (for the one before) and copy_seconds, which training stood still for;
                    write_seconds, beside which it went on
    cost            session, seconds, joules, energy, method, flops: what this process spent since its start
    time            spent, useful_seconds: this process's seconds of training by kind (train/meters.py)
    norms           step, groups: {group: {gradient, weight, update}}
    note            message: something a reader of the log should know
    intervention    step, cause, action, message, and what the guard adds (loss, skipped, suspects, autopsy)
    stage_end       key, seconds, summary
    run_end         seconds, status
"""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seedbed.errors import InputError

Listener = Callable[[dict[str, Any]], None]
# What a look at a model measures, by its objective, and how the unit is written.
SCORES = {"bits_per_byte": "bits/byte", "bits_per_masked_token": "bits/masked token"}
SHOWN_ONLY = frozenset({"progress"})


def scores_of(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Which of SCORES an entry holds, and its values by domain."""
    name = next(name for name in SCORES if name in entry)
    return name, entry[name]


class EventLog:
    def __init__(self, path: Path | None, listeners: tuple[Listener, ...] = (), clock: Callable[[], float] = time.time):
        self._listeners = listeners
        self._clock = clock
        self._lock = threading.RLock()  # a listener may emit in its turn, and the watchdog is a thread of its own
        self._file = None
        if path is not None:
            try:
                self._file = path.open("ab", buffering=0)
            except OSError as error:
                raise InputError(
                    f"{path} cannot be written ({error.strerror}): check the folder's permissions"
                ) from None
            if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
                self._file.write(b"\n")  # a line torn by a power cut must not swallow the next one

    def emit(self, kind: str, stage: str = "", **fields: Any) -> None:
        event = {"time": round(self._clock(), 3), "kind": kind, "stage": stage, **fields}
        with self._lock:
            if self._file is not None and kind not in SHOWN_ONLY:
                self._file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")
            for listener in self._listeners:
                listener(event)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
