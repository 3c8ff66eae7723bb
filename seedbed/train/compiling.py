"""Whether torch.compile is tried: what it costs here, cold or kept from before, against what it wins back."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import torch

from seedbed.errors import InputError
from seedbed.files import sha256_json
from seedbed.model.config import TransformerConfig
from seedbed.run.machine import cache_dir
from seedbed.run.receipt import code_sha256
from seedbed.train.engine import COMPILED_WHOLE
from seedbed.train.execution import Execution

COLD_COMPILE_SECONDS = 35.0  # an assumption, on the safe side of 20 to 30 s reported for two cores and 4 layers
COMPILED_SPEEDUP = 1.12  # what compiling gains on a CPU at width 128 (same place)


def compiling_pays(wanted: str, config: TransformerConfig, execution: Execution, seconds_left: float) -> bool:
    """Whether to try torch.compile: always or never where the recipe says so, else where it can win back its time."""
    if wanted == "on" and not has_compiler(execution.device):
        raise InputError("train.compile: 'on' needs a C++ compiler (or Triton on a GPU): install one, or use auto")
    if wanted != "auto":
        return wanted == "on"
    gain = seconds_left * (1 - 1 / COMPILED_SPEEDUP)
    return has_compiler(execution.device) and gain > expected_compile_seconds(config, execution)


def has_compiler(device: str) -> bool:
    """Whether torch.compile can work here: a C++ compiler for the CPU; Triton for CUDA, and the C compiler it launches with."""
    if device == "cuda":
        compilers = (os.environ.get("CC", "cc"), "gcc", "clang")
        return find_spec("triton") is not None and any(map(shutil.which, compilers))
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


def expected_compile_seconds(config: TransformerConfig, execution: Execution) -> float:
    """A guess: cold, or warm when this shape was compiled here before."""
    depth = config.layers / 4 if config.layers <= COMPILED_WHOLE else 1.0
    return (6.0 if compile_marker(config, execution).exists() else COLD_COMPILE_SECONDS) * max(1.0, depth)


def compile_marker(config: TransformerConfig, execution: Execution) -> Path:
    identity = sha256_json([config.to_json(), execution.device, execution.threads, torch.__version__, code_sha256()])
    return cache_dir() / "compiled" / identity[:24]


def remember_compiled(config: TransformerConfig, execution: Execution) -> None:
    try:
        marker = compile_marker(config, execution)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    except OSError:
        pass  # a read-only cache: the next run expects a cold compile
