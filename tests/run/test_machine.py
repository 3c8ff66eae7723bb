"""What the machine says of itself, and the kept measurement of its peak."""

import json
import resource
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.run import machine


def test_description_is_plain_json_and_counts_what_this_process_may_use() -> None:
    found = machine.describe()
    assert json.loads(json.dumps(found)) == found
    assert 1 <= found["cores"] <= found["logical_cores"] <= found["logical_cores_of_machine"]
    assert found["memory_bytes"] > 2**28
    assert found["python"].count(".") == 2


def test_no_torch_is_imported_to_describe_the_machine() -> None:
    import subprocess
    import sys

    code = "import sys; from seedbed.run.machine import describe; describe(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_version_2_limits_hold_wherever_they_stand_on_the_way_up(tmp_path: Path) -> None:
    write(tmp_path / "member", "0::/team/job\n")
    write(tmp_path / "root/team/job/cpu.max", "max 100000\n")
    write(tmp_path / "root/team/cpu.max", "150000 100000\n")
    write(tmp_path / "root/team/job/memory.max", "2000000\n")
    write(tmp_path / "root/team/memory.max", "max\n")
    assert machine.cgroup_limits(tmp_path / "root", tmp_path / "member") == (1.5, 2_000_000)


def test_version_1_limits(tmp_path: Path) -> None:
    write(tmp_path / "member", "4:cpu,cpuacct:/box\n3:memory:/box\n")
    write(tmp_path / "root/cpu/box/cpu.cfs_quota_us", "50000\n")
    write(tmp_path / "root/cpu/box/cpu.cfs_period_us", "25000\n")
    write(tmp_path / "root/memory/box/memory.limit_in_bytes", "9223372036854771712\n")
    assert machine.cgroup_limits(tmp_path / "root", tmp_path / "member") == (2.0, None)


def test_no_control_groups_are_no_limit(tmp_path: Path) -> None:
    assert machine.cgroup_limits(tmp_path, tmp_path / "absent") == (None, None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no other system limits a process's address space")
def test_free_memory_is_what_the_process_may_still_take() -> None:
    free, used = machine.free_memory_bytes(), psutil.Process().memory_info().vms
    assert 0 < free <= psutil.virtual_memory().total
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    try:
        assert machine.free_memory_bytes() <= 2**30
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@given(st.text(max_size=80))
def test_any_membership_file_is_survived(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "member").write_bytes(text.encode("utf-8", "replace"))
        machine.cgroup_limits(Path(folder) / "root", Path(folder) / "member")


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989.4e12),  # NVIDIA H200 datasheet, half of the sparse 1,979 TFLOP/s
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA B200", 2250e12),
    ],
)
def test_datasheet_peaks(name: str, peak: float) -> None:
    sheet = machine.datasheet(name)
    assert sheet is not None and sheet[0] == peak


@pytest.mark.parametrize("name", ["NVIDIA GH200 480GB", "NVIDIA GeForce RTX 4090", ""])
def test_a_gpu_outside_the_table_has_no_datasheet(name: str) -> None:
    assert machine.datasheet(name) is None


class Products:
    """Stands for the measurement: returns what it is told and counts how often it is asked."""

    def __init__(self, *results: tuple[float, bool]) -> None:
        self.results, self.calls = list(results), 0

    def __call__(self, device: str, dtype: str, threads: int) -> tuple[float, bool]:
        self.calls += 1
        return self.results.pop(0)


def test_an_undisturbed_peak_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "cache"))
    products = Products((2e9, True))
    monkeypatch.setattr(machine, "measure_products", products)
    assert [machine.measured_peak("cpu", "float32", 1) for _ in range(3)] == [2e9] * 3
    assert products.calls == 1


def test_a_disturbed_peak_is_measured_again_and_the_better_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "measure_products", Products((3e9, False), (2e9, False), (2.5e9, True)))
    assert [machine.measured_peak("cpu", "float32", 1) for _ in range(4)] == [3e9] * 4


def test_peaks_of_other_types_and_threads_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "measure_products", Products((1e9, True), (2e9, True), (3e9, True)))
    asked = [("float32", 1), ("bfloat16", 1), ("float32", 2)]
    assert [machine.measured_peak("cpu", *each) for each in asked] == [1e9, 2e9, 3e9]
    assert [machine.measured_peak("cpu", *each) for each in asked] == [1e9, 2e9, 3e9]


@pytest.mark.parametrize("spoilt", ["", "{", "[1]", "\x00"])
def test_a_spoilt_cache_is_measured_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str) -> None:
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path))
    (tmp_path / "peaks.json").write_text(spoilt)
    monkeypatch.setattr(machine, "measure_products", Products((1e9, True)))
    assert [machine.measured_peak("cpu", "float32", 1) for _ in range(2)] == [1e9] * 2


def test_a_cache_that_cannot_be_written_costs_only_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a file where the folder should be")
    monkeypatch.setenv("SEEDBED_CACHE", str(tmp_path / "file" / "cache"))
    products = Products((1e9, True), (1e9, True))
    monkeypatch.setattr(machine, "measure_products", products)
    assert [machine.measured_peak("cpu", "float32", 1) for _ in range(2)] == [1e9] * 2
    assert products.calls == 2


def test_the_real_measurement_leaves_threads_and_random_numbers_alone() -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    before = torch.get_num_threads()
    peak, _ = machine.measure_products("cpu", "float32", 1, budget_s=0.1)
    assert peak > 1e8  # slower than any processor that runs torch
    assert torch.get_num_threads() == before
    assert torch.equal(torch.rand(3), expected)
