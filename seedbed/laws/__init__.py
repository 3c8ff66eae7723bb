"""Scaling laws: what a run of N parameters and D tokens will reach, from runs that were made, and how sure that is.

Takes points (params, tokens, loss) or a ladder of runs to make; gives laws that predict with intervals, split a budget, and name
the next run worth making. Compute is 6 N D. Never trains by itself: `ladder` asks the pipeline.
"""

from seedbed.laws.law import Law, Optimum, Prediction, load_law
from seedbed.laws.points import Points, read_points
from seedbed.laws.published import BATCHES, LEARNING_RATES, OPTIMA, PUBLISHED

__all__ = [
    "BATCHES",
    "LEARNING_RATES",
    "OPTIMA",
    "PUBLISHED",
    "Law",
    "Optimum",
    "Points",
    "Prediction",
    "load_law",
    "read_points",
]
