"""Seedbed grows a base language model from raw text.

Takes a recipe (`seedbed.recipe`) and raw text, gives a run folder with the model, its evaluation and a receipt
(`seedbed.run`). Never downloads anything, and importing it never imports torch.
"""

__version__ = "0.1.0"
