from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.errors import InputError
from seedbed.run.events import EventLog
from seedbed.run.folder import RunFolder


def test_events_are_stored_in_order_and_progress_is_only_shown(tmp_path: Path) -> None:
    shown: list[dict] = []
    log = EventLog(tmp_path / "events.jsonl", (shown.append,), clock=lambda: 12.34567)
    log.emit("stage_start", "collect", key="k")
    log.emit("progress", "collect", done=1, total=2, unit="files")
    log.emit("note", message="zwei\nZeilen, ü")
    log.close()
    stored = RunFolder(tmp_path).events()
    assert [event["kind"] for event in shown] == ["stage_start", "progress", "note"]
    assert stored == [shown[0], shown[2]]
    assert stored[0] == {"time": 12.346, "kind": "stage_start", "stage": "collect", "key": "k"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.integers(0, 200))
def test_a_torn_line_costs_only_itself(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "events.jsonl"
    path.unlink(missing_ok=True)
    log = EventLog(path)
    for number in range(3):
        log.emit("note", message=f"ü{number}")
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    before = RunFolder(tmp_path).events()
    log = EventLog(path)
    log.emit("note", message="after")
    log.close()
    after = RunFolder(tmp_path).events()
    assert after[:-1] == before and after[-1]["message"] == "after"
    assert [event["message"] for event in before] == [f"ü{number}" for number in range(len(before))]


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        EventLog(tmp_path)
