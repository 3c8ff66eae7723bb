"""Executors: map a shard function over its tasks, on this machine or on many, with the same files as the outcome.

Takes a function's name, its tasks (JSON) and the folder they write to; gives one small result a task, in order.
A finished task leaves a mark in the folder, so that whoever comes back after a kill repeats only what was in hand.
"""

from seedbed.corpus.executors.tasks import EXECUTORS, Execution, close_executors, run_tasks

__all__ = ["EXECUTORS", "Execution", "close_executors", "run_tasks"]
