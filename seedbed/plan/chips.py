"""Devices and their figures, with date and source. Rates are of dense products; links count one direction."""

from dataclasses import dataclass

from seedbed.errors import InputError

GB = 1e9


@dataclass(frozen=True)
class Chip:
    """`link_bytes` a second to another device of the machine, `network_bytes` to one of another machine, per device."""

    name: str
    memory_bytes: float
    memory_bandwidth: float  # bytes a second
    bfloat16_flops: float
    link_bytes: float
    network_bytes: float
    devices: int  # in a machine
    watts: float  # board power
    source: str


CHIPS = {
    "a100": Chip(
        "a100", 80 * GB, 2.039e12, 312e12, 300 * GB, 25 * GB, 8, 400,
        "NVIDIA A100 80GB SXM datasheet, 2021 (NVLink 600 GB/s both ways); DGX A100: one 200 Gb/s adapter a GPU",
    ),
    "h100": Chip(
        "h100", 80 * GB, 3.35e12, 989.4e12, 450 * GB, 50 * GB, 8, 700,
        "NVIDIA H100 SXM datasheet, 2023 (NVLink 900 GB/s both ways); DGX H100: one 400 Gb/s adapter a GPU",
    ),
    "h200": Chip(
        "h200", 141 * GB, 4.8e12, 989.4e12, 450 * GB, 50 * GB, 8, 700,
        "NVIDIA H200 SXM datasheet, 2023 (NVLink 900 GB/s both ways); DGX H200: one 400 Gb/s adapter a GPU",
    ),
    "b200": Chip(
        "b200", 180 * GB, 8.0e12, 2250e12, 900 * GB, 50 * GB, 8, 1000,
        "NVIDIA DGX B200 datasheet, 2024: for 8 GPUs 72 PFLOP/s FP8 with sparsity (bfloat16 dense: a quarter), 1,440 GB; NVLink "
        "1.8 TB/s both ways; one 400 Gb/s adapter a GPU",
    ),
}  # fmt: skip


def find_chip(name: str) -> Chip:
    """By a name such as "h100" or "NVIDIA H100 80GB HBM3"."""
    words = name.lower().replace("-", " ").split()
    for key, chip in CHIPS.items():
        if key in words:
            return chip
    raise InputError(f"--gpu: {name!r} is not in the table: give one of {', '.join(CHIPS)}")
