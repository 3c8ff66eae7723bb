"""What only a CUDA device runs, as far as shapes, dtypes and devices tell: every architecture's step, without one."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


LOADING = """
import ctypes, runpy, sys
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
ctypes.CDLL(sys.argv[2])
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def torch_folder() -> Path:
    found = importlib.util.find_spec("torch")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    torch = torch_folder()
    path = tmp_path_factory.mktemp("pretended") / "libpretended.so"
    source = [str(HERE / "pretended_gpu.cpp"), "-o", str(path)]
    flags = [
        "-O0",
        "-std=c++20",
        "-shared",
        "-fPIC",
        f"-I{torch / 'include'}",
        f"-L{torch / 'lib'}",
        "-lc10",
        "-ltorch_cpu",
    ]
    subprocess.run([compiler, *source, *flags], check=True)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_every_architectures_step_runs_and_reads_nothing(library: Path, way: str) -> None:
    import torch

    if torch.version.cuda:
        pytest.skip("needs a torch without CUDA, which has hooks of its own")
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    cpu = str(torch_folder() / "lib" / "libtorch_cpu.so")
    command = [sys.executable, "-c", LOADING, cpu, str(library), str(HERE / "pretended_gpu.py"), way]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "pretended_gpu.py done"
