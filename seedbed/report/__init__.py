"""The report: one self-contained page on what a run did and what came out.

Takes a run folder; gives report.html. Never computes a result that is not in the folder.
"""
