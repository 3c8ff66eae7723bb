"""Generation: text from a trained model, token by token, with a KV cache.

Takes a run or a model folder and a prompt; gives pieces of text as they come. Never changes the model.
"""
