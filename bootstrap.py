#!/usr/bin/env python3
"""Make an environment of Seedbed's own, install what it needs, and run it. Needs Python 3.11+ and pip, nothing else.

    python3 bootstrap.py run [ARGUMENTS OF seedbed run]     the main job: raw text to a base model, about six minutes
    python3 bootstrap.py test [ARGUMENTS OF pytest]         the tests
    python3 bootstrap.py setup                              the environment alone, in .venv
    python3 bootstrap.py VERB ...                           any other verb of `seedbed`

The environment is .venv beside this file, or $SEEDBED_VENV. Versions are pinned in constraints.txt. On Linux without an
NVIDIA GPU a CPU build of torch is taken where one can be had, which saves gigabytes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("SEEDBED_VENV", ROOT / ".venv")).resolve()
TORCH = "2.13.0"


def say(message: str) -> None:
    print(f"bootstrap: {message}", file=sys.stderr, flush=True)


def environment_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def pip(*arguments: str, quiet: bool = False) -> bool:
    """Run the environment's pip; whether it succeeded."""
    command = [str(environment_python()), "-m", "pip", "--disable-pip-version-check", *arguments]
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, stdout=output, stderr=output, check=False).returncode == 0


def has_nvidia_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").exists()


def install_torch() -> None:
    """Torch first, so that nothing else pulls in another build of it."""
    constraints = ["-c", str(ROOT / "constraints.txt")]
    if sys.platform == "linux" and not has_nvidia_gpu():
        say(f"no NVIDIA GPU: looking for a CPU build of torch {TORCH}")
        if pip("install", "-q", f"torch=={TORCH}+cpu", *constraints, quiet=True):
            return
        # pip cannot name PyTorch's own index by its purpose; uv can
        if pip("install", "-q", "uv", *constraints, quiet=True):
            uv = [str(environment_python()), "-m", "uv", "pip", "install", "-q", "--python", str(environment_python())]
            found = subprocess.run(
                [*uv, f"torch=={TORCH}", "--torch-backend=cpu"], stderr=subprocess.DEVNULL, check=False
            )
            if found.returncode == 0:
                return
        say("no CPU build within reach: installing the usual build, which brings about 3 GB of CUDA libraries")
    if not pip("install", "-q", f"torch=={TORCH}", *constraints):
        sys.exit("bootstrap: torch could not be installed: see pip's message above")


def stamp() -> str:
    """Changes when the environment has to be made anew."""
    parts = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join([*parts, str(ROOT).encode(), sys.version.encode()])).hexdigest()


def set_up() -> None:
    """Make the environment, unless it is there and fits."""
    stamp_path = VENV / "seedbed.stamp"
    if stamp_path.is_file() and stamp_path.read_text() == stamp() and environment_python().exists():
        return
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python meets first
        sys.exit(
            f"bootstrap: Seedbed needs Python 3.11 or newer, and this is {sys.version.split()[0]}: call a newer one"
        )
    say(f"making the environment {VENV}")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False).returncode == 0
    if not made:
        sys.exit("bootstrap: python -m venv failed: install your system's venv package (on Debian: python3-venv)")
    install_torch()
    if not pip("install", "-q", "-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[dev]"):
        sys.exit("bootstrap: the packages could not be installed: see pip's message above")
    stamp_path.write_text(stamp())


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    verb, arguments = sys.argv[1], sys.argv[2:]
    set_up()
    if verb == "setup":
        say(f"ready: {environment_python()}")
        return
    module = ["pytest", *arguments] if verb == "test" else ["seedbed", verb, *arguments]
    if verb == "test":
        os.chdir(ROOT)
    try:
        sys.exit(subprocess.run([str(environment_python()), "-m", *module], check=False).returncode)
    except KeyboardInterrupt:  # the command itself has heard it too, and said so
        sys.exit(130)


if __name__ == "__main__":
    main()
