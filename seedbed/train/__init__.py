"""Training: from token shards to weights, exactly and resumably.

Takes a recipe, token shards and what was measured on this machine; gives a model folder with weights and the losses of every
step. Keeps no state but (step, weights, optimizer): the batch of a step follows from the recipe.
"""
