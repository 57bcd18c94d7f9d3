"""The life of a run: commands, training, evaluation, and the parts that they build."""
