"""Finished runs recalibrate the next plan on their device and family, and nothing else; each receipt says planned and actual."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.laws import PUBLISHED
from seedbed.plan.calibration import (
    ASSUMED_CPU_MFU,
    Record,
    calibrate,
    keep_record,
    planned_against_actual,
    read_records,
    records_path,
)
from seedbed.plan.query import answer
from seedbed.plan.question import Question
from seedbed.run.folder import RunFolder
from seedbed.run.receipt import build_receipt, write_report

BASE = Record("a", 100.0, "cpu", "f", "text", 1e6, 1e7, 1024, 2e10, 0.3, None, 0.8, 40.0, 5e8, 5.0)
MakeRun = Callable[..., RunFolder]


def test_rates_are_interpolated_by_size_and_level_beyond() -> None:
    records = [BASE, replace(BASE, run="b", size=1e8, flops_second=8e10)]
    found = calibrate(records, "cpu", "f", 1e7, None)
    assert found and found.flops_second == pytest.approx(4e10, rel=0.05) and found.runs == 2
    beyond = calibrate(records, "cpu", "f", 1e10, None)
    assert beyond and beyond.flops_second == pytest.approx(8e10) and beyond.size_ratio == pytest.approx(100, rel=0.1)


def test_other_devices_and_families_say_nothing_of_the_rate() -> None:
    assert calibrate([BASE], "gpu", "f", 1e6, None) is None
    other = calibrate([BASE], "cpu", "g", 1e6, 1e11)
    assert other and other.flops_second == ASSUMED_CPU_MFU * 1e11 and other.runs == 0 and "assumed" in other.basis
    assert other.watts == 40.0  # a device draws what it draws


def test_loss_is_calibrated_on_the_same_text_alone() -> None:
    law = PUBLISHED["besiroglu"]
    found = calibrate([BASE], "cpu", "f", 1e6, None, "text", law)
    assert found and found.loss_factor == pytest.approx(5.0 / law.loss(1e6, 1e7))
    assert (other := calibrate([BASE], "cpu", "f", 1e6, None, "other", law)) and other.loss_factor is None


def test_a_plan_knows_only_what_was_before() -> None:
    late = replace(BASE, run="late", ended=1e9, flops_second=9e10)
    run = replace(BASE, run="now", ended=300.0, flops_second=3e10)
    said = planned_against_actual(run, [BASE, late, run], None, began=200.0)
    step = said["figures"]["step_seconds"]
    assert said["runs"] == 1 and step["planned"] == pytest.approx(1024 * 6e6 / 2e10)
    assert step["error"] == pytest.approx(0.5)
    assert said["figures"]["loss"]["planned"] == pytest.approx(5.0)
    assert said["figures"]["memory_bytes"]["error"] == pytest.approx(0.0)


def test_records_are_kept_once_and_survive_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "plan" / "records.jsonl"
    for record in (BASE, BASE, replace(BASE, run="b")):
        keep_record(record, path)
    assert len(path.read_text().splitlines()) == 2
    path.write_text(path.read_text() + '{"run": "c", "siz')
    assert {record.run for record in read_records(path)} == {"a", "b"}


@given(st.binary(max_size=300))
def test_any_file_of_records_is_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    path.write_bytes(content)
    assert read_records(path) == []


def test_each_receipt_shows_planned_and_actual_and_the_next_plan_learns(make_run: MakeRun) -> None:
    first = make_run(name="first")
    write_report(first)
    receipt = json.loads(first.receipt_path.read_text())
    assert receipt["plan"]["figures"]["step_seconds"]["actual"] > 0
    assert any(record.device.startswith("Test CPU") for record in read_records(records_path()))
    assert "Planned and actual" in first.report_path.read_text()
    again = build_receipt(first, first.recipe())
    assert again["plan"] == receipt["plan"]  # a run is not its own witness


def test_runs_on_a_gpu_set_the_share_of_the_peak_in_later_questions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path))
    before = answer(Question(budget="100000"))["best"]
    keep_record(replace(BASE, device="NVIDIA H100 80GB HBM3", mfu_datasheet=0.25))
    after = answer(Question(budget="100000"))
    assert after["best"]["loss"]["value"] > before["loss"]["value"]
    assert any("25% of its peak, as 1 of your runs" in each for each in after["assumptions"])
