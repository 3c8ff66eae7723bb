"""Evaluation: bits per byte on held-out text, beside what compressors and n-grams make of the same bytes.

Takes a trained model and shards; gives scores with the bytes behind them, and samples with how much of them is copied. Scores
held-out text only: training text is read to count the n-gram model beside it and to find copies. Never changes the model.
"""
