"""The life of a run: commands, training, evaluation, and what they are built of."""
