"""Which evaluation items stand in a text, word for word.

Takes files of evaluation sets and builds an index of their word n-grams once; gives, for a text, the items it shares n-grams
with and where. It never judges by hashes alone: every hit is compared word for word.
"""
