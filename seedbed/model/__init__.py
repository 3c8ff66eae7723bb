"""The model: transformers from one vocabulary of parts, and the arithmetic of their cost.

Takes a `TransformerConfig`; gives modules that read as one device would run them. Never imports the rest of Seedbed.
"""
