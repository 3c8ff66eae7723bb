"""A step that hangs is noticed, told with everyone's stacks, and under a launcher ended."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepared import Prepared

from seedbed.run.folder import RunFolder
from seedbed.train import watchdog as module
from seedbed.train.engine import Engine, Outcome
from seedbed.train.watchdog import Watchdog


class Told:
    """Collects events; `wait()` until there is one."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._some = threading.Event()

    def __call__(self, kind: str, **fields: Any) -> None:
        self.events.append({"kind": kind, **fields})
        self._some.set()

    def wait(self) -> None:
        assert self._some.wait(120)


def hang_in_here(told: Told) -> None:
    told.wait()


def test_a_hanging_step_is_told_with_the_stacks_and_training_may_go_on(tmp_path: Path) -> None:
    told = Told()
    with Watchdog(tmp_path, 0, 0.05, told, None, tick_seconds=0.01) as watchdog:
        for step in range(1, 5):
            watchdog.beat(step)
        hang_in_here(told)
        watchdog.beat(5)
    assert [(e["kind"], e["step"], e["cause"], e["action"]) for e in told.events] == [
        ("intervention", 4, "stuck", "none"),
        ("intervention", 5, "stuck", "went on"),
    ]
    stacks = (tmp_path / "stuck-rank-0.txt").read_text()
    assert "step 4 has not ended for" in stacks and "in hang_in_here" in stacks
    assert str(tmp_path / "stuck-rank-0.txt") in told.events[0]["message"]


def test_under_a_launcher_the_process_is_left_after_it_was_told(tmp_path: Path) -> None:
    told, left = Told(), threading.Event()
    order: list[str] = []

    def leave(status: int) -> None:
        order.append(f"left {status} after {len(told.events)}")
        left.set()

    with Watchdog(tmp_path, 0, 0.05, told, leave, tick_seconds=0.01) as watchdog:
        for step in range(1, 5):
            watchdog.beat(step)
        assert left.wait(120)
    assert order[0] == "left 1 after 1" and told.events[0]["action"] == "restart"


def test_first_steps_and_what_is_long_by_nature_have_time(tmp_path: Path) -> None:
    watchdog = Watchdog(tmp_path, 0, 60.0, Told(), None)
    assert watchdog.limit() == module.UNUSUAL_SECONDS
    watchdog.durations.extend([4.0, 5.0, 600.0])
    assert watchdog.limit() == 20 * 5.0
    watchdog.durations.extend([0.1] * 20)
    assert watchdog.limit() == 60.0
    with watchdog.patient():
        assert watchdog.limit() == module.UNUSUAL_SECONDS
    assert watchdog.limit() == 60.0


def test_a_hang_in_training_is_in_the_log(prepare: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare({"train.stuck_seconds": 0.05})
    told = Told()
    plain, plain_emit = Engine.gradients, Watchdog._tell

    def gradients(self: Engine, step: int) -> Outcome:
        if step == 8:
            told.wait()
        return plain(self, step)

    def tell(self: Watchdog, action: str, message: str) -> None:
        plain_emit(self, action, message)
        told("told")

    monkeypatch.setattr(Engine, "gradients", gradients)
    monkeypatch.setattr(Watchdog, "_tell", tell)
    monkeypatch.setattr(module, "USUAL_STEPS", 0.0)
    path = prepared.train("run")
    stuck = [event for event in prepared.of_kind("intervention") if event["cause"] == "stuck"]
    assert stuck[0]["action"] == "none" and "stacks in" in stuck[0]["message"]
    assert "in gradients" in (path / "stuck-rank-0.txt").read_text()
    assert np.isfinite(np.load(path / "losses.npy")).all()  # it went on by itself


HANGS_ONCE = """
import sys, time
from pathlib import Path
from seedbed.cli import main
from seedbed.train import watchdog
from seedbed.train.engine import Engine

watchdog.USUAL_STEPS = 0.0
plain, mark = Engine.gradients, Path(sys.argv.pop(1))

def gradients(self, step):
    if self.ranks.rank == 1 and step == 8 and not mark.exists():
        mark.touch()
        time.sleep(3600)
    return plain(self, step)

Engine.gradients = gradients
sys.argv[0] = "seedbed"
main()
"""


@pytest.mark.slow
def test_a_rank_that_hangs_is_started_again_by_the_launcher(
    small_corpus: Path, small_settings: Callable[..., list[str]], tmp_path: Path
) -> None:
    script, mark, out = tmp_path / "hangs_once.py", tmp_path / "hung", tmp_path / "run"
    script.write_text(HANGS_ONCE)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1", "--standalone"]
    arguments = [str(script), str(mark), "run", "--corpus", str(small_corpus), "--out", str(out)]
    for setting in small_settings({"train.stuck_seconds": 5, "train.checkpoint_seconds": 1e-9}):
        arguments += ["--set", setting]
    done = subprocess.run(
        [sys.executable, *launcher, *arguments], capture_output=True, text=True, timeout=280, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert mark.exists()
    events = RunFolder(out).events()
    stuck = [event for event in events if event["kind"] == "intervention"]
    assert [event["action"] for event in stuck] == ["restart"] and stuck[0]["step"] == 8
    assert [event["status"] for event in events if event["kind"] == "run_end"] == ["done"]
    assert np.isfinite(np.load(next((out / "stages").glob("train-*")) / "losses.npy")).all()
