"""How many tokens the vocabulary gets when the recipe does not say."""

import math

import numpy as np

# (parameters in the layers, vocabulary). About 4,096 is what the tuned models of 1-2M parameters had that did best on
# 30 MB in 300 s on two cores; nanochat trains 32,768 entries for models of some 100M and 65,536 for larger ones.
# Between them a straight line in logarithms: growth as N^0.56 and N^0.3, around what Tao et al. 2024
# (arXiv:2407.13623) fit, whose vocabulary parameters grow as N^0.83 while the width grows as about N^0.33.
ANCHORS = ((2.5e6, 4_096), (100e6, 32_768), (1e9, 65_536))
SMALLEST = 320
MULTIPLE = 64


def vocab_for_model(parameters: int) -> int:
    """The vocabulary for a model with `parameters` in its layers: 4,096 up to 2.5M, 32,768 at 100M, 65,536 from 1B."""
    sizes, vocabularies = zip(*ANCHORS, strict=True)
    return round_to_multiple(math.exp(np.interp(math.log(parameters), np.log(sizes), np.log(vocabularies))))


def vocab_for_corpus(num_bytes: int) -> int:
    """The most a corpus supports: the square root of its bytes, as distinct words grow (Heaps 1978, exponent about
    0.5).

    1 MB carries 1,024 tokens, 17 MB carry 4,096, 4.3 GB carry 65,536.
    """
    return round_to_multiple(math.sqrt(num_bytes))


def round_to_multiple(size: float) -> int:
    return max(SMALLEST, int(size / MULTIPLE + 0.5) * MULTIPLE)
