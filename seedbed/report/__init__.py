"""The run's page: from a run folder to one HTML file that explains it, on any screen and without a network.

Takes a run folder and its receipt; gives a string. Never does a stage's work, and never writes to the folder.
"""

from seedbed.report.gather import gather
from seedbed.report.page import render

__all__ = ["gather", "render"]
