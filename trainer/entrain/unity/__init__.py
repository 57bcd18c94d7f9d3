"""The trainer's side of ML-Agents: its wire as a front, its settings, and its files."""
