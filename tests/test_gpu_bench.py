"""bench/gpu_train.py runs on a machine that has torch and NumPy alone: here on a CPU with all else hidden."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The first-party requirements of Seedbed beyond torch's own and NumPy
HIDDEN = (
    "pydantic", "typer", "rich", "pyarrow", "zstandard", "xxhash", "filelock", "psutil", "tokenizers", "gigatoken", "rustbpe",
    "safetensors", "plotly", "transformers",
)  # fmt: skip
RUNNER = f"""
import runpy, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HIDDEN!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_gpu_benchmark_needs_torch_and_numpy_alone(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    script = str(ROOT / "bench" / "gpu_train.py")
    command = [sys.executable, "-c", RUNNER, script, "--out", str(out), "--seconds", "0.05"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "no GPU here" in done.stdout
    summary = json.loads(out.read_text())
    assert [result["model"] for result in summary["results"]] == ["124M", "1.3B-float8", "moe"]
    for result in summary["results"]:
        assert result["tokens_per_second"] > 0 and 0 < result["loss"] < 10
        assert 0 < result["mfu_measured_peak"] < 1
