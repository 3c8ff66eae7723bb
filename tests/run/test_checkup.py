"""The doctor: every check answers with a line of advice, and finds what is wrong."""

from pathlib import Path

import pytest

from seedbed.run import checkup


def test_every_check_answers_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "measured_peak", lambda *_, **__: 1e11)
    monkeypatch.setattr(checkup, "DISK_PROBE_BYTES", 1_000_000)
    named: list[str] = []
    found = checkup.checkup(tmp_path, named.append)
    assert [check.name for check in found] == named
    for check in found:
        assert check.state in ("good", "notice", "bad")
        assert check.found and check.advice and "\n" not in check.found + check.advice
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "broken-c++"
    script.write_text("#!/bin/sh\necho 'fatal error: Python.h: No such file or directory' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    check = checkup.compiler()
    assert check.state == "notice" and "Python.h" in check.found and "python3-dev" in check.advice


def test_no_compiler_is_a_notice_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.shutil, "which", lambda name: None)
    check = checkup.compiler()
    assert check.state == "notice" and "install" in check.advice


def test_counters_that_only_root_reads_come_with_the_remedy(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0")
    check = checkup.energy(tmp_path)
    assert check.state == "notice" and "chmod" in check.advice


def test_a_full_disk_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = checkup.shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda folder: usage)
    assert checkup.disk(tmp_path).state == "bad"
