"""Executors: the same files whoever maps the tasks, finished work never repeated, and a killed worker survived."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from seedbed.corpus.executors import Execution, close_executors, run_tasks
from seedbed.corpus.executors.local import interrupts_held_back
from seedbed.corpus.executors.slurm import Slurm
from seedbed.errors import InputError, Interrupted, SeedbedError
from seedbed.files import write_json


def shout(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the text in capitals, and count the times it was done."""
    (folder / f"{task['name']}.txt").write_text(task["name"].upper())
    with (folder / "log").open("a") as log:
        log.write(task["name"] + "\n")
    return {"length": len(task["name"])}


def die_once(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The first worker to get the task `b` is killed in the middle of it, as by the system when memory runs out."""
    first = folder / "first"
    if task["name"] == "b" and not first.exists():
        first.touch()
        (folder / "b.txt").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    return shout(task, folder)


def die_always(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


TASKS = [{"name": name} for name in ("a", "b", "c", "dd", "e")]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> str:
    """This module's name, importable by other processes."""
    folder, root = str(Path(__file__).parent), str(Path(__file__).parents[3])
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, root]))
    close_executors()  # workers of an earlier test know another path
    return Path(__file__).stem


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.txt"))}


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(tmp_path: Path, here: str, workers: int) -> None:
    heard: list[int] = []
    results = run_tasks(f"{here}:shout", TASKS, tmp_path, Execution(workers=workers), heard.append)
    assert [result["length"] for result in results] == [1, 1, 1, 2, 1]
    assert sorted(heard) == [0, 1, 2, 3, 4]
    assert files(tmp_path) == {f"{task['name']}.txt": task["name"].upper() for task in TASKS}


def test_what_has_a_mark_is_not_done_again_and_a_changed_task_is(tmp_path: Path, here: str) -> None:
    run_tasks(f"{here}:shout", TASKS[:3], tmp_path)
    run_tasks(f"{here}:shout", [*TASKS[:2], {"name": "other"}, *TASKS[3:]], tmp_path)
    assert (tmp_path / "log").read_text().split() == ["a", "b", "c", "other", "dd", "e"]


def test_what_a_task_wrote_is_on_the_disk_before_its_mark(
    tmp_path: Path, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr("seedbed.corpus.executors.tasks.sync", lambda path: synced.append(path.name))

    def write_mark(path: Path, value: Any) -> None:
        assert {"a.txt", "log"} <= set(synced) and synced[-1] == tmp_path.name
        write_json(path, value)

    monkeypatch.setattr("seedbed.corpus.executors.tasks.write_json", write_mark)
    run_tasks(f"{here}:shout", TASKS[:1], tmp_path)
    assert synced


def test_a_stop_between_tasks_keeps_what_is_done(tmp_path: Path, here: str) -> None:
    def stop() -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        run_tasks(f"{here}:shout", TASKS, tmp_path, check_stop=stop)
    assert (tmp_path / "log").read_text().split() == ["a"]
    run_tasks(f"{here}:shout", TASKS, tmp_path)
    assert (tmp_path / "log").read_text().split() == ["a", "b", "c", "dd", "e"]


def test_a_killed_worker_costs_the_task_in_hand(tmp_path: Path, here: str) -> None:
    run_tasks(f"{here}:die_once", TASKS, tmp_path, Execution(workers=2))
    assert files(tmp_path)["b.txt"] == "B"
    done = (tmp_path / "log").read_text().split()
    assert sorted(set(done)) == sorted(task["name"] for task in TASKS)
    assert len(done) <= len(TASKS) + 1  # the other worker's task in hand may be repeated


def test_a_task_that_kills_every_worker_is_named(tmp_path: Path, here: str) -> None:
    tasks = [{"name": "x", "what": "big.warc.gz"}, {"name": "y"}]
    with pytest.raises(SeedbedError, match=r"workers died over it .*--workers 1"):
        run_tasks(f"{here}:die_always", tasks, tmp_path, Execution(workers=2))


def test_an_error_in_a_worker_is_the_error(tmp_path: Path, here: str) -> None:
    with pytest.raises(KeyError, match="name"):
        run_tasks(f"{here}:shout", [{}, {}], tmp_path, Execution(workers=2))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999"])
def test_a_cluster_that_does_not_answer_is_named_at_once(tmp_path: Path, address: str) -> None:
    pytest.importorskip("ray")
    execution = Execution("ray", 1, {"address": address})
    with pytest.raises(InputError, match=f"nothing answers at {address} .*leave the address out"):
        run_tasks("builtins:dict", [{}], tmp_path, execution)


def test_ray_that_does_not_start_is_one_line(tmp_path: Path, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine its node may come too late; Ray then raises a plain Exception."""
    ray = pytest.importorskip("ray")

    def init(**where: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(SeedbedError, match=r"Ray did not start here \(The current node timed out.*try again"):
        run_tasks(f"{here}:shout", TASKS, tmp_path, Execution("ray", 2))


@pytest.mark.slow
def test_ray_gives_the_same_files(tmp_path: Path, here: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
    for name, function, execution in (("local", "shout", Execution()), ("ray", "die_once", Execution("ray", 2))):
        (tmp_path / name).mkdir()
        results = run_tasks(f"{here}:{function}", TASKS, tmp_path / name, execution)
        assert [result["length"] for result in results] == [1, 1, 1, 2, 1]
    assert files(tmp_path / "ray") == files(tmp_path / "local")


SBATCH = """
    #!{python}
    # A stand-in for Slurm: runs every element of the array as a process, and kills the first element of the first job.
    import os, pathlib, re, subprocess, sys
    state = pathlib.Path(os.environ["SLURM_STAND_IN"])
    script = pathlib.Path(sys.argv[-1])
    assert "--parsable" in sys.argv
    number = len(list(state.glob("job-*"))) + 1
    first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", script.read_text()).groups())
    (state / f"script-{{number}}").write_text(script.read_text())
    processes = []
    for element in range(first, last + 1):
        if number == 1 and element == 0:
            continue  # a node that died
        environment = dict(os.environ, SLURM_ARRAY_TASK_ID=str(element))
        processes.append(subprocess.Popen(["sh", str(script)], env=environment).pid)
    (state / f"job-{{number}}").write_text(" ".join(map(str, processes)))
    print(number)
"""
SQUEUE = """
    #!{python}
    import os, pathlib, sys
    state = pathlib.Path(os.environ["SLURM_STAND_IN"])
    def alive(process):
        try:
            return pathlib.Path(f"/proc/{{process}}/stat").read_text().split(")")[-1].split()[0] != "Z"
        except FileNotFoundError:
            return False
    for process in (state / f"job-{{sys.argv[-1]}}").read_text().split():
        if alive(process):
            print(process, "RUNNING")
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands that speak as Slurm's do, first on the path; gives the folder where they keep what they were asked."""
    state = tmp_path / "slurm"
    state.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", "\n    #!{python}\n")):
        path = state / name
        path.write_text(textwrap.dedent(text).lstrip().format(python=sys.executable))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", os.pathsep.join([str(state), os.environ["PATH"]]))
    monkeypatch.setenv("SLURM_STAND_IN", str(state))
    return state


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the stand-in for squeue looks at /proc")
def test_slurm_gives_the_same_files_and_submits_again_what_a_dead_node_held(
    tmp_path: Path, here: str, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(0.05))
    folder = tmp_path / "out"
    folder.mkdir()
    execution = Execution("slurm", 3, {"partition": "cpu"})
    results = run_tasks(f"{here}:shout", TASKS, folder, execution)
    assert [result["length"] for result in results] == [1, 1, 1, 2, 1]
    assert files(folder) == {f"{task['name']}.txt": task["name"].upper() for task in TASKS}
    first, second = (slurm / "script-1").read_text(), (slurm / "script-2").read_text()
    assert "#SBATCH --array=0-4%3" in first and "#SBATCH --partition=cpu" in first
    assert "#SBATCH --array=0-0%3" in second


def test_what_slurm_cannot_do_is_said(slurm: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: str) -> None:
    with pytest.raises(InputError, match="--executor-option array"):
        Slurm(1, {"array": "0-5"}, lambda: None)
    (slurm / "sbatch").write_text("#!/bin/sh\necho invalid partition >&2\nexit 1\n")
    with pytest.raises(SeedbedError, match=r"sbatch refused the job \(invalid partition\)"):
        run_tasks(f"{here}:shout", TASKS, tmp_path, Execution("slurm"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no sbatch"):
        Slurm(1, {}, lambda: None)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="POSIX signals")
def test_ctrl_c_does_not_reach_a_worker_that_is_still_importing() -> None:
    """It goes to the whole group of processes, and Python would die of it with a traceback on the user's terminal."""
    asks = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with interrupts_held_back():
        told = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert told.stdout == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
