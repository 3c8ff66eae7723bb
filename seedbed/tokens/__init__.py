"""Tokens: the tokenizer, the shards it fills, and `batch(step)` over them.

Takes kept documents; gives token shards with a sidecar that leads every token back to its document. Never keeps loader
state.
"""
