"""Serving: simulators' streams become batches of timesteps by slot, and actions go back."""
