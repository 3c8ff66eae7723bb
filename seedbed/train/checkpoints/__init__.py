"""Checkpoints: what training goes on from, on this layout or another.

Takes named tensors (plain, or DTensors of any layout) and a JSON value; gives folders that are whole or absent, with a SHA-256
for each file, and the newest sound one back. Never unpickles, and never touches weights before every checksum was found right.
"""

from seedbed.train.checkpoints.format import list_checkpoints, read_manifest, sound_manifest
from seedbed.train.checkpoints.keeper import Checkpoints
from seedbed.train.checkpoints.merge import merge_tensors
from seedbed.train.checkpoints.moments import Moments

__all__ = ["Checkpoints", "Moments", "list_checkpoints", "merge_tensors", "read_manifest", "sound_manifest"]
