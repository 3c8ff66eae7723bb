"""A local page to look into a curated run: search, thresholds with their nearest documents, duplicate clusters, one document.

Takes a run folder; gives answers as JSON over HTTP on this machine. Never writes, and reads texts only of the documents it shows.
"""
