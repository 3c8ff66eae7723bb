"""Corpus: from raw sources to documents worth reading, with a reason for every one that is not.

Takes sources of a recipe; gives documents (Parquet), one decision per record read, and yields.
Never drops a record silently.
"""
