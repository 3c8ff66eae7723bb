"""Optimizers: Muon for matrices, AdamW for the rest, AdamW on touched rows for tables.

Takes parameters with gradients; updates them in place. State is named tensors, so a checkpoint holds no pickled code.
"""

from seedbed.train.optimizers.adamw import AdamW, RowAdamW
from seedbed.train.optimizers.group import Optimizer
from seedbed.train.optimizers.muon import Muon

__all__ = ["AdamW", "Muon", "Optimizer", "RowAdamW"]
