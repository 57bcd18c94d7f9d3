"""numpy's settings for floating-point errors while it learns."""

import numpy as np

quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""Silences numpy where numbers become infinite, as torch does without a word: the end of the epoch
finds them."""
