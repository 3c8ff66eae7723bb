"""A quality classifier of the user's own: a fastText model that tells documents like some from documents like others.

Takes sources of good and of bad text; gives a folder with `model.bin` and `card.json`, which the step `classifier` applies.
Never decides by itself, and says on its card what it was trained on and how it did on documents that it had not seen.
"""
