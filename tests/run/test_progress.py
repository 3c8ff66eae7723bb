"""What a watcher sees: the picture of the run, plain lines and the live table."""

import io
from typing import Any

import pytest
from rich.console import Console

from seedbed.files import read_json
from seedbed.recipe.resolve import load_recipe
from seedbed.run.board import Board, StageView
from seedbed.run.folder import RunFolder
from seedbed.run.outcome import outcome
from seedbed.run.progress import PlainProgress, TerminalProgress, make_progress

RECIPE = load_recipe()
STEP = {
    "steps": 100,
    "loss": 2.5,
    "lr": 0.01,
    "tokens": 1024,
    "flops": 1e9,
    "seconds": 1.0,
    "tokens_per_second": 12_345.6,
    "mfu": 0.61,
}


def event(time: float, kind: str, stage: str = "", **fields: Any) -> dict[str, Any]:
    return {"time": time, "kind": kind, "stage": stage, **fields}


COLLECTED = {
    "documents": 100, "bytes": 12_345_678, "quarantined": 4,
    "sources": {"a": {"rules": {"binary": 1}}, "b": {"rules": {"broken_json": 2, "binary": 1}}},
}  # fmt: skip
STORY = [
    event(0, "run_start", command="seedbed run", recipe="first-light", machine={}),
    event(0, "stage_cached", "score", key="k"),
    event(0, "stage_start", "collect", key="k"),
    event(1, "stage_end", "collect", key="k", seconds=1.0, summary=COLLECTED),
    event(1, "stage_start", "curate", key="k"),
    event(4, "progress", "curate", done=50, total=100, unit="documents", kept=45, removed=5, last_reason="few words"),
    event(5, "stage_end", "curate", key="k", seconds=4.0, summary={"kept": 92, "removed": 5, "merged": 3}),
    event(6, "stage_start", "train", key="k"),
    event(6, "resume", "train", step=40, flops=1.0),
    event(9, "step", "train", step=50, **STEP),
    event(9, "validation", "train", step=50, bits_per_byte={"all": 1.987, "code": 2.345}),
    event(9, "sample", "train", step=50, prompt="In the", text=" beginning\x1b[31m was"),
    event(9, "note", "train", message="bfloat16 is slower here"),
    event(9, "cost", "train", session="1", seconds=9.0, joules=7.2e3, energy="estimated", method="rule", flops=2e9),
    event(10, "stage_end", "train", key="k", seconds=4.0, summary={}),
    event(11, "run_end", seconds=11.0, status="done"),
]  # fmt: skip


def test_rate_and_time_left_are_those_of_late() -> None:
    view = StageView()
    for second in range(60):
        view.advance(second, 100.0 * min(second, 30) + 10.0 * max(0, second - 30), 4000, "documents")
    assert view.rate() == pytest.approx(10.0)
    left = view.seconds_left()
    assert left == pytest.approx((4000 - (3000 + 290)) / 10)


def test_a_stage_without_two_marks_has_no_rate() -> None:
    view = StageView()
    assert view.rate() is None and view.seconds_left() is None
    view.advance(1.0, 5, 10, "documents")
    assert view.rate() is None


def test_a_new_part_of_a_stage_has_a_rate_of_its_own() -> None:
    """`evaluate` counts tokens, then samples; two files of one unit count from the start again."""
    view = StageView()
    for second in range(5):
        view.advance(second, 1000.0 * second, 5000, "tokens")
    view.advance(5.0, 0, 5, "samples")
    assert view.rate() is None and view.pace() == ""
    view.advance(7.0, 2, 5, "samples")
    assert view.rate() == pytest.approx(1.0) and view.seconds_left() == pytest.approx(3.0)
    view.advance(8.0, 0, 9, "samples")
    assert view.rate() is None


def test_the_board_follows_the_story() -> None:
    board = Board(RECIPE)
    for each in STORY:
        board.update(each)
    assert [board.stages[name].state for name in ("score", "collect", "curate", "train", "evaluate")] == [
        "kept",
        "done",
        "done",
        "done",
        "waiting",
    ]
    assert (board.kept, board.removed, list(board.reasons)) == (45, 5, ["few words"])
    assert "~7.2 kJ" in board.cost and "2 GFLOP" in board.cost


def test_plain_lines_tell_the_story_on_their_stream_only(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    progress = PlainProgress(RECIPE, stream)
    for each in STORY:
        progress(each)
    told = stream.getvalue()
    for part in (
        "score: kept from before",
        "collect: done in 1.0 s  100 documents, 12.3 MB; 4 could not be read (binary 2, broken_json 2)\n",
        "50 of 100 documents",
        "kept 45, refused 5",
        "curate: done in 4.0 s  kept 92, refused 8\n",
        "train: done in 4.0 s  loss 2.500",
    ):
        assert part in told
    for part in (
        "continues from step 40",
        "loss 2.500",
        "12,346 tokens/s",
        "MFU 61%",
        "bfloat16 is slower here",
        "~7.2 kJ",
    ):
        assert part in told
    assert "1.987 bits/byte held out: code 2.345" in told
    assert "\x1b" not in told
    assert capsys.readouterr() == ("", "")


def test_plain_lines_come_at_a_bounded_rate() -> None:
    stream = io.StringIO()
    progress = PlainProgress(RECIPE, stream)
    progress(event(0, "stage_start", "train", key="k"))
    for index in range(10_000):
        progress(event(index * 0.01, "step", "train", step=index, **STEP))
    assert stream.getvalue().count("\n") <= 12  # 100 seconds, one in ten


@pytest.mark.parametrize("width", [200, 60, 40])
def test_the_live_table_shows_stages_scores_and_samples(width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, color_system=None)
    progress = TerminalProgress(RECIPE, console, clock=lambda: 10.0)
    for each in STORY:
        progress(each)
    told = stream.getvalue()
    assert "In the beginning\N{REPLACEMENT CHARACTER}[31m was" in told.replace("\n", " ")
    assert "kept from before" in told and "1.987 bits/byte" in told
    assert "100 documents" in told  # what came of a stage, on the narrowest terminal too
    assert max(len(line.split("\x1b")[0]) for line in told.splitlines()) <= width
    assert told.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_refusals_are_shown_while_curation_runs() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, color_system=None)
    progress = TerminalProgress(RECIPE, console, clock=lambda: 10.0)
    for each in STORY[:6]:
        progress(each)
    progress.close()
    assert "refused: few words" in stream.getvalue()


def test_closing_twice_is_harmless() -> None:
    progress = TerminalProgress(RECIPE, Console(file=io.StringIO(), force_terminal=True))
    progress.close()
    progress.close()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("json", "variable", "live"),
    [(False, None, True), (True, None, False), (False, "NO_COLOR", False), (False, "CI", False)],
)
def test_the_table_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, json: bool, variable: str | None, live: bool
) -> None:
    for name in ("NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", Terminal())
    if variable:
        monkeypatch.setenv(variable, "1")
    progress = make_progress(json, RECIPE)
    progress.close()
    assert isinstance(progress, TerminalProgress) is live


def test_a_pipe_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(make_progress(False, RECIPE), PlainProgress)


def test_what_came_of_a_stage_is_said_from_the_summary_it_wrote(finished_run: RunFolder) -> None:
    said = {name: outcome(name, finished_run.stage_summary(name)) for name in finished_run.index()}
    assert said["collect"].startswith("40 documents, ") and said["curate"] == "kept 40, refused 0"
    assert said["tokenizer"] == "300 entries" and said["measure"] == "12 steps in float32, not compiled"
    tokens = [int(word.replace(",", "")) for word in said["tokenize"].split() if word[0].isdigit()]
    shards = finished_run.stage_path("tokenize")
    assert tokens == [read_json(shards / s / "manifest.json")["num_tokens"] for s in ("train", "validation")]
    assert said["evaluate"].endswith(" bits/byte")
