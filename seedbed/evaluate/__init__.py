"""Evaluation: bits per byte on held-out text, beside what compressors and n-grams make of the same bytes.

Takes a trained model and validation shards; gives scores with the number of bytes behind them. Never looks at training text.
"""
