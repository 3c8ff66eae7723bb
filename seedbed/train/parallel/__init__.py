"""Many devices: the model's files read as one device would run them, and what is here spreads them over a mesh.

Takes a model and a layout; gives the same losses and weights as one device, to rounding. It never changes the model's files.
"""

from seedbed.train.parallel.ranks import Ranks, gather_rows, join_ranks, lost_ranks, sum_gradients, sum_scalars

__all__ = ["Ranks", "gather_rows", "join_ranks", "lost_ranks", "sum_gradients", "sum_scalars"]
