"""A run: a folder that holds everything one recipe produced, and the machinery that fills it.

Takes a resolved recipe; gives finished stages, events, a report and a receipt. Never computes the same key twice and never
leaves a half-written stage under its final name.
"""
