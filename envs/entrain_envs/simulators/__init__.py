"""Bundled simulators: each a real task in a file of its own, runnable with `entrain-env`."""
