"""Deduplication: which documents, parts of documents and lines say again what another says.

Takes normalised texts, shard by shard; gives band keys, verified edges, merges and spans to cut. It never decides what is
good, only what is the same, and joins no two documents below the similarity that was asked for.
"""
