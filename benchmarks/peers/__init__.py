"""The peers, each a program of its own that imports nothing of entrain.

Each runs in a virtual environment with what NAME.txt pins, obeys `turns.py`, and plays the same
work: 8 environments x 256 steps a round, one torch thread.
"""
