"""bench/gpu_train.py runs on a machine that has torch and NumPy alone: here on a CPU with all else hidden."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = str(ROOT / "bench" / "gpu_train.py")
# The first-party requirements of Seedbed beyond torch's own and NumPy
HIDDEN = (
    "pydantic", "typer", "rich", "pyarrow", "zstandard", "xxhash", "filelock", "psutil", "tokenizers", "gigatoken", "rustbpe",
    "safetensors", "plotly", "transformers",
)  # fmt: skip
# run at the start of every Python process that finds it
HIDING = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HIDDEN!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def test_a_case_runs_apart_with_torch_and_numpy_alone(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    hidden = subprocess.run([sys.executable, "-c", "import pydantic"], capture_output=True, text=True, env=environment)
    assert "No module named 'pydantic'" in hidden.stderr
    out = tmp_path / "result.json"
    command = [sys.executable, SCRIPT, "--only", "moe", "--out", str(out), "--seconds", "0.05"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "no GPU here" in done.stdout and "aimed at" in done.stdout
    (result,) = json.loads(out.read_text())["results"]
    assert "error" not in result, result
    assert result["tokens_per_second"] > 0 and 0 < result["loss"] < 10
    assert 0 < result["optimizer_seconds"] < result["step_seconds"]
    assert 0 < result["mfu_measured_peak"] < 1


def test_a_case_that_fails_is_one_line_and_no_more() -> None:
    bench = runpy.run_path(SCRIPT)
    assert bench["run_apart"](["--case", "no such case"], 60.0) == {"error": "KeyError: 'no such case'"}
    assert bench["run_apart"](["--case", "device"], 0.1) == {"error": "took more than 0 s"}
    failed = {"model": "moe", "error": "torch.OutOfMemoryError: no memory"}
    assert bench["judged"]([failed]).splitlines()[1].split() == ["moe", *failed["error"].split()]
