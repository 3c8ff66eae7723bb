"""The command itself: instant help, one object on stdout with --json, and a second run that has nothing to do."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HEAVY = ("torch", "numpy", "pyarrow", "pydantic", "plotly", "tokenizers", "safetensors")
PROBE = """
import sys
sys.argv = sys.argv[1:]
from seedbed.cli import main
try:
    main()
finally:
    print("IMPORTED", *[name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""


def seedbed(*arguments: str, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    """Run the command in a process that says at its end which heavy packages it imported."""
    probe = PROBE.format(heavy=HEAVY)
    return subprocess.run(
        [sys.executable, "-c", probe, "seedbed", *arguments], capture_output=True, text=True, timeout=timeout
    )


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    return set(done.stderr.splitlines()[-1].split()[1:])


def run_arguments(corpus: Path, out: Path, settings: list[str]) -> list[str]:
    return ["run", "--corpus", str(corpus), "--out", str(out), *[part for s in settings for part in ("--set", s)]]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["train", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = seedbed(*arguments)
    assert done.returncode == 0 and done.stdout
    own = {"pydantic"} if len(arguments) > 1 else set()  # typer reads a verb's options with it
    assert imported(done) <= own


@pytest.mark.parametrize("group", [[], ["plan"], ["corpus"], ["laws"]])
def test_a_list_of_commands_cuts_no_sentence(group: list[str]) -> None:
    done = seedbed(*group, "--help")
    assert done.stdout.startswith(f"Usage: {' '.join(['seedbed', *group])} ")
    commands = done.stdout.partition("Commands:")[2].splitlines()[1:]
    assert commands and all(line.endswith(".") and not line.endswith("...") for line in commands), commands


def test_an_empty_corpus_option_is_not_the_present_folder() -> None:
    done = seedbed("run", "--corpus", "", "--dry-run")
    assert done.returncode == 2 and "--corpus: empty" in done.stderr


def test_a_wrong_recipe_imports_no_torch() -> None:
    done = seedbed("run", "no-such-preset")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("seedbed: no-such-preset: no such preset or recipe file")
    assert "torch" not in imported(done)


def test_a_run_its_repetition_and_its_json(
    small_corpus: Path, small_settings: Callable[..., list[str]], tmp_path: Path
) -> None:
    arguments = run_arguments(small_corpus, tmp_path / "run", small_settings())
    first = seedbed(*arguments, "--json")
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["run"] == str(tmp_path / "run") and found["bits_per_byte"]["all"]["model"] > 0
    events = (tmp_path / "run" / "events.jsonl").read_bytes()

    for again in (seedbed(*arguments), seedbed("run", "--out", str(tmp_path / "run"))):
        assert again.returncode == 0, again.stderr
        assert "nothing to do" in again.stdout
        assert "torch" not in imported(again)
    assert (tmp_path / "run" / "events.jsonl").read_bytes() == events


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_training_ends_with_130_and_one_line(
    small_corpus: Path, small_settings: Callable[..., list[str]], tmp_path: Path, number: signal.Signals
) -> None:
    settings = small_settings({"train.steps": 100_000})
    command = [sys.executable, "-m", "seedbed", *run_arguments(small_corpus, tmp_path / "run", settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        events = tmp_path / "run" / "events.jsonl"
        while child.poll() is None and not (events.is_file() and b'"kind": "step"' in events.read_bytes()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.2)
        child.send_signal(number)
        shown, _ = child.communicate(timeout=120)
    assert child.returncode == 130, shown
    assert shown.splitlines()[-1] == f"seedbed: stopped by {number.name}: run the same command again to go on"
    assert "Traceback" not in shown
    assert list((tmp_path / "run" / "stages").glob("train-*.partial/checkpoints/step-*"))


def test_a_dry_run_says_what_would_be_done_and_touches_nothing(
    tmp_path: Path, small_corpus: Path, small_settings: Callable[..., list[str]]
) -> None:
    out = tmp_path / "run"
    arguments = run_arguments(small_corpus, out, small_settings())
    shown = seedbed(*arguments, "--dry-run")
    assert shown.returncode == 0 and not out.exists()
    assert "steps = 12" in shown.stdout and "# done   nothing" in shown.stdout
    assert "torch" not in imported(shown)
    assert seedbed("tokenize", *arguments[1:]).returncode == 0
    before = sorted(out.rglob("*"))
    found = json.loads(seedbed(*arguments, "--dry-run", "--json").stdout)
    done = [name for name, state in found["stages"].items() if state == "done"]
    assert done == ["collect", "score", "compare", "curate", "tokenizer", "tokenize"]
    assert found["recipe"]["train"]["steps"] == 12
    assert sorted(out.rglob("*")) == before
